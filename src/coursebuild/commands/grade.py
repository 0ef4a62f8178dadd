"""`course grade`: grade what a class handed in."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("grade", help="grade a chapter's submissions in a class directory")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("chapter", metavar="CHAPTER")
    parser.add_argument(
        "--student", nargs="+", action="extend", default=[], metavar="ID", help="only these students"
    )
    parser.add_argument(
        "--workers", type=_positive, default=None, metavar="N", help="submissions at a time (one a core)"
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="judge on a Dask cluster, such as tcp://host:8786")
    parser.add_argument(
        "--isolation", choices=["full", "landlock", "none"], help="refuse anything else (none: by hand only)"
    )
    parser.add_argument("--regrade", action="store_true", help="judge again what is judged already")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the result for machines (- for stdout)"
    )
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Grade, print the table, write the JSON. 0: everything is final; 1: something needs another try."""
    from autograder.quick import skip_slow_imports
    from autograder.warm import forget_early, start_early

    skip_slow_imports()
    if not arguments.dask and _something_is_new(arguments):
        start_early()
    try:
        return _run(arguments)
    finally:
        forget_early()


def _something_is_new(arguments: argparse.Namespace) -> bool:
    """A guess from the times of the files: a wrong one costs a second or two and nothing else."""
    journal = arguments.directory / ".course" / "journal" / f"{arguments.chapter}.jsonl"
    submissions = arguments.directory.glob(f"submitted/*/{arguments.chapter}/*.ipynb")
    try:
        judged = journal.stat().st_mtime
        return arguments.regrade or any(path.stat().st_mtime > judged for path in submissions)
    except OSError:
        return True


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from autograder.classroom import open_class
    from autograder.grade import Options, grade_class
    from autograder.results import as_json, print_table
    from coursebuild.chapter import full_name

    to_stdout = str(arguments.json) == "-"
    console = Console(stderr=to_stdout, soft_wrap=False, width=None if sys.stdout.isatty() else 160)
    room, chapter = open_class(arguments.directory), full_name(arguments.chapter)
    _check_writable(arguments.json)
    options = Options(
        students=arguments.student,
        workers=arguments.workers or len(os.sched_getaffinity(0)),
        dask=arguments.dask,
        isolation=arguments.isolation,
        regrade=arguments.regrade,
        progress=_progress if sys.stderr.isatty() else lambda done, total, student: None,
    )
    try:
        result = grade_class(room, chapter, options)
    except KeyboardInterrupt:
        print("\nStopped. What was graded is kept; run the same command again to go on.", file=sys.stderr)
        return 130
    print_table(result, console)
    if result.retries:
        console.print(f"{result.retries} without a final result: run the same command again.")
    console.print(f"Feedback for students: {room.root}/feedback · overview: {room.overview(chapter)}")
    if to_stdout:
        sys.stdout.write(as_json(result))
    elif arguments.json:
        _write_json(arguments.json, as_json(result))
    return 1 if result.retries else 0


def _check_writable(path: Path | None) -> None:
    from coursebuild.errors import CourseError

    if path and str(path) != "-" and not path.absolute().parent.is_dir():
        raise CourseError(f"there is no directory {path.parent} for --json {path}")


def _write_json(path: Path, text: str) -> None:
    from coursebuild.errors import CourseError

    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise CourseError(
            f"the grades are safe, but {path} could not be written ({error.strerror})"
        ) from error


def _progress(done: int, total: int, student: str) -> None:
    end = "\n" if done == total else ""
    print(f"\r\x1b[K{done}/{total} {student}", end=end, file=sys.stderr, flush=True)
