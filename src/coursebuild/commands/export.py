"""`course export`: grades for a learning management system."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("export", help="write the grades for a spreadsheet, Canvas or Moodle")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--format", required=True, choices=["csv", "canvas", "moodle"])
    parser.add_argument("--output", type=Path, metavar="FILE", help="stdout, when not given")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    from autograder.quick import skip_slow_imports

    skip_slow_imports()
    from attention_from_scratch.whole_files import write_whole
    from autograder.classroom import open_class
    from autograder.export import export
    from coursebuild.errors import CourseError

    text, warning = export(open_class(arguments.directory), arguments.format)
    if warning:
        print(warning, file=sys.stderr)
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    try:
        if not arguments.output.absolute().parent.is_dir():
            raise CourseError(f"there is no directory {arguments.output.parent}")
        write_whole(arguments.output.absolute(), text)
    except OSError as error:
        raise CourseError(f"{arguments.output} cannot be written ({error.strerror})") from error
    print(f"Wrote {arguments.output}")
    return 0
