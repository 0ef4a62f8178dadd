"""A progress line for people, and plain lines where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_of(label: str, total: int, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yields a function to call with the name of each thing that is done."""
    if quiet:
        yield lambda name: None
    elif not sys.stderr.isatty():
        started = time.monotonic()
        print(f"{label}: {total} …", file=sys.stderr, flush=True)
        yield lambda name: print(
            f"  {name} done after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True
        )
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda name: bar.update(task, advance=1, description=f"{label} ({name} done)")
