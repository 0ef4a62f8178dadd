"""The kill matrix as instructors see it: printed by `course list`, kept until something changes."""

from __future__ import annotations

import pytest

from coursebuild import cli, kill_matrix
from coursebuild.kill_matrix import Matrix

CHAPTER = "01_soft_lookup"


def test_the_matrix_names_every_solution_and_the_test_that_catches_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from autograder.variants.base import variants_of

    assert cli.main(["list", CHAPTER, "--kill-matrix"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    for variant in variants_of(CHAPTER[3:]):
        row = next(row for row in rows if row.startswith(f"| {variant.exercise} | {variant.name} |"))
        assert row.endswith(" — |") if variant.is_right else f"**{variant.caught_by}**" in row


def test_what_was_tried_is_kept() -> None:
    said: list[str] = []
    kill_matrix.matrices([CHAPTER], lambda text: None)
    page = kill_matrix.page([CHAPTER], said.append)
    assert "# What the hidden tests catch" in page
    assert not said
    table = page.partition("### softmax\n")[2].partition("###")[0]
    assert "| no_shift |" in table
    assert "| nearest" not in table


def test_a_test_with_a_fault_is_named_and_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = "softmax.sums is wrong and survived every test"
    monkeypatch.setattr(kill_matrix, "matrices", lambda names, say: [Matrix(CHAPTER, "| a |\n", [fault])])
    assert cli.main(["list", "--kill-matrix"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "| a |\n"
    assert fault in printed.err
