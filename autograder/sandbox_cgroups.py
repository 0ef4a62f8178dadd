"""Control groups: a bound on the memory and the tasks of each runner, beside its rlimits, where they can be written.

Version 1 has a hierarchy for each controller: a group is made below our own one in each. Version 2 has a single
hierarchy, and gives a controller only to groups whose parent hands it on: a group is made below the nearest of our own
group and its ancestors that hands on most of them, and that we may write. Nothing is moved but the runner.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "pids")
SLACK = 96 << 20  # beside what a student may allocate: the scratch directory, pipes, what the kernel keeps
TASKS = 256
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """A directory in which groups can be made, and the limits that count there."""

    directory: Path
    version: int
    controllers: tuple[str, ...]


def places(own_groups: str, mounts: str) -> list[Place]:
    """Where groups can be made, from the texts of /proc/self/cgroup and /proc/self/mountinfo; empty where nowhere."""
    own = dict(line.split(":", 2)[1:] for line in own_groups.splitlines() if line.count(":") >= 2)
    found: list[Place] = []
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, where = left.split()[3:5]
        kind, options = right.split()[0], right.split()[-1].split(",")
        if kind == "cgroup":
            for name in CONTROLLERS:
                path = next((path for names, path in own.items() if name in names.split(",")), None)
                if name in options and path is not None:
                    found += _writable(Place(_below(where, root, path), 1, (name,)))
        elif kind == "cgroup2" and "" in own:
            directory = _below(where, root, own[""])
            upwards = [one for one in (directory, *directory.parents) if one.is_relative_to(where)]
            able = [place for one in upwards for place in _writable(Place(one, 2, _handed_on(one)))]
            found += sorted(able, key=lambda place: -len(place.controllers))[:1]
    return found


def here() -> list[Place]:
    """Where groups can be made on this machine, by this user."""
    try:
        return places(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    except (OSError, ValueError):
        return []


def _below(where: str, root: str, path: str) -> Path:
    """A group's directory, where the mount may show only a part of the hierarchy."""
    inside = os.path.relpath(path, root) if os.path.commonpath([path, root]) == root else "."
    return Path(where) / inside


def _handed_on(group: Path) -> tuple[str, ...]:
    handed_on = _read(group / "cgroup.subtree_control").split()
    return tuple(name for name in CONTROLLERS if name in handed_on)


def _writable(place: Place) -> list[Place]:
    ready = (
        bool(place.controllers)
        and os.access(place.directory, os.W_OK | os.X_OK)
        and os.access(place.directory / "cgroup.procs", os.W_OK)
    )
    return [place] if ready else []


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def sweep(where: list[Place]) -> None:
    """Remove the groups of graders that were killed: nobody else would."""
    for place in where:
        for directory in place.directory.glob("course-*-*"):
            grader = directory.name.split("-")[1]
            if grader.isdecimal() and not Path("/proc", grader).exists():
                with contextlib.suppress(OSError):
                    directory.rmdir()


class Group:
    """The groups of one runner, one at each place. A context of its own: made, filled, ended."""

    def __init__(self, where: list[Place], memory: int) -> None:
        name = f"course-{os.getpid()}-{next(_numbers)}"
        self.directories: list[Path] = []
        for place in where:
            directory = place.directory / name
            with contextlib.suppress(OSError):  # a limit less; the others hold
                directory.mkdir()
                self.directories.append(directory)
                for file, value in _limits(place, memory + SLACK).items():
                    if (directory / file).exists():
                        (directory / file).write_text(str(value))

    def add(self, process: int) -> None:
        """Move a process in; what it starts is in it too."""
        for directory in self.directories:
            with contextlib.suppress(OSError):
                (directory / "cgroup.procs").write_text(str(process))

    def end(self) -> None:
        """Remove the groups, which must be empty by now."""
        for directory in self.directories:
            with contextlib.suppress(OSError):
                if (directory / "cgroup.kill").exists():
                    (directory / "cgroup.kill").write_text("1")
            with contextlib.suppress(OSError):
                directory.rmdir()


def _limits(place: Place, memory: int) -> dict[str, int]:
    if place.version == 2:
        return {"memory.max": memory, "memory.swap.max": 0, "pids.max": TASKS}
    return {"memory.limit_in_bytes": memory} if place.controllers == ("memory",) else {"pids.max": TASKS}


def process_of(handle: int) -> int | None:
    """The process behind a pidfd, as its number in our own pid namespace."""
    for line in _read(Path(f"/proc/self/fdinfo/{handle}")).splitlines():
        if line.startswith("Pid:") and int(line.split()[1]) > 0:
            return int(line.split()[1])
    return None
