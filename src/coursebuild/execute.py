"""Runs the solved chapters, several at a time, each in its own kernel, and keeps what came out by content."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from attention_from_scratch.whole_files import write_whole
from coursebuild.cache_key import cache_path
from coursebuild.chapter import Chapter
from coursebuild.compose import book_source
from coursebuild.errors import CourseError, shown

TIMEOUT = 900  # seconds for a cell: training takes up to three minutes, and some machines are slow or busy
WORKERS = 2


@dataclass(frozen=True)
class Failure:
    """Why a chapter did not run: the index of the cell and what it said."""

    cell: int
    said: str


def run_chapters(
    chapters: Sequence[Chapter], *, workers: int = WORKERS, timeout: int = TIMEOUT, quiet: bool = False
) -> dict[str, NotebookNode]:
    """The executed solved notebook of each chapter, by name; from the cache where nothing has changed."""
    sources = {chapter.name: book_source(chapter) for chapter in chapters}
    places = {chapter.name: cache_path(chapter, sources[chapter.name]) for chapter in chapters}
    executed, to_run = {}, []
    for chapter in chapters:
        kept = _cached(places[chapter.name])
        if kept is None:
            to_run.append(chapter)
        else:
            executed[chapter.name] = _with_outputs(sources[chapter.name], kept)
    results = _run_all({c.name: sources[c.name] for c in to_run}, places, workers, timeout, quiet)
    said = [
        _explain(c, sources[c.name], found) for c in to_run if isinstance(found := results[c.name], Failure)
    ]
    if said:
        raise CourseError("\n".join(said))
    for name, outputs in results.items():
        assert not isinstance(outputs, Failure)
        executed[name] = _with_outputs(sources[name], outputs)
    return {chapter.name: executed[chapter.name] for chapter in chapters}


Outputs = list[dict[str, Any]]


def _cached(path: Path) -> Outputs | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, list) else None


def _with_outputs(source: NotebookNode, outputs: Outputs) -> NotebookNode:
    executed = copy.deepcopy(source)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    for cell, kept in zip(code, outputs, strict=True):
        cell.outputs = nbformat.from_dict(_joined(kept["outputs"]))
        cell.execution_count = kept["execution_count"]
    return executed


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs in which a text that arrived in pieces is whole: the cuts are chance, and a page would show them."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        is_text = output["output_type"] == last.get("output_type") == "stream"
        if is_text and output["name"] == last["name"]:
            joined[-1] = {**last, "text": last["text"] + output["text"]}
        else:
            joined.append(output)
    return joined


def _run_all(
    sources: dict[str, NotebookNode], places: dict[str, Path], workers: int, timeout: int, quiet: bool
) -> dict[str, Outputs | Failure]:
    """Run notebooks in parallel; what succeeds is kept at once, so that an interruption loses only what was running."""
    results: dict[str, Outputs | Failure] = {}
    if not sources:
        return results
    # threads of several kernels on few cores slow each other down
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from coursebuild.progress import progress_of

    with progress_of("Running chapters", len(sources), quiet) as done:
        pool = ProcessPoolExecutor(max_workers=min(workers, len(sources)), mp_context=get_context("spawn"))
        try:
            running: dict[Future[Outputs | Failure], str] = {
                pool.submit(run_notebook, nbformat.writes(source), timeout): name
                for name, source in sources.items()
            }
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    name = running.pop(future)
                    results[name] = future.result()
                    if not isinstance(results[name], Failure):
                        _keep(places[name], results[name])
                    done(name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
    return results


def _keep(path: Path, outputs: Any) -> None:
    write_whole(path, json.dumps(outputs))
    name = path.name.rpartition("-")[0]
    for old in path.parent.glob(f"{name}-*.json"):
        if old != path and old.name.rpartition("-")[0] == name:
            old.unlink(missing_ok=True)


def run_notebook(text: str, timeout: int) -> Outputs | Failure:
    """Run one notebook in a kernel of its own and return its outputs; called in a worker process."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.reads(text, as_version=4)
    running = [-1]

    def note(cell: NotebookNode, cell_index: int) -> None:
        running[0] = cell_index

    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", record_timing=False, on_cell_execute=note,
        extra_arguments=["--HistoryManager.enabled=False", "--Application.log_level=40"],
    )  # fmt: skip
    try:
        # a folder of its own: a chapter that reads or writes files beside itself would not run for a student
        with tempfile.TemporaryDirectory(prefix="course-run-") as folder:
            client.resources = {"metadata": {"path": folder}}
            client.execute(stderr=subprocess.DEVNULL)  # a dying kernel's last words
    except CellExecutionError as error:
        return Failure(running[0], f"{error.ename}: {error.evalue}")
    except CellTimeoutError:
        return Failure(running[0], f"it ran longer than {timeout} s")
    except DeadKernelError:
        return Failure(running[0], "its kernel died, perhaps for want of memory")
    return [
        {"outputs": _clean(cell.outputs), "execution_count": cell.execution_count}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _clean(outputs: list[Any]) -> list[dict[str, Any]]:
    """Outputs without progress that overwrote itself, as plain data."""
    plain: list[dict[str, Any]] = json.loads(json.dumps(outputs))
    for output in plain:
        if output["output_type"] == "stream" and "\r" in output["text"]:
            output["text"] = "\n".join(line.rsplit("\r", 1)[-1] for line in output["text"].split("\n"))
    return plain


def _explain(chapter: Chapter, source: NotebookNode, failure: Failure) -> str:
    """The file, the line, the cell and the exception, in a few lines."""
    if not 0 <= failure.cell < len(source.cells):
        return f"{shown(chapter.path)}: the chapter did not run: {failure.said}"
    cell = source.cells[failure.cell]
    line = cell.metadata.get("course", {}).get("line", 1)
    shown_lines = cell.source.strip().split("\n")
    excerpt = "\n".join(f"    {text}" for text in shown_lines[:4]) + (
        "\n    …" if len(shown_lines) > 4 else ""
    )
    return f"{shown(chapter.path)}:{line}: this cell failed: {failure.said}\n{excerpt}"
