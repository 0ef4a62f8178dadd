"""The fence stands for a judge without any rights too: no root, no setuid program, nothing installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from attack_tools import FULL, WITHOUT

from autograder import sandbox_linux as linux

pytestmark = [pytest.mark.attack, pytest.mark.slow]
HERE = Path(__file__).parent
NOBODY = 65534


def _become_nobody(scratch: Path) -> None:
    """In the child: give up root for good. An interpreter below a closed directory (/root) is shown at its place."""
    linux.unshare(linux.NEWNS)
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    for needed in dict.fromkeys((os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix))):
        ways = [way for way in reversed(Path(needed).parents) if not way.stat().st_mode & 0o001]
        if ways:
            aside = scratch / "aside"
            aside.mkdir()
            linux.mount(needed, str(aside), flags=linux.MS_BIND | linux.MS_REC)
            linux.mount("tmpfs", str(ways[0]), "tmpfs", 0, "mode=755")
            os.makedirs(needed)
            linux.mount(str(aside), needed, flags=linux.MS_BIND | linux.MS_REC)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@pytest.mark.parametrize("level", ["full", "landlock"])
def test_ordinary_user(level: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        scratch = Path(name)
        scratch.chmod(0o777)
        environment = {"PATH": os.environ["PATH"], "HOME": name, "TMPDIR": name, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-B", str(HERE / "as_a_user.py"), level],
            cwd=name, env=environment, capture_output=True, text=True, timeout=400, check=False,
            preexec_fn=(lambda: _become_nobody(scratch)) if os.geteuid() == 0 else None,
        )  # fmt: skip
    if "cannot fence off" in done.stderr:
        pytest.skip(f"not on this machine: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["uid"] != 0
    assert found["level"] == level
    assert all(found["probes"].values())
    assert found["honest"] == [FULL, FULL]
    assert found["last"] == FULL
    for name in ("forks", "memory", "disk", "threads", "ends itself", "never ends"):
        assert found[name] == [WITHOUT, False], name
