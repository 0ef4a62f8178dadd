"""The hidden tests under plain nbgrader: a word on stderr costs honest work nothing."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any

import pytest

from attention_from_scratch import multi_head
from autograder.plain import grade
from autograder.testing import exercises_of, load


class KernelStream:
    """A stream like the kernel's: a Python object that loggers keep hold of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def write(self, text: str) -> int:
        self.said.append(text)
        return len(text)

    def flush(self) -> None:
        """Nothing to do."""


def noisy(stream: Any, log: logging.Logger) -> Any:
    def split_heads(x: Any, heads: int) -> Any:
        warnings.warn("this is slow", stacklevel=1)
        print("on stderr", file=sys.stderr)
        stream.write("through the stream")
        log.warning("through a logger")
        os.write(2, b"through the descriptor")
        return multi_head.split_heads(x, heads)

    return split_heads


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> KernelStream:
    made = KernelStream()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def test_what_honest_work_says_on_stderr_costs_nothing(
    stream: KernelStream, capfd: pytest.CaptureFixture[str]
) -> None:
    log = logging.Logger("student")
    log.addHandler(logging.StreamHandler(stream))
    points = exercises_of(load("multi_head"))["split_heads"].points
    sys.stderr = stream  # capfd put its own in place
    assert grade("multi_head.split_heads", {"split_heads": noisy(stream, log)}) == points
    assert stream.said == []
    assert capfd.readouterr().err == ""


def test_stderr_is_as_it_was_afterwards(stream: KernelStream, capfd: pytest.CaptureFixture[str]) -> None:
    sys.stderr = stream
    assert grade("multi_head.split_heads", {"split_heads": "no function"}) == 0
    assert sys.stderr is stream
    print("after", file=sys.stderr)
    os.write(2, b"after")
    assert stream.said == ["after", "\n"]
    assert capfd.readouterr().err == "after"


def test_the_same_work_gets_the_same_points_every_time() -> None:
    """A solution that is right or wrong by the shapes that it happens to be given."""
    seen: list[list[tuple[int, ...]]] = []

    def split_heads(x: Any, heads: int) -> Any:
        seen[-1].append((*x.shape, heads))
        return multi_head.split_heads(x, heads)

    for _ in range(2):
        seen.append([])
        grade("multi_head.split_heads", {"split_heads": split_heads})
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 1
