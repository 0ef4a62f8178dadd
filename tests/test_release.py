"""`course release`: what it writes, what it names as out of step, and what it never throws away."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from small_course import CHAPTER, MODULE, edit, make

from coursebuild import cli
from coursebuild.paths import Paths
from coursebuild.release import out_of_step, release


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


def names(paths: list[Path], course: Paths) -> list[str]:
    return [path.relative_to(course.root).as_posix() for path in paths]


def test_release_writes_two_notebooks_a_chapter_once(course: Paths) -> None:
    assert names(release(course).written, course) == [
        "notebooks/01_first.ipynb",
        "solutions/01_first.ipynb",
        "notebooks/02_second.ipynb",
        "solutions/02_second.ipynb",
    ]
    again = release(course)
    assert again.written == []
    assert len(again.unchanged) == 4


def test_check_names_what_is_out_of_step_and_writes_nothing(course: Paths) -> None:
    release(course)
    edit(course, MODULE, "return SCALE * math", "return math")
    (course.notebooks / "02_second.ipynb").unlink()
    stale = course.notebooks / "09_gone.ipynb"
    stale.write_bytes((course.notebooks / "01_first.ipynb").read_bytes())
    outcome = release(course, check=True)
    assert out_of_step(outcome) == [
        "solutions/01_first.ipynb differs from its sources",
        "notebooks/02_second.ipynb is missing",
        "notebooks/09_gone.ipynb has no chapter",
    ]
    assert stale.exists()
    assert not (course.notebooks / "02_second.ipynb").exists()


def test_a_generated_notebook_whose_chapter_is_gone_is_removed(course: Paths) -> None:
    release(course)
    (course.chapters / "02_second.md").unlink()
    edit(course, CHAPTER, "{doc}`02_second`", "the second chapter")
    assert names(release(course).removed, course) == [
        "notebooks/02_second.ipynb",
        "solutions/02_second.ipynb",
    ]
    assert not (course.notebooks / "02_second.ipynb").exists()


def test_work_in_a_notebook_is_kept(course: Paths) -> None:
    release(course)
    path = course.notebooks / "01_first.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if "raise NotImplementedError()" in cell.source)
    cell.source = cell.source.replace("raise NotImplementedError()", "return 42  # an hour's work")
    nbformat.write(notebook, path)
    edit(course, CHAPTER, "Means are", "The means are")
    outcome = release(course)
    assert names([kept for _, kept in outcome.kept], course) == ["notebooks/01_first.edited.ipynb"]
    assert "an hour's work" in (course.notebooks / "01_first.edited.ipynb").read_text()
    assert "an hour's work" not in path.read_text()
    assert release(course, check=True).written == []


def test_outputs_alone_are_no_work(course: Paths) -> None:
    release(course)
    path = course.notebooks / "01_first.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.execution_count = 3
    nbformat.write(notebook, path)
    assert release(course).kept == []


def test_a_faulty_chapter_holds_back_only_itself(course: Paths) -> None:
    edit(course, CHAPTER, "{cite:t}`someone2020`", "{cite:t}`nobody`")
    outcome = release(course)
    assert names(outcome.written, course) == ["notebooks/02_second.ipynb", "solutions/02_second.ipynb"]
    assert [fault.text for fault in outcome.faults] == [
        "the citation 'nobody' is unknown; add it to book/references.bib"
    ]


def test_one_chapter_by_name(course: Paths) -> None:
    assert names(release(course, ["second"]).written, course) == [
        "notebooks/02_second.ipynb",
        "solutions/02_second.ipynb",
    ]


def test_an_interrupted_write_leaves_the_old_file(course: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    release(course)
    path = course.notebooks / "01_first.ipynb"
    before = path.read_bytes()
    edit(course, CHAPTER, "Means are", "The means are")

    def stop(source: str, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        release(course)
    assert path.read_bytes() == before
    assert sorted(path.name for path in course.notebooks.iterdir()) == ["01_first.ipynb", "02_second.ipynb"]


class TestCommandLine:
    """The same through the command."""

    @pytest.fixture(autouse=True)
    def _here(self, course: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("chapter", "release"):
            for name in ("all_chapters", "full_name", "release"):
                function = getattr(__import__(f"coursebuild.{module}", fromlist=["x"]), name, None)
                if function is not None:
                    defaults = tuple(
                        course if isinstance(d, Paths) else d for d in function.__defaults__ or ()
                    )
                    monkeypatch.setattr(function, "__defaults__", defaults)
        monkeypatch.setattr("coursebuild.paths.REPOSITORY", course)
        self.course = course

    def test_check_exits_1_then_0(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["release", "--check"]) == 1
        assert "notebooks/01_first.ipynb is missing" in capsys.readouterr().out
        assert cli.main(["release"]) == 0
        assert cli.main(["release", "--check"]) == 0
        assert "4 notebooks are in step" in capsys.readouterr().out

    def test_faults_exit_2_and_are_all_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        edit(self.course, CHAPTER, "{cite:t}`someone2020`", "{cite:t}`nobody`")
        edit(self.course, CHAPTER, "{term}`key`", "{term}`nothing`")
        assert cli.main(["release"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert all(line.startswith("book/chapters/01_first.md:1") for line in lines)

    def test_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["list", "--json"]) == 0
        chapters = json.loads(capsys.readouterr().out)["chapters"]
        assert [chapter["chapter"] for chapter in chapters] == ["01_first", "02_second"]
        assert chapters[0]["exercises"][0] == {
            "exercise": "mean", "title": "The `mean` of numbers", "difficulty": 2, "minutes": 5, "points": 3,
        }  # fmt: skip
        assert cli.main(["list"]) == 0
        assert "01_first" in capsys.readouterr().out

    def test_an_unknown_chapter(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["release", "third"]) == 2
        assert (
            capsys.readouterr().err == "there is no chapter 'third'; the chapters are 01_first, 02_second\n"
        )

    def test_a_full_disk_is_one_sentence(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        assert cli.main(["release"]) == 2
        error = capsys.readouterr().err
        assert error == "No space left on device; nothing was left half written.\n"
        assert not list(self.course.notebooks.glob(".*")), "a half-written file was left"

    def test_ctrl_c_is_one_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(descriptor: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("os.fsync", stop)
        assert cli.main(["release"]) == 130
        assert capsys.readouterr().err.count("\n") == 1


def test_help_is_instant_and_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from coursebuild import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'nbgrader', 'nbformat', 'jupytext', 'sphinx', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("list", "release", "build", "validate", "class", "grade", "export", "bench"):
        assert f"\n    {command} " in done.stdout
