"""Whether a chapter is whole: what would break a notebook, the grading or the book is refused before it is made."""

from __future__ import annotations

from collections import Counter

from coursebuild.chapter import Cell, Chapter, Exercise, Question, all_chapters
from coursebuild.errors import CourseError, Fault
from coursebuild.for_notebook import NotebookMarkdown
from coursebuild.hidden import hidden_points, written_questions
from coursebuild.module_source import defined_names, free_names, imported_modules, region_fault
from coursebuild.references import gather
from coursebuild.syntax import parse


def faults_of(chapter: Chapter) -> list[Fault]:
    """Everything that is wrong with a chapter, those faults first that its reading found."""
    check_identifiers(chapter)
    check_exercises(chapter)
    check_points(chapter)
    check_imports(chapter)
    if chapter.module is not None:
        check_regions(chapter)
        check_names(chapter)
    check_references(chapter)
    check_hidden(chapter)
    return sorted(set(chapter.faults))


def graded(chapter: Chapter) -> list[Exercise | Question]:
    """Everything that has points."""
    return [*chapter.exercises, *chapter.questions]


def check_identifiers(chapter: Chapter) -> None:
    """Ids are unique."""
    items = graded(chapter)
    counts = Counter(item.name for item in items)
    for item in items:
        if item.name and counts[item.name] > 1:
            chapter.fault(item.line, f"the name {item.name!r} is used {counts[item.name]} times; rename one")
    for role in ("exercise", "given"):
        cells = [cell for cell in chapter.cells if cell.role == role]
        counts = Counter(cell.target for cell in cells)
        for cell in cells:
            if counts[cell.target] > 1:
                chapter.fault(
                    cell.line, f"{counts[cell.target]} cells are :{role}: {cell.target}; remove all but one"
                )


def check_exercises(chapter: Chapter) -> None:
    """Each exercise has a directive, then a cell, then visible tests."""
    described = {exercise.name: exercise for exercise in chapter.exercises}
    places = {cell.target: index for index, cell in enumerate(chapter.cells) if cell.role == "exercise"}
    for exercise in chapter.exercises:
        option = f"{chapter.slug}.{exercise.name}"
        if exercise.name and exercise.name not in places:
            chapter.fault(
                exercise.line, f"the exercise {exercise.name!r} has no cell; add one with :exercise: {option}"
            )
    for name, index in places.items():
        cell, option = chapter.cells[index], f"{chapter.slug}.{name}"
        if name not in described:
            chapter.fault(
                cell.line, f"the cell of {name!r} has no exercise directive; write :::{{exercise}} above it"
            )
        elif described[name].line > cell.line:
            chapter.fault(
                described[name].line, f"the directive of {name!r} stands below its cell; move it above"
            )
        tests = [i for i, other in enumerate(chapter.cells) if other.role == "tests" and other.target == name]
        if not tests:
            chapter.fault(
                cell.line,
                f"the exercise {name!r} has no visible test; add a cell with :tests: {option} below it",
            )
        elif min(tests) < index:
            chapter.fault(
                chapter.cells[min(tests)].line, f"a test of {name!r} stands above its cell; move it below"
            )
    for cell in chapter.cells:
        if cell.role == "tests" and cell.target not in places:
            chapter.fault(
                cell.line,
                f"the tests of {cell.target!r} belong to no exercise; correct the name or add the exercise",
            )


def check_points(chapter: Chapter) -> None:
    """The points of exercises and questions add up to the chapter's."""
    total = sum(item.points for item in graded(chapter))
    if total != chapter.points:
        chapter.fault(
            1,
            f"the exercises and questions have {total:g} points but course: points: is {chapter.points:g}; "
            "make them agree",
        )


def check_imports(chapter: Chapter) -> None:
    """Nothing imports the chapter's own module or a later one: students do not have them."""
    order = [name[3:] for name in all_chapters(chapter.paths)]
    barred = set(order[order.index(chapter.slug) :]) if chapter.slug in order else {chapter.slug}
    for cell in chapter.cells:
        if cell.role == "markdown" or cell.role in ("exercise", "given"):
            continue
        try:
            found = imported_modules(python(cell.source))
        except SyntaxError as error:
            chapter.fault(
                cell.body_line + (error.lineno or 1) - 1,
                f"the code cell is not Python ({error.msg}); correct it",
            )
            continue
        for module, line in found.items():
            if module.split(".")[0] in barred:
                chapter.fault(cell.body_line + line - 1, _barred(chapter, module))
    if chapter.module is not None:
        for module, line in imported_modules(chapter.module.text).items():
            if module.split(".")[0] in barred and module.split(".")[0] != chapter.slug:
                chapter.fault(line, _barred(chapter, module), chapter.module_path)


def _barred(chapter: Chapter, module: str) -> str:
    if module.split(".")[0] == chapter.slug:
        return (
            f"this imports the chapter's own module {module}; its names are in the notebook already: use them, "
            "or show them in a :given: cell"
        )
    return f"this imports {module}, which belongs to a later chapter; import earlier chapters only"


def check_regions(chapter: Chapter) -> None:
    """What the cells name is defined, and what students write stands between markers."""
    module = chapter.module
    assert module is not None
    for cell in chapter.cells:
        if cell.role not in ("exercise", "given") or not cell.target:
            continue
        if cell.target not in module.spans:
            chapter.fault(
                cell.line,
                f"{module.path.name} defines no {cell.target!r}; write it there or correct the name",
            )
        elif cell.role == "exercise" and (fault := region_fault(module.source(cell.target))):
            chapter.fault(module.line(cell.target), f"{cell.target} {fault}", module.path)
        elif cell.role == "given" and not region_fault(module.source(cell.target)):
            chapter.fault(
                cell.line,
                f"{cell.target!r} is given but has a solution region; make it an exercise or remove the markers",
            )


def check_names(chapter: Chapter) -> None:
    """A solution uses only what set-up cells, earlier exercises and given code define."""
    module = chapter.module
    assert module is not None
    known: set[str] = set()
    for cell in chapter.cells:
        if cell.role == "setup":
            known |= _defined(cell)
        elif cell.role in ("exercise", "given") and cell.target in module.spans:
            for name in sorted(free_names(module.source(cell.target)) - known - {cell.target}):
                here = f"show it in a :given: {chapter.slug}.{name} cell"
                mend = here if name in module.spans else "import it in a set-up cell"
                chapter.fault(
                    cell.line, f"{cell.target} uses {name}, which the notebook does not have above it; {mend}"
                )
            known.add(cell.target)


def _defined(cell: Cell) -> set[str]:
    try:
        return defined_names(python(cell.source))
    except SyntaxError:
        return set()


def check_references(chapter: Chapter) -> None:
    """Every role is known and points at something."""
    renderer = NotebookMarkdown(chapter, gather(chapter.paths))
    for cell in chapter.cells:
        if cell.role == "markdown":
            renderer.render(cell.source, cell.line)
    for line, text in renderer.faults:
        chapter.fault(line, text)


def check_hidden(chapter: Chapter) -> None:
    """Every exercise has hidden tests worth its points; every question a model answer worth its own."""
    path = chapter.hidden_path
    try:
        points, questions = hidden_points(chapter), written_questions(chapter)
    except (CourseError, ValueError) as error:
        chapter.fault(1, str(error).removeprefix(f"{path} "), path)
        return
    for exercise in chapter.exercises:
        found = points.pop(exercise.name, None)
        if not found:
            chapter.fault(
                exercise.line, f"the exercise {exercise.name!r} has no hidden test; write one in {path.name}"
            )
        elif found != exercise.points:
            chapter.fault(
                exercise.line,
                f"the exercise {exercise.name!r} has {exercise.points:g} points but its hidden tests have {found:g}; "
                "make them agree",
            )
    for question in chapter.questions:
        answer = questions.pop(question.name, None)
        if answer is None:
            chapter.fault(
                question.line,
                f"the question {question.name!r} has no model answer; add a Question to {path.name}",
            )
        elif answer.points != question.points:
            chapter.fault(
                question.line,
                f"the question {question.name!r} has {question.points:g} points here and {answer.points:g} in "
                f"{path.name}; make them agree",
            )
    for name in [*points, *questions]:
        chapter.fault(
            1, f"{name!r} is graded but not in {chapter.path.name}; add it there or remove it", path
        )


def python(source: str) -> str:
    """A cell's source without IPython's magics, line for line."""
    lines = [
        line[: len(line) - len(line.lstrip())] + "pass" if line.lstrip().startswith(("%", "!")) else line
        for line in source.split("\n")
    ]
    text = "\n".join(lines)
    parse(text)
    return text
