"""Running chapters: what is run again and what is not, and what a broken chapter says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_course import CHAPTER, MODULE, edit, make

from coursebuild.cache_key import cache_path, dependencies
from coursebuild.chapter import Chapter, load
from coursebuild.compose import book_source
from coursebuild.errors import CourseError
from coursebuild.execute import _joined, run_chapters
from coursebuild.paths import Paths
from coursebuild.reader import read_chapter


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


def key(course: Paths, name: str = "01_first") -> str:
    chapter = read_chapter(name, course)
    return cache_path(chapter, book_source(chapter)).name


def outputs(chapter: Chapter) -> list[str]:
    executed = run_chapters([chapter], quiet=True)[chapter.name]
    return [output["text"] for cell in executed.cells for output in cell.get("outputs", [])]


def test_a_chapter_runs_solved_and_is_then_taken_from_the_cache(
    course: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outputs(load("first", course)) == ["only in the book 3.0\n"]
    monkeypatch.setattr("coursebuild.execute.ProcessPoolExecutor", None)  # running anything would fail
    assert outputs(load("first", course)) == ["only in the book 3.0\n"]
    edit(course, CHAPTER, "Means are", "The means are")
    assert outputs(load("first", course)) == ["only in the book 3.0\n"], "prose runs nothing"


def test_what_a_run_depends_on_is_in_its_key(course: Paths) -> None:
    keys = [key(course)]
    for name, old, new in [
        (CHAPTER, "mean([2.0, 4.0])", "mean([2.0, 6.0])"),
        (MODULE, "SCALE = 1.0", "SCALE = 2.0"),
        ("constraints.txt", "1.0", "2.0"),
    ]:
        edit(course, name, old, new)
        keys.append(key(course))
    assert len(set(keys)) == 4


def test_modules_count_through_other_modules(course: Paths) -> None:
    library = course.library
    (library / "figures").mkdir()
    (library / "figures" / "__init__.py").write_text("from attention_from_scratch.figures.base import draw\n")
    (library / "figures" / "base.py").write_text("draw = print\n")
    (library / "figures" / "base.js").write_text("1")
    (library / "unused.py").write_text("x = 1\n")
    edit(course, CHAPTER, 'print("only', 'from attention_from_scratch import figures\nprint("only')
    chapter = read_chapter("01_first", course)
    found = [path.name for path in dependencies(chapter, book_source(chapter))]
    assert {"__init__.py", "base.py", "base.js"} <= set(found)
    assert "unused.py" not in found
    before = key(course)
    (library / "figures" / "base.js").write_text("2")
    assert key(course) != before
    before = key(course)
    (library / "unused.py").write_text("x = 2\n")
    assert key(course) == before


def test_another_chapters_module_does_not_count(course: Paths) -> None:
    before = key(course)
    edit(course, "src/attention_from_scratch/second.py", "2 *", "3 *")
    assert key(course) == before


def test_data_count_for_who_names_them_and_for_all_when_nobody_does(course: Paths) -> None:
    data = course.library / "data_files"
    data.mkdir()
    (data / "mine.json").write_text("1")
    (data / "theirs.json").write_text("1")
    (data / "anybodys.json").write_text("1")
    edit(course, CHAPTER, 'print("only', 'print("mine.json", "only')
    with (course.library / "second.py").open("a") as module:
        module.write('\nTHEIRS = "theirs.json"\n')
    chapter = read_chapter("01_first", course)
    found = {path.name for path in dependencies(chapter, book_source(chapter))}
    assert {"mine.json", "anybodys.json"} <= found
    assert "theirs.json" not in found


def test_a_damaged_cache_file_is_run_again(course: Paths) -> None:
    chapter = load("first", course)
    outputs(chapter)
    cache_path(chapter, book_source(chapter)).write_text('[{"outp')
    assert outputs(chapter) == ["only in the book 3.0\n"]


def test_only_the_latest_run_is_kept(course: Paths) -> None:
    outputs(load("first", course))
    edit(course, CHAPTER, "mean([2.0, 4.0])", "mean([2.0, 6.0])")
    assert outputs(load("first", course)) == ["only in the book 4.0\n"]
    assert len(list((course.build / "cache").iterdir())) == 1


def test_a_failing_cell_is_named(course: Paths) -> None:
    edit(course, CHAPTER, 'print("only in the book"', '1 / 0\nprint("only in the book"')
    line = (course.root / CHAPTER).read_text().splitlines().index("1 / 0") + 1
    with pytest.raises(CourseError) as caught:
        run_chapters([load("first", course)], quiet=True)
    first, second, *_ = str(caught.value).splitlines()
    assert first == f"{CHAPTER}:{line}: this cell failed: ZeroDivisionError: division by zero"
    assert second.strip() == "1 / 0"
    assert not list(course.build.glob("cache/*")), "a failed run is not kept"


def test_a_wrong_reference_fails_its_visible_test(course: Paths) -> None:
    edit(course, MODULE, "return SCALE * math", "return 2 * SCALE * math")
    with pytest.raises(CourseError, match="AssertionError: the mean of 1 and 3 is 2, got 4"):
        run_chapters([load("first", course)], quiet=True)


def test_an_endless_cell_is_stopped(course: Paths) -> None:
    edit(course, CHAPTER, 'print("only in the book"', 'while True: pass\nprint("only in the book"')
    with pytest.raises(CourseError, match="it ran longer than 3 s"):
        run_chapters([load("first", course)], timeout=3, quiet=True)


def test_a_good_chapter_is_kept_when_another_fails(course: Paths) -> None:
    edit(course, CHAPTER, "counter.add()", "counter.add(1)")
    (course.root / "book/chapters/02_second.md").write_text(
        (course.root / "book/chapters/02_second.md").read_text().replace(
            "from attention_from_scratch.first import mean", "def mean(values):\n    return sum(values) / len(values)"
        )
    )  # fmt: skip
    chapters = [read_chapter(name, course) for name in ("01_first", "02_second")]
    with pytest.raises(CourseError, match="01_first"):
        run_chapters(chapters, quiet=True)
    kept = [path.name for path in (course.build / "cache").iterdir()]
    assert len(kept) == 1
    assert kept[0].startswith("02_second-")
    assert isinstance(json.loads((course.build / "cache" / kept[0]).read_text()), list)


def test_ctrl_c_stops_at_once_says_one_line_and_leaves_no_process(course: Paths) -> None:
    begun = course.root / "begun"
    sleeping = (
        "import os, time\n"
        f"with open({str(begun)!r} + '.part', 'w') as file: file.write(str(os.getpid()))\n"
        f"os.rename({str(begun)!r} + '.part', {str(begun)!r})\n"
        'time.sleep(60)\nprint("only in'
    )
    edit(course, CHAPTER, 'print("only in', sleeping)
    script = course.root / "run.py"
    script.write_text(
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background is born deaf to it
        "from coursebuild import cli\n"
        "from coursebuild.book_pages import chapter_pages\n"
        "from coursebuild.paths import Paths\n"
        "class Parser:\n"
        "    def parse_args(self, arguments): return self\n"
        "    def run(self, parsed): chapter_pages(['first'], paths=Paths(pathlib.Path(sys.argv[1])), quiet=True)\n"
        "if __name__ == '__main__':\n"
        "    cli.parser = Parser\n"
        "    sys.exit(cli.main([]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), str(course.root)],
        start_new_session=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(begun.exists, 60)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "Stopped; what was finished is kept.\n")
    wait_for(lambda: not alive(int(begun.read_text())), 10)
    wait_for(lambda: not session_members(process.pid), 10)


def alive(process: int) -> bool:
    """Whether a process runs still."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds: float) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def session_members(session: int) -> list[int]:
    """The living processes of a session or process group."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and str(session) in (fields[2], fields[3]):
            found.append(int(status.parent.name))
    return found


def test_text_that_arrived_in_pieces_is_whole() -> None:
    def said(name: str, text: str) -> dict[str, object]:
        return {"output_type": "stream", "name": name, "text": text}

    shown = {"output_type": "display_data", "data": {"text/plain": "x"}, "metadata": {}}
    pieces = [
        said("stdout", "one"),
        said("stdout", " line\n"),
        shown,
        said("stdout", "a"),
        said("stderr", "b"),
    ]
    whole = [said("stdout", "one line\n"), shown, said("stdout", "a"), said("stderr", "b")]
    assert _joined(pieces) == whole
