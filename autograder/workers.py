"""Who judges: the judge of this machine with some workers, or the workers of a Dask cluster."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from autograder.report import Flag, Isolation, SubmissionReport
from coursebuild.errors import CourseError


@dataclass(frozen=True)
class Task:
    """One submission to judge: everything that its verdict depends on, as plain data."""

    student: str
    chapter: str
    content: bytes
    seed: bytes


class Judges(Protocol):
    """Something that judges tasks; the order of the reports is free."""

    isolation: Isolation

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, SubmissionReport]]:
        """Judge every task. What is not the student's doing comes back with the status `retry`."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def retry_report(chapter: str, reason: str) -> SubmissionReport:
    """No verdict, by no fault of the student's."""
    return SubmissionReport(chapter, "retry", flags=[Flag("retry", reason)])


def judge_one(judge: Any, task: Task, private: Path | None) -> SubmissionReport:
    """One verdict; a failure of ours becomes the status `retry`."""
    began = time.thread_time()
    try:
        report: SubmissionReport = judge.grade(
            task.content, task.chapter, seed=task.seed, private_tests=private
        )
        report.seconds["judge_cpu"] = time.thread_time() - began
        return report
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # judge.Retry, or a fault in the judge: the rest of the class is graded
        return retry_report(task.chapter, f"the judge could not finish ({type(error).__name__}: {error})")


def _single_threaded_judge() -> Callable[..., Any]:
    """The judge, in a process that counts with one thread.

    Its tensors are small, the cores are busy with the students' code, and a sum must not depend on how many there are.
    """
    import torch

    from autograder.judge import Judge

    torch.set_num_threads(1)
    return Judge


class LocalJudges:
    """The judge on this machine; with several workers, as many submissions at a time."""

    def __init__(
        self,
        isolation: str | None,
        workers: int,
        private: Path | None,
        make: Callable[..., Any] | None = None,
    ) -> None:
        if make is None:
            make = _single_threaded_judge()
        self._workers, self._private = workers, private
        self._judge = make(isolation=isolation, workers=workers)
        self._judge.__enter__()
        self.isolation: Isolation = self._judge.isolation

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, SubmissionReport]]:
        """Judge every task, at most two for each worker in memory at a time."""
        remaining = iter(tasks)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="judge")
        running: dict[Future[SubmissionReport], Task] = {}
        try:
            while True:
                for task in islice(remaining, 2 * self._workers - len(running)):
                    running[pool.submit(judge_one, self._judge, task, self._private)] = task
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the judge's processes."""
        self._judge.__exit__(None, None, None)


class DaskJudges:
    """Judges on a Dask cluster: each worker process starts its own judge and its own sandbox.

    The journal and the gradebook stay here, so a lost worker costs a retry and never a grade.
    """

    def __init__(self, address: str, isolation: str | None, private: Path | None, digest: bytes) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise CourseError("--dask needs the package distributed: pip install distributed") from error
        self._requested, self._private = isolation, private.read_bytes() if private else None
        try:
            self._client = Client(address, timeout="10s")
        except (OSError, ValueError) as error:
            raise CourseError(f"there is no Dask scheduler at {address} ({error})") from error
        self.isolation = self._check_workers(address, digest)

    def _check_workers(self, address: str, digest: bytes) -> Isolation:
        found: dict[str, tuple[bytes, Isolation]] = self._client.run(_worker_state, self._requested)
        if not found:
            raise CourseError(f"the Dask scheduler at {address} has no workers")
        if any(theirs != digest for theirs, _ in found.values()):
            raise CourseError(
                "the Dask workers have another version of the course than this machine; update them"
            )
        order = ("none", "landlock", "full")
        return min((level for _, level in found.values()), key=lambda level: order.index(level.level))

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, SubmissionReport]]:
        """Judge every task on the cluster."""
        from distributed import as_completed

        tasks_of = {
            self._client.submit(_worker_judge, task, self._requested, self._private, pure=False): task
            for task in tasks
        }
        for future in as_completed(list(tasks_of)):
            task = tasks_of[future]
            error = future.exception()
            yield (
                task,
                retry_report(task.chapter, f"a worker was lost ({error})") if error else future.result(),
            )

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()


_worker: dict[str, Any] = {}


def _worker_judge_for(isolation: str | None) -> Any:
    if str(isolation) not in _worker:
        _worker[str(isolation)] = _single_threaded_judge()(isolation=isolation, workers=1).__enter__()
    return _worker[str(isolation)]


def _worker_state(isolation: str | None) -> tuple[bytes, Isolation]:
    from autograder.journal import code_digest

    return code_digest(), _worker_judge_for(isolation).isolation


def _worker_judge(task: Task, isolation: str | None, private: bytes | None) -> SubmissionReport:
    judge = _worker_judge_for(isolation)
    if private is None:
        return judge_one(judge, task, None)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"private_{hashlib.sha256(private).hexdigest()[:12]}.py"
        path.write_bytes(private)
        return judge_one(judge, task, path)
