"""A class graded on a Dask cluster of several processes, one of them killed in the middle: the same, byte for byte."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from class_helpers import CHAPTER, gradebook_rows

from autograder.classroom import Classroom, open_class
from autograder.grade import Options, grade_class
from autograder.results import as_json
from autograder.sample import make_sample
from coursebuild.errors import CourseError

distributed = pytest.importorskip("distributed")
WORKERS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as made:
        yield made


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample class, with right, wrong and hostile work."""
    root = tmp_path_factory.mktemp("dask") / "class"
    make_sample(root, [CHAPTER])
    return root


def copy(handed_in: Path, name: str) -> Classroom:
    """The same class, secret and all, in another place."""
    return open_class(Path(shutil.copytree(handed_in, handed_in.parent / name)))


def kill_a_worker(cluster: distributed.LocalCluster, room: Classroom, killed: list[int]) -> None:
    """End one worker process as soon as the first verdicts are in."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        journal = room.journal(CHAPTER)
        if journal.is_file() and journal.read_bytes().count(b'"judged"') >= 2:
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.05)


def test_a_cluster_with_a_worker_killed_gives_the_same_grades(
    cluster: distributed.LocalCluster, handed_in: Path
) -> None:
    local, spread = copy(handed_in, "local"), copy(handed_in, "spread")
    expected = grade_class(local, CHAPTER, Options(workers=1))
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(cluster, spread, killed), daemon=True)
    killer.start()
    result = grade_class(spread, CHAPTER, Options(dask=cluster.scheduler_address))
    killer.join()
    assert killed, "no worker was killed"
    assert [one.report.flags for one in result.results if one.report.status == "retry"] == []
    assert as_json(result) == as_json(expected)
    assert gradebook_rows(spread) == gradebook_rows(local)
    page = "03_multi_head.html"
    for path in sorted((local.root / "feedback").glob(f"*/*/{page}")):
        assert path.read_bytes() == (spread.root / path.relative_to(local.root)).read_bytes()


def test_no_scheduler_is_one_clear_sentence(handed_in: Path) -> None:
    with pytest.raises(CourseError, match="no Dask scheduler at tcp://127"):
        grade_class(copy(handed_in, "nobody"), CHAPTER, Options(dask="tcp://127.0.0.1:9"))


def test_a_scheduler_without_workers_is_refused(handed_in: Path) -> None:
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(CourseError, match="has no workers"),
    ):
        grade_class(copy(handed_in, "empty"), CHAPTER, Options(dask=empty.scheduler_address))
