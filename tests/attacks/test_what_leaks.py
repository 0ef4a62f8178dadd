"""Rows that try to read what the sandbox must not hold, or to tell it: files, memory, environment, exceptions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attack_tools import WITHOUT, WRONG, expect, told, with_code

from autograder.judge import Judge

pytestmark = pytest.mark.attack
REPOSITORY = Path(__file__).resolve().parents[2]


def printed(judge: Judge, code: str) -> str:
    """What the attack's cell printed."""
    report = expect(judge, with_code(code + WRONG), WITHOUT)
    return "\n".join(output.text for output in report.outputs)


def test_write_gradebook(judge: Judge, tmp_path: Path) -> None:
    database = tmp_path / "gradebook.db"
    database.write_text("as it was")
    places = [str(database), "gradebook.db", "../../../gradebook.db"]
    code = (
        f"for place in {places!r}:\n    try: open(place, 'a').write('10')\n    except OSError as e: print(e)"
    )
    printed(judge, code)
    assert database.read_text() == "as it was"


def test_read_source(judge: Judge) -> None:
    paths = [
        str(REPOSITORY / "src" / "attention_from_scratch" / "scaled_dot_product.py"),
        str(REPOSITORY / "autograder" / "hidden" / "scaled_dot_product.py"),
        str(REPOSITORY / "solutions" / "02_scaled_dot_product.ipynb"),
        "/etc/passwd", os.path.expanduser("~/.bashrc"), f"/proc/{os.getpid()}/environ", "/proc/self/maps",
    ]  # fmt: skip
    code = f"for p in {paths!r}:\n    try: open(p).read(); print('READ', p)\n    except OSError: print('refused')"
    assert "READ" not in printed(judge, code)


def test_print_tests(judge: Judge) -> None:
    assert "hidden" not in printed(judge, "print(globals().get('In'), [n for n in dir() if 'hidden' in n])")


def test_walk_frames(judge: Judge) -> None:
    code = (
        "import gc, sys\n"
        "frame = sys._getframe()\nseen = []\n"
        "while frame: seen.append(frame.f_code.co_filename); frame = frame.f_back\n"
        "texts = [o for o in gc.get_objects() if isinstance(o, dict)]\n"
        "print(any('Draw' in d or 'HiddenTest' in d for d in texts))\n"
        "print(sorted(m for m in sys.modules if m.startswith('autograder')))"
    )
    text = printed(judge, code)
    assert "True" not in text
    for module in ("testing", "hidden", "judge", "draw", "compare", "variants"):
        assert f"autograder.{module}" not in text


def test_environment(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(judge, "import os\nprint(dict(os.environ))")
    assert not [name for name in os.environ if name not in ("PATH", "HOME", "LANG", "PWD", "_") and f"'{name}'" in text
                and not name.endswith("_NUM_THREADS") and name != "PYTHONHASHSEED"]  # fmt: skip


def test_shared_files(judge: Judge) -> None:
    write = "import os\nfor p in ('/tmp/left', '/tmp/work/left', 'left', '/dev/shm/left'):\n    try: open(p, 'w').write('LEFT')\n    except OSError: pass"
    printed(judge, write)
    read = "import os\nfor p in ('/tmp/left', '/tmp/work/left', 'left', '/dev/shm/left'):\n    print(os.path.exists(p))"
    assert "True" not in printed(judge, read)


def test_descriptors_and_neighbours(judge: Judge) -> None:
    code = (
        "import os\nopen_ones = []\n"
        "for n in range(4096):\n    try: os.fstat(n); open_ones.append(n)\n    except OSError: pass\nprint(open_ones)\n"
        "for pid in (os.getppid(), 2, " + str(os.getpid()) + "):\n"
        "    try: os.kill(pid, 9); print('KILLED')\n    except OSError: pass"
    )
    text = printed(judge, code)
    assert "[0, 1, 2, 100, 101]" in text
    assert "KILLED" not in text


def test_exception_text_is_for_the_instructor_only(judge: Judge) -> None:
    code = "def attention_backward(dO, Q, K, V):\n    raise ValueError('LEAK', Q.tolist())\n"
    report = expect(judge, with_code(code), WITHOUT)
    assert "LEAK" not in told(report)
    assert "ValueError" in told(report)
    assert any("LEAK" in test.detail for exercise in report.exercises for test in exercise.tests)


def test_exception_class_is_no_channel(judge: Judge) -> None:
    code = (
        "def attention_backward(dO, Q, K, V):\n    raise type('LEAK' + str(Q.shape[0]), (Exception,), {})\n"
    )
    assert "LEAK" not in told(expect(judge, with_code(code), WITHOUT))
