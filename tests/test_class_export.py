"""Exports: the columns that each system imports, and no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io

import pytest

from autograder.export import Grades, as_canvas, as_csv, as_moodle, number, text, waiting

POINTS = {"01_soft_lookup": 20.0, "03_multi_head": 34.0}
PEOPLE = [
    Grades(
        "ada",
        "Ada",
        "Lovelace",
        "ada@example.org",
        "17",
        {"03_multi_head": 28.5},
        {"03_multi_head": True},
        {"03_multi_head": 1.5},
    ),
    Grades("=cmd|' /C calc'!A0", "@SUM(1)", "-1+1", "", "", {}, {}),
]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1+1"])
def test_no_text_is_a_formula(cell: str) -> None:
    assert text(cell) == "'" + cell


def test_canvas_has_its_five_columns_and_the_points_line() -> None:
    rows = as_canvas(POINTS, PEOPLE)
    assert rows[0] == [
        "Student",
        "ID",
        "SIS User ID",
        "SIS Login ID",
        "Section",
        "01_soft_lookup",
        "03_multi_head",
    ]
    assert rows[1][0].strip() == "Points Possible"
    assert rows[1][5:] == ["20", "34"]
    assert rows[2] == ["Lovelace, Ada", "17", "", "ada", "", "", "28.5"]


def test_moodle_can_map_by_username_number_or_address() -> None:
    rows = as_moodle(POINTS, PEOPLE)
    assert rows[0][:5] == ["Username", "First name", "Last name", "ID number", "Email address"]
    assert rows[1] == ["ada", "Ada", "Lovelace", "17", "ada@example.org", "", "28.5"]


def test_csv_says_what_waits_for_a_person() -> None:
    rows = as_csv(POINTS, PEOPLE)
    assert rows[0][-4:] == ["score", "max_score", "late_penalty", "waits_for_a_person"]
    assert rows[1][-4:] == ["28.5", "34", "1.5", "yes"]
    assert len(rows) == 2, "nothing handed in, no line"


@pytest.mark.parametrize("form", [as_canvas, as_moodle])
def test_names_from_outside_are_harmless(form: object) -> None:
    rows = form(POINTS, PEOPLE)  # type: ignore[operator]
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    read = list(csv.reader(io.StringIO(out.getvalue())))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in read[1:] for cell in row)


def test_scores_keep_their_fractions() -> None:
    assert [number(x) for x in (None, 0.0, 2.5, 1 / 3)] == ["", "0", "2.5", "0.3333333333"]


def test_what_waits_for_a_person_is_said() -> None:
    assert waiting(PEOPLE) == "Waiting for a person's points: 1 in all, ada (03_multi_head)"
    assert waiting(PEOPLE[1:]) == ""
