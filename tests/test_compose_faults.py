"""A chapter with a fault is refused: the message names the file, the line, and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_course import CHAPTER, FILES, HIDDEN, MODULE, edit, make

from coursebuild.check import faults_of
from coursebuild.paths import Paths
from coursebuild.reader import read_chapter

SECOND = "book/chapters/02_second.md"
SECOND_MODULE = "src/attention_from_scratch/second.py"


@pytest.fixture
def course(tmp_path: Path) -> Paths:
    return make(tmp_path)


def messages(paths: Paths, name: str = "01_first") -> list[str]:
    return [
        f"{f.path.relative_to(paths.root)}:{f.line}: {f.text}" for f in faults_of(read_chapter(name, paths))
    ]


def line_of(name: str, text: str, paths: Paths) -> int:
    """The first line of a file that holds a text."""
    lines = (paths.root / name).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_the_good_course_has_no_fault(course: Paths) -> None:
    assert messages(course) == []
    assert messages(course, "02_second") == []


# (file, old text, new text, the line's text after the edit, what is wrong, the mend)
EDITS = {
    "unknown exercise": (
        CHAPTER,
        ":exercise: first.mean",
        ":exercise: first.median",
        "ipython3\n:exercise",
        "defines no 'median'",
        "write it there or correct the name",
    ),
    "exercise of another chapter": (
        CHAPTER,
        ":exercise: first.mean",
        ":exercise: second.mean",
        "",
        "is 'second.mean'",
        "write first.name",
    ),
    "missing end marker": (
        MODULE,
        "    ### END SOLUTION\n\n\nclass",
        "\n\nclass",
        "def mean",
        "without ### END SOLUTION",
        "add the missing marker",
    ),
    "missing begin marker": (
        MODULE,
        "    ### BEGIN SOLUTION\n    if",
        "    if",
        "def mean",
        "without ### BEGIN SOLUTION",
        "add the missing marker",
    ),
    "no markers": (
        MODULE,
        "    ### BEGIN SOLUTION\n    if not values:\n"
        '        raise ValueError("no numbers have no mean")\n'
        "    return SCALE * math.fsum(values) / len(values)\n    ### END SOLUTION",
        "    return SCALE",
        "def mean",
        "has no solution region",
        "put what the student must write between",
    ),
    "duplicate id": (
        CHAPTER,
        ":name: Counter",
        ":name: mean",
        "{exercise} The",
        "'mean' is used 2 times",
        "rename one",
    ),
    "no visible test": (
        CHAPTER,
        ":tests: first.Counter",
        ":tags: [hide-input]",
        "",
        "'Counter' has no visible test",
        "add a cell with :tests: first.Counter",
    ),
    "tests of nothing": (
        CHAPTER,
        ":tests: first.Counter",
        ":tests: first.Counters",
        "",
        "belong to no exercise",
        "correct the name",
    ),
    "no hidden test": (
        HIDDEN,
        'mean = Exercise("mean")',
        'mean = Exercise("moan")',
        "{exercise} The",
        "'mean' has no hidden test",
        "write one in first.py",
    ),
    "hidden points": (
        HIDDEN,
        "points=3",
        "points=4",
        "{exercise} The",
        "has 3 points but its hidden tests have 4",
        "make them agree",
    ),
    "chapter points": (
        CHAPTER,
        "points: 7",
        "points: 8",
        "---",
        "have 7 points but course: points: is 8",
        "make them agree",
    ),
    "question without answer": (
        HIDDEN,
        'Question("why_divide"',
        'Question("why"',
        "{question}",
        "'why_divide' has no model answer",
        "add a Question",
    ),
    "question's points": (
        HIDDEN,
        'Question("why_divide", points=2',
        'Question("why_divide", points=3',
        "{question}",
        "2 points here and 3",
        "make them agree",
    ),
    "exercise without cell": (
        CHAPTER,
        "```{code-cell} ipython3\n:exercise: first.Counter\n```\n",
        "",
        "{exercise} A class",
        "'Counter' has no cell",
        "add one with :exercise: first.Counter",
    ),
    "cell without exercise": (
        CHAPTER,
        ":::{exercise} A class\n:name: Counter",
        ":::{exercise} A class\n:name: Other",
        "",
        "'Counter' has no exercise directive",
        "write :::{exercise} above it",
    ),
    "imports its own module": (
        CHAPTER,
        "import math",
        "from attention_from_scratch.first import mean",
        "from attention",
        "imports the chapter's own module first",
        "use them",
    ),
    "imports a later module": (
        CHAPTER,
        "import math",
        "import math\nfrom attention_from_scratch import second",
        "import second",
        "belongs to a later chapter",
        "import earlier chapters only",
    ),
    "set-up lacks an import": (
        CHAPTER,
        "import math",
        "import os",
        "",
        "mean uses math",
        "import it in a set-up cell",
    ),
    "given code not shown": (
        CHAPTER,
        "```{code-cell} ipython3\n:given: first.SCALE\n```\n",
        "",
        "",
        "mean uses SCALE",
        "show it in a :given: first.SCALE cell",
    ),
    "unknown directive": (
        CHAPTER,
        ":::{hint} Which",
        ":::{hunt} Which",
        "{hunt}",
        "no directive 'hunt'",
        "the directives are",
    ),
    "unknown option": (
        CHAPTER,
        ":difficulty: 2",
        ":difficulty: 2\n:colour: red",
        "{exercise} The",
        "unknown option 'colour'",
        "its options are",
    ),
    "missing option": (
        CHAPTER,
        ":difficulty: 2\n",
        "",
        "{exercise} The",
        "lacks its difficulty",
        "add a line :difficulty:",
    ),
    "difficulty too high": (
        CHAPTER,
        ":difficulty: 2",
        ":difficulty: 9",
        "{exercise} The",
        "difficulty is 9",
        "write 1 to 5",
    ),
    "points not a number": (
        CHAPTER,
        ":points: 3",
        ":points: three",
        "{exercise} The",
        "points is 'three'",
        "write a number",
    ),
    "hint without title": (
        CHAPTER,
        ":::{hint} Which `sum`?",
        ":::{hint}",
        "{hint}",
        "has no title",
        "write it after",
    ),
    "unclosed directive": (
        CHAPTER,
        "The built-in one.\n:::",
        "The built-in one.",
        "{hint}",
        "'hint' is not closed",
        "close it",
    ),
    "unclosed code fence": (
        CHAPTER,
        "not a role`\n```\n",
        "not a role`\n",
        "```python",
        "code fence is not closed",
        "close it with ```",
    ),
    "unclosed code cell": (
        CHAPTER,
        "import math\n```\n",
        "import math\n",
        "",
        "code cell is not closed",
        "end it",
    ),
    "colons that close nothing": (
        CHAPTER,
        "The built-in one.\n:::",
        "The built-in one.\n:::\n\n:::",
        "",
        "closes nothing",
        "remove it",
    ),
    "inner with as many colons": (
        CHAPTER,
        "::::{exercise} The",
        ":::{exercise} The",
        "{note}",
        "no more colons",
        "give it one more colon",
    ),
    "unknown citation": (
        CHAPTER,
        "{cite:t}`someone2020`",
        "{cite:t}`nobody`",
        "{cite:t}`nobody`",
        "citation 'nobody' is unknown",
        "add it to book/references.bib",
    ),
    "unknown term": (
        CHAPTER,
        "{term}`key`",
        "{term}`keys`",
        "{term}`keys`",
        "term 'keys' is unknown",
        "add it to book/glossary.md",
    ),
    "unknown label": (
        CHAPTER,
        "{ref}`the-end`",
        "{ref}`end`",
        "{ref}`end`",
        "label 'end' is unknown",
        "write (end)=",
    ),
    "unknown page": (
        CHAPTER,
        "{doc}`02_second`",
        "{doc}`03_third`",
        "{doc}`03_third`",
        "no page '03_third'",
        "the pages are",
    ),
    "unknown equation": (
        CHAPTER,
        "{eq}`mean`",
        "{eq}`median`",
        "{eq}`median`",
        "equation 'median' is unknown",
        "label one",
    ),
    "unknown role": (
        CHAPTER,
        "{eq}`mean`",
        "{numref}`mean`",
        "{numref}`mean`",
        "no role {numref}",
        "the roles are",
    ),
    "unknown tag": (CHAPTER, "[book-only]", "[book]", "", "no cell tag 'book'", "the tags are"),
    "unknown cell option": (
        CHAPTER,
        ":tests: first.mean",
        ":test: first.mean",
        "",
        "unknown option 'test'",
        "use exercise, tests, given",
    ),
    "broken code": (CHAPTER, "counter.add()", "counter.add(", "counter.add(", "is not Python", "correct it"),
    "broken module": (MODULE, "def mean(", "def mean((", "def mean((", "not Python", "correct it"),
    "broken hidden tests": (
        HIDDEN,
        "from autograder.testing import",
        "from autograder.testing import Nothing,",
        "",
        "cannot be imported",
        "correct it",
    ),
    "exercise cell with a body": (
        CHAPTER,
        ":exercise: first.mean\n",
        ":exercise: first.mean\nx = 1\n",
        "",
        "has a body",
        "leave it empty",
    ),
    "graded but not in the chapter": (
        HIDDEN,
        "QUESTIONS = [",
        'extra = Exercise("extra")\nextra.test(points=1, says="x")(counts)\nQUESTIONS = [',
        "",
        "'extra' is graded but not in 01_first.md",
        "add it there or remove it",
    ),
    "front matter without question": (
        CHAPTER,
        "  question: What is a `mean`?\n",
        "",
        "---",
        "lacks course: question",
        "add it",
    ),
    "no title": (CHAPTER, "# First steps", "First steps", "---", "has no title", "start it with"),
}


@pytest.mark.parametrize("case", EDITS.values(), ids=EDITS.keys())
def test_a_fault_is_named_with_file_line_and_mend(course: Paths, case: tuple[str, ...]) -> None:
    name, old, new, where, wrong, mend = case
    edit(course, name, old, new)
    found = [text for text in messages(course) if wrong in text]
    assert found, f"not noticed; the faults are {messages(course)}"
    assert any(mend in text for text in found), found
    files = {name, CHAPTER, MODULE, HIDDEN}
    assert found[0].split(":")[0] in files
    if where:
        file = found[0].split(":")[0]
        last = where.split("\n")[-1]
        assert f":{line_of(file, last, course) - where.count(chr(10))}:" in found[0], found


def test_a_later_module_in_the_reference_module_is_refused(course: Paths) -> None:
    edit(course, MODULE, "import math", "import math\nfrom attention_from_scratch.second import twice")
    assert any(f"{MODULE}:4: this imports second" in text for text in messages(course))


def test_an_earlier_module_may_be_imported(course: Paths) -> None:
    assert "attention_from_scratch.first" in (course.root / SECOND_MODULE).read_text()
    assert messages(course, "02_second") == []


def test_all_faults_are_listed_at_once(course: Paths) -> None:
    edit(course, CHAPTER, "{cite:t}`someone2020`", "{cite:t}`nobody`")
    edit(course, CHAPTER, "{term}`key`", "{term}`nothing`")
    edit(course, HIDDEN, "points=3", "points=4")
    assert len(messages(course)) == 3


@pytest.mark.parametrize("missing", [MODULE, HIDDEN])
def test_a_missing_file_is_named(course: Paths, missing: str) -> None:
    (course.root / missing).unlink()
    assert any(text.startswith(f"{missing}:1:") and "missing; write" in text for text in messages(course))


def test_no_front_matter(course: Paths) -> None:
    (course.root / CHAPTER).write_text(FILES[CHAPTER].split("---\n", 2)[2])
    assert any("no front matter" in text for text in messages(course))
