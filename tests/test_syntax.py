"""Several threads of the judge read the sources of several students at a time."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coursebuild.syntax import parse


@pytest.fixture
def eager_collector() -> Iterator[None]:
    """A garbage collector that often calls Python code: the moment at which another thread takes over."""
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()

    def look(phase: str, info: dict[str, int]) -> None:
        sum(range(50))

    gc.set_threshold(200, 2, 2)
    gc.callbacks.append(look)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    gc.callbacks.remove(look)
    gc.set_threshold(*threshold)


def test_threads_read_sources_at_the_same_time(eager_collector: None) -> None:
    """CPython 3.11's parser raises SystemError there, unless one thread waits for the other."""
    text = Path(__file__).read_text("utf-8").replace("from __future__ import annotations", "")
    source = "\n\n".join([text] * 5)
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(25):
                parse(source)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
