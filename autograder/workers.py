"""Who judges: here the judge of this machine, with some workers; `dask_judges` has those of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from autograder.report import Flag, Isolation, SubmissionReport


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


def single_threaded_judge() -> Callable[..., Any]:
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
            make = single_threaded_judge()
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
