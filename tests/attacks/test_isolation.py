"""Which level is chosen, that a probe can fail, and that nothing is graded without a fence unless asked for by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from attack_tools import FULL, LIMITS, grade, solved

import autograder.probes
from autograder.faults import StudentCrash
from autograder.judge import Judge
from autograder.report import Isolation, SubmissionReport
from autograder.warm import Retry, Warm
from coursebuild.errors import CourseError
from coursebuild.paths import ROOT

pytestmark = pytest.mark.attack


def test_every_probe_is_held_and_stored_with_the_grade(judge: Judge) -> None:
    if judge.isolation.level == "none":
        pytest.skip("it holds what it can")
    assert judge.isolation.probes
    assert all(judge.isolation.probes.values())
    report = grade(judge, json.dumps(solved()).encode())
    assert report.score == FULL
    assert SubmissionReport.from_dict(report.to_dict()).isolation == judge.isolation


def test_without_a_fence_the_probes_say_so() -> None:
    with Judge(isolation="none", limits=LIMITS) as judge:
        assert judge.isolation.level == "none"
        failed = {name for name, held in judge.isolation.probes.items() if not held}
    assert {"network", "files", "class directory", "writing", "processes", "programs", "signals"} <= failed
    assert not {"environment", "descriptors", "hidden tests"} & failed


def test_no_grade_where_nothing_can_be_fenced_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_namespaces(*_: Any) -> None:
        raise Retry("not here")

    monkeypatch.setattr(Warm, "keeper", no_namespaces)
    for asked in (None, "full", "landlock"):
        with pytest.raises(CourseError, match="--isolation none") as caught, Judge(isolation=asked):
            pass
        assert "could not be set up" in str(caught.value)


@pytest.mark.parametrize("leaky", [("full",), ("full", "landlock")])
def test_a_level_that_leaks_is_not_used(leaky: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(keeper: Any, level: Any) -> Isolation:
        return Isolation(level, {"network": level not in leaky})

    monkeypatch.setattr(autograder.probes, "probe", probe)
    monkeypatch.setattr(Warm, "keeper", lambda *_: type("Keeper", (), {"end": lambda self: None})())
    if len(leaky) == 1:
        with Judge() as judge:
            assert judge.isolation.level == "landlock"
    else:
        with pytest.raises(CourseError, match="landlock: network not held off"), Judge():
            pass
    with pytest.raises(CourseError, match="full: network not held off"), Judge(isolation="full"):
        pass


BELOW_TMP = """
from contextlib import closing
from autograder.session import Session
from autograder.warm import Limits, Warm

with closing(Warm()) as warm:
    keeper = warm.keeper("full", {"attention_from_scratch/__init__.py": b""}, [], Limits())
    session = Session(keeper, [("cell", "import only_here; print(only_here.__file__)")], [], Limits())
    session.start()
    print(session.outputs["cell"])
    session.stop()
"""


def test_a_course_that_was_cloned_below_tmp_is_graded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The sandbox covers /tmp with an empty one of its own; the packages that lie below /tmp must still be there."""
    place = tmp_path_factory.mktemp("clone") / ".venv"
    if not place.is_relative_to("/tmp"):
        pytest.skip("temporary files lie elsewhere here")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "only_here.py").touch()
    elsewhere = [str(ROOT / "src"), *(path for path in sys.path if "-packages" in path)]
    (packages / "more.pth").write_text("\n".join(elsewhere))
    python = [place / "bin" / "python", "-c", BELOW_TMP]
    ran = subprocess.run(python, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert str(packages / "only_here.py") in ran.stdout, ran.stdout + ran.stderr[-2000:]


def test_a_fence_behind_which_python_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(*_: Any) -> Isolation:
        raise StudentCrash("it ended its process too often")

    monkeypatch.setattr(autograder.probes, "probe", probe)
    with pytest.raises(CourseError, match="Python does not start behind the fence"), Judge():
        pass


def test_an_unknown_level_is_no_level() -> None:
    with pytest.raises(CourseError), Judge(isolation="strong"):
        pass
