"""Judges on a Dask cluster: each worker process starts its own judge and its own sandbox.

The journal and the gradebook stay with the caller, so a lost worker costs a retry and never a grade. Dask itself hands
the tasks of a lost worker to another one.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from autograder.report import Isolation, SubmissionReport
from autograder.workers import Task, judge_one, retry_report, single_threaded_judge
from coursebuild.errors import CourseError

LEVELS = ("none", "landlock", "full")
CONNECT_SECONDS = 10
LOOK_SECONDS = 2.0
PATIENCE_SECONDS = 60.0  # without any worker, before what is left is given up until the next run
AHEAD = 3  # tasks in the cluster for each of its threads: enough to keep it busy, and few to hold in memory


class DaskJudges:
    """Judges tasks on the workers of a cluster; the level is the lowest of its workers' levels."""

    def __init__(self, address: str, isolation: str | None, private: Path | None, digest: bytes) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise CourseError("--dask needs the package distributed: pip install distributed") from error
        self._asked, self._private = isolation, private.read_bytes() if private else None
        self._digest = digest
        logging.getLogger("distributed").setLevel(logging.ERROR)
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise CourseError(f"there is no Dask scheduler at {address} ({error})") from error
        try:
            self.isolation = self._check_workers(address)
        except BaseException:
            self._client.close()
            raise

    def _check_workers(self, address: str) -> Isolation:
        try:
            found: dict[str, tuple[bytes, Isolation]] = self._client.run(_state, self._asked)
        except CourseError:
            raise
        except Exception as error:
            raise CourseError(
                f"the Dask workers at {address} cannot judge ({type(error).__name__}: {error}); "
                "they need this course installed, as on this machine"
            ) from error
        if not found:
            raise CourseError(f"the Dask scheduler at {address} has no workers")
        if any(theirs != self._digest for theirs, _ in found.values()):
            raise CourseError(
                "the Dask workers have another version of the course than this machine; update them"
            )
        return min((level for _, level in found.values()), key=lambda level: LEVELS.index(level.level))

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, SubmissionReport]]:
        """Judge every task on the cluster, as many ahead as keep its workers busy."""
        remaining = iter(tasks)
        running: dict[Any, Task] = {}
        lonely = 0.0
        try:
            while True:
                ahead = AHEAD * max(sum(self._client.nthreads().values()), 1)
                for task in islice(remaining, max(ahead - len(running), 0)):
                    running[self._submit(task)] = task
                if not running:
                    return
                done = self._finished(list(running))
                lonely = 0.0 if done or self._client.nthreads() else lonely + LOOK_SECONDS
                if lonely >= PATIENCE_SECONDS:
                    done = list(running)
                for future in done:
                    task = running.pop(future)
                    yield task, self._report(future, task)
        finally:
            for future in running:
                future.cancel()

    def _submit(self, task: Task) -> Any:
        return self._client.submit(
            _judge, task, self._asked, self._private, self._digest, self.isolation.level, pure=False
        )

    def _finished(self, futures: list[Any]) -> list[Any]:
        from distributed import wait

        try:
            return list(wait(futures, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            return []

    def _report(self, future: Any, task: Task) -> SubmissionReport:
        """What came back, or why nothing did: a worker killed too often, a cluster that went away."""
        try:
            report: SubmissionReport = future.result(timeout=LOOK_SECONDS)
            return report
        except Exception as error:
            return retry_report(
                task.chapter, f"the cluster gave no verdict ({type(error).__name__}: {error})"
            )

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()


# -- on a worker

_judges: dict[str, tuple[Any, bytes]] = {}
_making = threading.Lock()


def _judge_for(isolation: str | None) -> tuple[Any, bytes]:
    """This worker's judge, started at its first task and shared by its threads, and the course's digest then."""
    from autograder.journal import code_digest

    with _making:
        if str(isolation) not in _judges:
            judge = single_threaded_judge()(isolation=isolation, workers=1).__enter__()
            _judges[str(isolation)] = judge, code_digest()
        return _judges[str(isolation)]


def _state(isolation: str | None) -> tuple[bytes, Isolation]:
    judge, digest = _judge_for(isolation)
    return digest, judge.isolation


def _judge(
    task: Task, isolation: str | None, private: bytes | None, digest: bytes, level: str
) -> SubmissionReport:
    """One verdict. A worker that joined later is held to what the others were checked for."""
    judge, theirs = _judge_for(isolation)
    if theirs != digest:
        return retry_report(task.chapter, "a Dask worker has another version of the course; update it")
    if LEVELS.index(judge.isolation.level) < LEVELS.index(level):
        return retry_report(task.chapter, f"a Dask worker holds only the level {judge.isolation.level}")
    if private is None:
        return judge_one(judge, task, None)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"private_{hashlib.sha256(private).hexdigest()[:12]}.py"
        path.write_bytes(private)
        return judge_one(judge, task, path)
