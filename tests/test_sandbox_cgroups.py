"""Control groups: where they can be made, and that a runner is in one (on machines that let us)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from autograder import sandbox_cgroups as cgroups
from autograder.session import Session
from autograder.warm import Limits, Warm


def _tree(root: Path, *groups: str, hands_on: str = "") -> None:
    for group in groups:
        directory = root / group
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.procs").touch()
        (directory / "cgroup.subtree_control").write_text(hands_on)


def test_version_1_has_a_place_for_each_controller(tmp_path: Path) -> None:
    _tree(tmp_path, "memory/mine", "pids")
    own = "8:pids:/\n4:memory:/mine\n0::/\n"
    mounts = "".join(
        f"3{n} 2 0:3{n} / {tmp_path}/{name} rw - cgroup cgroup rw,{name}\n"
        for n, name in enumerate(("memory", "pids"))
    )
    found = cgroups.places(own, mounts)
    assert [(place.directory, place.version) for place in found] == [
        (tmp_path / "memory/mine", 1),
        (tmp_path / "pids", 1),
    ]


def test_version_1_in_a_container_that_shows_its_part_only(tmp_path: Path) -> None:
    _tree(tmp_path, "memory")
    mounts = f"31 2 0:31 /docker/abc {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
    (place,) = cgroups.places("4:memory:/docker/abc\n", mounts)
    assert place.directory.resolve() == tmp_path / "memory"


def test_version_2_goes_up_to_who_hands_the_controllers_on(tmp_path: Path) -> None:
    _tree(tmp_path, "slice/scope")
    _tree(tmp_path, "slice", hands_on="cpu memory pids\n")
    mounts = f"31 2 0:31 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    (place,) = cgroups.places("0::/slice/scope\n", mounts)
    assert (place.directory, place.version) == (tmp_path / "slice", 2)
    group = cgroups.Group([place], 1 << 20)
    (directory,) = group.directories
    for name in ("memory.max", "pids.max"):
        assert not (directory / name).exists(), "only files that the kernel made are written"
    group.add(os.getpid())
    assert (directory / "cgroup.procs").read_text() == str(os.getpid())


def test_version_2_where_nobody_hands_them_on(tmp_path: Path) -> None:
    _tree(tmp_path, "scope", hands_on="cpu")
    assert cgroups.places("0::/scope\n", f"31 2 0:31 / {tmp_path} rw - cgroup2 cgroup2 rw\n") == []


def test_version_2_takes_what_is_handed_on(tmp_path: Path) -> None:
    """Where memory is still version 1's, a bound on the tasks is better than none."""
    _tree(tmp_path, "slice/scope", hands_on="pids")
    _tree(tmp_path, hands_on="cpu")
    (place,) = cgroups.places("0::/slice/scope\n", f"31 2 0:31 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    assert (place.directory, place.controllers) == (tmp_path / "slice/scope", ("pids",))


def test_groups_of_killed_graders_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    left, alive = tmp_path / f"course-{child.pid}-3", tmp_path / f"course-{os.getpid()}-1"
    other = tmp_path / "course-of-somebody-else"
    for directory in (left, alive, other):
        directory.mkdir()
    cgroups.sweep([cgroups.Place(tmp_path, 2, cgroups.CONTROLLERS)])
    assert [path.exists() for path in (left, alive, other)] == [False, True, True]


@pytest.mark.parametrize("text", ["", "nonsense", "1:name=systemd:/\n"])
def test_no_groups_are_no_error(text: str) -> None:
    assert cgroups.places(text, "") == []


@pytest.mark.parametrize("level", ["full", "landlock", "none"])
def test_a_runner_is_in_a_group_and_the_group_goes_with_it(level: str) -> None:
    if not cgroups.here():
        pytest.skip("no control group can be written here")
    warm = Warm()
    try:
        try:
            keeper = warm.keeper(level, {"attention_from_scratch/__init__.py": b""}, [], Limits())
        except BaseException as error:
            pytest.skip(f"not on this machine: {error}")
        session = Session(keeper, [("x", "x = 1")], [], Limits())
        session.start()
        assert session.runner is not None
        directories = session.runner.group.directories
        process = cgroups.process_of(session.runner.handle)
        assert directories
        for directory in directories:
            assert str(process) in (directory / "cgroup.procs").read_text().split()
        bounds = [_number(directory / name) for directory in directories for name in _FILES]
        assert cgroups.TASKS in bounds or Limits().memory + cgroups.SLACK in bounds
        session.stop()
        assert not [directory for directory in directories if directory.exists()]
    finally:
        warm.close()


_FILES = ("memory.limit_in_bytes", "memory.max", "pids.max")


def _number(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return -1


def test_a_pidfd_names_its_process() -> None:
    child = subprocess.Popen(["sleep", "5"])
    handle = os.pidfd_open(child.pid)
    try:
        assert cgroups.process_of(handle) == child.pid
    finally:
        child.kill()
        child.wait()
    assert cgroups.process_of(handle) is None
    os.close(handle)
