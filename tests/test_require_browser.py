"""Where a browser is required, browser tests that cannot run fail instead of being skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ONE_TEST = "tests/browser/test_book_pages.py::test_the_theme_can_be_switched"


@pytest.mark.parametrize(("required", "said"), [("", "1 skipped"), ("1", "1 error")])
def test_a_missing_browser_fails_only_where_one_is_required(tmp_path: Path, required: str, said: str) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "REQUIRE_BROWSER": required, "CHROMIUM": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", ONE_TEST],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert said in done.stdout, done.stdout + done.stderr
    assert (done.returncode != 0) == bool(required), done.stdout
    assert "no Chromium was found" in done.stdout
