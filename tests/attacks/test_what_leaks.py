"""Rows that try to read what the sandbox must not hold, or to tell it: files, memory, environment, exceptions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attack_tools import WITHOUT, WRONG, expect, printed, told, with_code
from rows import row

from autograder.judge import Judge

pytestmark = pytest.mark.attack
REPOSITORY = Path(__file__).resolve().parents[2]


def says(judge: Judge, code: str) -> str:
    """What the attack's cell printed."""
    return printed(expect(judge, with_code(code + WRONG), WITHOUT))


@row("write_gradebook")
def test_write_gradebook(judge: Judge, tmp_path: Path) -> None:
    database = tmp_path / "gradebook.db"
    database.write_text("as it was")
    places = [str(database), "gradebook.db", "../../../gradebook.db"]
    code = (
        f"for place in {places!r}:\n    try: open(place, 'a').write('10')\n    except OSError as e: print(e)"
    )
    says(judge, code)
    assert database.read_text() == "as it was"


@row("read_source")
def test_read_source(judge: Judge) -> None:
    paths = [
        str(REPOSITORY / "src" / "attention_from_scratch" / "soft_lookup.py"),
        str(REPOSITORY / "autograder" / "hidden" / "soft_lookup.py"),
        str(REPOSITORY / "solutions" / "01_soft_lookup.ipynb"),
        "/etc/passwd", os.path.expanduser("~/.bashrc"), f"/proc/{os.getpid()}/environ", "/proc/self/maps",
    ]  # fmt: skip
    code = f"for p in {paths!r}:\n    try: open(p).read(); print('REACHED', p)\n    except OSError: print('refused')"
    assert "refused" in says(judge, code)


@row("print_tests")
def test_print_tests(judge: Judge) -> None:
    assert "hidden" not in says(judge, "print(globals().get('In'), [n for n in dir() if 'hidden' in n])")


@row("walk_frames")
def test_walk_frames(judge: Judge) -> None:
    code = (
        "import gc, sys\n"
        "frame = sys._getframe()\nseen = []\n"
        "while frame: seen.append(frame.f_code.co_filename); frame = frame.f_back\n"
        "texts = [o for o in gc.get_objects() if isinstance(o, dict)]\n"
        "print(any('Draw' in d or 'HiddenTest' in d for d in texts))\n"
        "print(sorted(m for m in sys.modules if m.startswith('autograder')))"
    )
    text = says(judge, code)
    assert "True" not in text
    for module in ("testing", "hidden", "judge", "draw", "compare", "variants"):
        assert f"autograder.{module}" not in text


@row("environment")
def test_environment(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    text = says(judge, "import os\nprint(dict(os.environ))")
    ours = {
        "PATH",
        "HOME",
        "LANG",
        "PWD",
        "_",
        "PYTHONHASHSEED",
        "TRITON_INTERPRET",
    }  # set anew for the sandbox
    inherited = [name for name in os.environ if name not in ours and not name.endswith("_NUM_THREADS")]
    assert not [name for name in inherited if f"'{name}'" in text]


@row("shared_files")
def test_shared_files(judge: Judge) -> None:
    places = [f"{place}/left-{os.getpid()}" for place in ("/tmp", "/tmp/work", "/dev/shm")]
    code = "for p in {places!r}:\n    try: open(p, {mode!r}).{what}\n    except OSError: pass"
    try:
        says(judge, code.format(places=places, mode="w", what="write('LEFT')"))
        says(judge, code.format(places=places, mode="r", what="read() and print('REACHED')"))
    finally:
        for place in places:
            Path(place).unlink(missing_ok=True)


@row("protocol_forgery")
def test_descriptors(judge: Judge) -> None:
    code = (
        "import os\nopen_ones = []\n"
        "for n in range(4096):\n    try: os.fstat(n); open_ones.append(n)\n    except OSError: pass\nprint(open_ones)"
    )
    assert "[0, 1, 2, 100, 101]" in says(judge, code)


@row("print_tests")
def test_exception_text_is_for_the_instructor_only(judge: Judge) -> None:
    code = "def attend(q, K, V):\n    raise ValueError('LEAK', q.tolist())\n"
    report = expect(judge, with_code(code), WITHOUT)
    assert "LEAK" not in told(report)
    assert "ValueError" in told(report)
    assert any("LEAK" in test.detail for exercise in report.exercises for test in exercise.tests)


@row("print_tests")
def test_exception_class_is_no_channel(judge: Judge) -> None:
    code = "def attend(q, K, V):\n    raise type('LEAK' + str(q.shape[0]), (Exception,), {})\n"
    assert "LEAK" not in told(expect(judge, with_code(code), WITHOUT))
