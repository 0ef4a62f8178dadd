"""Which tests share a worker: those of one file, so that what they set up is made once; all browser tests together.

(xdist's own `--dist loadgroup` marks groups in a way that pytest 9.2 no longer reads.)
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

BROWSER = "tests/browser/"  # one book for all of them
SPREAD = (  # long, and each test sets up its own
    "tests/attacks/",
    "tests/test_kill_matrix.py",
    "tests/test_dishonest_answers.py",
    "tests/test_triton_",
)


class ByFile(LoadScopeScheduling):
    """Hands out files of tests, all browser tests as one, and single tests of the long files."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(BROWSER):
            return BROWSER
        return nodeid if nodeid.startswith(SPREAD) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """xdist asks this when it starts."""
    return ByFile(config, log)
