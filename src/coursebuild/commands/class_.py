"""`course class`: make a class directory, and put chapters into it."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("class", help="make a class directory and release chapters into it")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="make an nbgrader course directory")
    init.add_argument("directory", type=Path, metavar="DIR")
    init.set_defaults(run=_init)
    release = actions.add_parser("release", help="put a chapter's student bundle into the class")
    release.add_argument("directory", type=Path, metavar="DIR")
    release.add_argument("chapter", metavar="CHAPTER")
    release.set_defaults(run=_release)
    sample = actions.add_parser("sample", help="make a class with generated students, to try everything out")
    sample.add_argument("directory", type=Path, metavar="DIR")
    sample.add_argument("chapters", nargs="*", metavar="CHAPTER")
    sample.set_defaults(run=_sample)


def _init(arguments: argparse.Namespace) -> int:
    _start()
    from autograder.class_setup import init_class

    room, made = init_class(arguments.directory)
    print(
        f"{room.root} is a class directory"
        + (f" (made {', '.join(made)})" if made else "; nothing was missing")
    )
    print(f"Next: course class release {arguments.directory} CHAPTER   (course list shows the chapters)")
    return 0


def _release(arguments: argparse.Namespace) -> int:
    _start()
    from autograder.class_setup import release_chapter
    from autograder.classroom import open_class
    from coursebuild.chapter import full_name

    room = open_class(arguments.directory)
    chapter = full_name(arguments.chapter)
    held = release_chapter(room, chapter)
    print(f"Released {chapter}: give {room.release(chapter).parent} ({len(held)} files) to the students")
    print(
        f"They hand in {room.submitted}/STUDENT/{chapter}/{chapter}.ipynb; then: "
        f"course grade {arguments.directory} {chapter}"
    )
    return 0


def _start() -> None:
    from autograder.quick import skip_slow_imports

    skip_slow_imports()


def _sample(arguments: argparse.Namespace) -> int:
    _start()
    from autograder.sample import make_sample
    from coursebuild.chapter import all_chapters, full_name

    chapters = [full_name(name) for name in arguments.chapters] or all_chapters()
    for chapter, students in make_sample(arguments.directory, chapters).items():
        print(f"{chapter}: {len(students)} submissions in {arguments.directory}/submitted")
    return 0
