"""`course list`: chapters, exercises, points; with `--kill-matrix`, what the hidden tests catch."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def register(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("list", help="chapters, exercises, points")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="just these chapters (all by default)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="for programs")
    kind.add_argument(
        "--kill-matrix", action="store_true",
        help="for instructors: the hidden tests against every named wrong and right solution, as Markdown",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    from coursebuild.chapter import all_chapters, full_name
    from coursebuild.errors import refuse
    from coursebuild.paths import REPOSITORY
    from coursebuild.reader import read_chapter

    names = [full_name(name) for name in arguments.chapters] or all_chapters()
    if arguments.kill_matrix:
        return print_kill_matrix(names)
    chapters = [read_chapter(name, REPOSITORY) for name in names]
    facts = [describe(chapter) for chapter in chapters]
    if arguments.json:
        print(json.dumps({"chapters": facts}, ensure_ascii=False, indent=2))
    else:
        print_table(facts)
    refuse(fault for chapter in chapters for fault in chapter.faults)
    return 0


def describe(chapter: Any) -> dict[str, Any]:
    """What a program may want to know of a chapter."""
    return {
        "chapter": chapter.name,
        "title": chapter.title,
        "part": chapter.part,
        "question": chapter.question,
        "minutes": chapter.minutes,
        "points": chapter.points,
        "exercises": [
            {
                "exercise": exercise.name,
                "title": exercise.title,
                "difficulty": exercise.difficulty,
                "minutes": exercise.minutes,
                "points": exercise.points,
            }
            for exercise in chapter.exercises
        ],
        "questions": [
            {"question": question.name, "title": question.title, "points": question.points}
            for question in chapter.questions
        ],
    }


def print_kill_matrix(names: list[str]) -> int:
    """The tables on the standard output, faults of the tests on the error output; 1 when there are any."""
    from coursebuild.kill_matrix import matrices

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    made = matrices(names, tell)
    print("\n".join(matrix.table for matrix in made), end="")
    faults = [fault for matrix in made for fault in matrix.faults]
    for fault in faults:
        tell(fault)
    return int(bool(faults))


def print_table(facts: list[dict[str, Any]]) -> None:
    """The list for people."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if not facts:
        console.print("There are no chapters yet.")
    for chapter in facts:
        console.print(f"[bold]{chapter['chapter']}[/bold]  {chapter['question']}", markup=True)
        console.print(f"  {chapter['points']:g} points, about {chapter['minutes']} minutes", markup=False)
        for item in chapter["exercises"]:
            dots = "●" * item["difficulty"] + "○" * (5 - item["difficulty"])
            console.print(f"  {dots}  {item['points']:4g}  {item['exercise']}: {item['title']}", markup=False)
        for item in chapter["questions"]:
            console.print(f"  written {item['points']:3g}  {item['question']}: {item['title']}", markup=False)
