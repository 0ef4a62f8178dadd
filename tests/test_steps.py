"""A second `course make` does nothing where nothing has changed, and everything where something has."""

from __future__ import annotations

from pathlib import Path

import pytest

from coursebuild.paths import Paths
from coursebuild.steps import Steps


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "book" / "chapters").mkdir(parents=True)
    (tmp_path / "book" / "chapters" / "01_one.md").write_text("one")
    (tmp_path / "constraints.txt").write_text("numpy==2.4.6\n")
    return Paths(tmp_path)


class Release:
    """A step that writes a notebook, or fails."""

    def __init__(self, paths: Paths) -> None:
        self.output = paths.notebooks / "01_one.ipynb"
        self.runs, self.status = 0, 0

    def __call__(self) -> int:
        self.runs += 1
        self.output.parent.mkdir(exist_ok=True)
        self.output.write_text("the notebook")
        return self.status


def test_nothing_is_done_twice(paths: Paths) -> None:
    step = Release(paths)
    assert [Steps(paths).run("release", step) for _ in range(3)] == [0, 0, 0]
    assert step.runs == 1


@pytest.mark.parametrize("changed", ["book/chapters/01_one.md", "constraints.txt", "notebooks/01_one.ipynb"])
def test_a_changed_file_counts_whether_it_was_read_or_written(paths: Paths, changed: str) -> None:
    step = Release(paths)
    Steps(paths).run("release", step)
    (paths.root / changed).write_text("something else")
    Steps(paths).run("release", step)
    assert step.runs == 2
    Steps(paths).run("release", step)
    assert step.runs == 2


def test_what_is_gone_is_made_again(paths: Paths) -> None:
    step = Release(paths)
    Steps(paths).run("release", step)
    step.output.unlink()
    Steps(paths).run("release", step)
    assert step.output.is_file()


def test_a_step_that_failed_is_run_again(paths: Paths) -> None:
    step = Release(paths)
    step.status = 1
    assert [Steps(paths).run("release", step) for _ in range(2)] == [1, 1]
    assert step.runs == 2


def test_a_broken_record_costs_only_a_run(paths: Paths) -> None:
    step = Release(paths)
    Steps(paths).run("release", step)
    (paths.build / "steps.json").write_text("{")
    Steps(paths).run("release", step)
    Steps(paths).run("release", step)
    assert step.runs == 2
