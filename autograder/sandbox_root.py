"""What student code may read, and a private root directory that holds only that, read-only."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from autograder import sandbox_linux as linux

OURS = ("attention_from_scratch", "autograder", "coursebuild")
COURSE = "/course"
SCRATCH_BYTES = 16 << 20
_DEVICES = ("null", "zero", "full", "random", "urandom")
_KEPT_FLAGS = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}  # statvfs's to mount's


def readable() -> list[str]:
    """The directories and files that running Python with its packages needs."""
    wanted = [sys.base_prefix, sys.prefix, "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache"]
    if os.path.realpath(sys.base_prefix) == "/usr":
        wanted += ["/usr/local/lib"]
        wanted.remove(sys.base_prefix)
    wanted += [path for path in sys.path if "-packages" in path]
    kept: list[str] = []
    for path in dict.fromkeys(os.path.realpath(path) for path in wanted if os.path.exists(path)):
        if not any(os.path.commonpath([path, other]) == other for other in kept):
            kept.append(path)
    return kept


def open_to_others() -> bool:
    """Whether a user who owns nothing can read what Python needs: the way there and a file of each place."""
    places = [Path(path) for path in (sys.prefix, sys.base_prefix, *readable())]
    ways = {way for place in places for way in (place, *place.parents)}
    return all(way.stat().st_mode & (0o001 if way.is_dir() else 0o004) for way in ways if way.exists())


def ours_inside(paths: list[str]) -> list[str]:
    """Our own packages where they are installed inside these paths: they hold the answers."""
    places = [Path(path) for path in sys.path if path and os.path.isdir(path)]
    found = [place / name for place in places for name in OURS if (place / name).exists()]
    real = {os.path.realpath(path) for path in found}
    return sorted(path for path in real if any(os.path.commonpath([path, p]) == p for p in paths))


def leaves(paths: list[str], without: list[str]) -> list[str]:
    """The same directories without some below them, for a fence that can only allow."""
    made: list[str] = []
    for path in paths:
        if path in without:
            continue
        if any(os.path.commonpath([path, hidden]) == path for hidden in without):
            made += leaves([os.path.join(path, name) for name in sorted(os.listdir(path))], without)
        else:
            made.append(path)
    return made


def build(where: str, package: str) -> None:
    """Make the root at `where`, with the package at /course, and move into it."""
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", where, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=755")
    paths = readable()
    for path in paths:
        _bind(path, where + path)
    for path in ours_inside(paths):
        linux.mount("tmpfs", where + path, "tmpfs", linux.MS_RDONLY | linux.MS_NOSUID, "size=4k,mode=755")
    for link in ("/lib", "/lib64", "/usr/lib64"):
        if os.path.islink(link) and not os.path.lexists(where + link):
            os.symlink(os.readlink(link), where + link)
    for device in _DEVICES:
        _bind(f"/dev/{device}", f"{where}/dev/{device}", read_only=False)
    _bind(package, where + COURSE)
    for name in ("/tmp", "/old", *_aside()):
        os.makedirs(where + name, exist_ok=True)
    os.chdir(where)
    linux.pivot_root(where, where + "/old")
    os.chdir("/")
    linux.detach("/old")
    os.rmdir("/old")
    linux.mount("none", "/", flags=_remount("/"))


def scratch() -> None:
    """An empty /tmp of this mount namespace's own, and the only place that can be written."""
    options = f"size={SCRATCH_BYTES},nr_inodes=1000,mode=1777"
    aside = _aside()
    for place, path in aside.items():
        linux.mount(path, place, flags=linux.MS_BIND | linux.MS_REC)
    linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)
    for place, path in aside.items():
        os.makedirs(path)
        linux.mount(place, path, flags=linux.MS_BIND | linux.MS_REC)
    os.mkdir("/tmp/work")
    os.chdir("/tmp/work")


@cache  # asked before the fork, so that no runner has to look
def _aside() -> dict[str, str]:
    """Where to hold what Python needs of /tmp (the course may have been cloned there) while an empty /tmp covers it."""
    covered = [path for path in readable() if os.path.commonpath([path, "/tmp"]) == "/tmp"]
    return {f"/aside{i}": path for i, path in enumerate(covered)}


def _bind(source: str, target: str, read_only: bool = True) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    linux.mount(source, target, flags=linux.MS_BIND | linux.MS_REC)
    if read_only:
        linux.mount("none", target, flags=_remount(target) | linux.MS_BIND)


def _remount(target: str) -> int:
    """Read-only, with the flags that a user namespace must not drop."""
    has = os.statvfs(target).f_flag
    kept = sum(flag for bit, flag in _KEPT_FLAGS.items() if has & bit)
    return kept | linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
