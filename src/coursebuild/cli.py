"""The `course` command: every subcommand is a module of `coursebuild.commands`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from coursebuild.errors import CourseError

COMMANDS = (
    "list",
    "release",
    "build",
    "validate",
    "class_",
    "grade",
    "export",
    "bench",
    "lab",
    "make",
    "demo",
    "finetune",
)


def parser() -> argparse.ArgumentParser:
    """The command line; subcommands import what they need only when they run."""
    top = argparse.ArgumentParser(
        prog="course", description="Attention from Scratch: write, read, solve and grade the course."
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        try:
            module = importlib.import_module(f"coursebuild.commands.{name}")
        except ModuleNotFoundError as error:
            # a student's laptop may lack the instructors' package, and with it some commands
            if error.name not in (f"coursebuild.commands.{name}", "autograder"):
                raise
            continue
        module.register(subparsers)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; what goes wrong is said in one sentence, without a traceback."""
    try:
        parsed = parser().parse_args(arguments)
        code = parsed.run(parsed) or 0
        sys.stdout.flush()
        return int(code)
    except CourseError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return _say("Stopped; what was finished is kept.", 130)
    except BrokenPipeError:
        # the reader has gone (`course list | head`): nothing to say, and no traceback at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}{error.strerror or error}; nothing was left half written.", 2)


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
