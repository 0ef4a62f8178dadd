"""`course bench methods`: the choice of a learning rate, the table, going on where it stopped. No model is trained."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from attention_from_scratch.finetune_settings import Settings
from attention_from_scratch.measuring import can_measure_process
from coursebuild.benchmarks import methods, methods_cell
from coursebuild.errors import CourseError

Orders = list[dict[str, Any]]


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> Orders:
    """What the cells' processes were told; each answers with made-up numbers."""
    told: Orders = []

    class Process:
        """The process that forks for every cell."""

        def __init__(self, command: list[str], **_: Any) -> None:
            self.returncode = 0
            orders = json.loads(command[-1])
            told.extend(orders)
            self.stdout = iter(["a warning\n", *(json.dumps(answer(order)) + "\n" for order in orders)])

        def __enter__(self) -> Process:
            return self

        def __exit__(self, *_: object) -> None:
            return

    def answer(order: dict[str, Any]) -> dict[str, Any]:
        rate = order["settings"]["learning_rate"]
        cell: dict[str, Any] = {
            "parameters": 770, "gradient_bytes": 2**20, "optimizer_bytes": 2**21, "train_cpu_seconds": 1.5,
        }  # fmt: skip
        if order["search"]:
            cell |= {"validation_macro_f1": 1 - abs(rate - 1e-2)}
        else:
            cell |= {"file_bytes": 2**19, "test": {"macro_f1": 0.5 + order["settings"]["seed"] / 10}}
        return cell

    monkeypatch.setattr(subprocess, "Popen", Process)
    return told


def test_every_method_is_searched_then_run_with_every_seed(orders: Orders, tmp_path: Path) -> None:
    file = tmp_path / "methods.json"
    methods.run(file, reviews=100, epochs=2, seeds=3)
    searched = [order for order in orders if order["search"]]
    assert len(searched) == sum(map(len, methods.RATES.values()))
    assert all(order["settings"]["limit"] == 100 and order["settings"]["epochs"] == 1 for order in searched)
    cells = [order["settings"] for order in orders if not order["search"]]
    assert [(cell["seed"], cell["method"]) for cell in cells] == [
        (s, m) for s in range(3) for m in methods.RATES
    ]
    rates = {cell["method"]: cell["learning_rate"] for cell in cells}
    assert rates == {
        "full": 3e-4, "head": 1e-2, "adapter": 1e-2, "prefix": 1e-2, "lora": 1e-2, "adalora": 1e-2
    }  # fmt: skip
    assert {order["settings"]["method"] for order in orders if order["ranks"]} == {"full"}
    stored = json.loads(file.read_text())
    assert len(stored["cells"]) == 18
    assert "test" not in stored["search"][0]


def test_what_is_done_is_not_done_again(orders: Orders, tmp_path: Path) -> None:
    file = tmp_path / "methods.json"
    methods.run(file, reviews=100, epochs=2, seeds=1)
    before = len(orders)
    methods.run(file, reviews=100, epochs=2, seeds=1)
    assert len(orders) == before
    methods.run(file, reviews=100, epochs=2, seeds=2)
    assert len(orders) == before + len(methods.RATES)
    with pytest.raises(CourseError, match="other settings"):
        methods.run(file, reviews=200, epochs=2, seeds=1)


def test_the_table_has_a_line_for_each_method(
    orders: Orders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods.run(tmp_path / "methods.json", reviews=100, epochs=1, seeds=3)
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.split()[0] in methods.RATES]
    assert [line.split()[0] for line in lines] == list(methods.RATES)
    assert all("0.600  (0.500, 0.600, 0.700)" in line and "3.00 MiB" in line for line in lines)


def test_a_failed_cell_keeps_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """A real process this time: its first cell asks for data that is not there."""
    file = tmp_path / "methods.json"
    settings = methods._settings(10, 1)
    monkeypatch.setattr(methods, "_settings", lambda *_: settings | {"data": "nothing"})
    with pytest.raises(CourseError, match="a cell of search failed"):
        methods.run(file)
    assert "--data nothing is neither" in capfd.readouterr().err
    with pytest.raises(CourseError, match="--json"):
        methods.run(None)


TINY = {
    "data": "toy.csv",
    "model": "tiny",
    "limit": 60,
    "limit_scored": 20,
    "max_length": 12,
    "learning_rate": 1e-2,
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of a cell on a tiny model and a file of 120 short texts."""
    draw = random.Random(0)
    rows = [
        (f"a {draw.choice(words)} film, number {i}", label)
        for i in range(60)
        for label, words in WORDS.items()
    ]
    lines = "\n".join(f'"{text}",{label}' for text, label in rows)
    (tmp_path / "toy.csv").write_text(f"text,label\n{lines}\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return methods._settings(60, 2) | TINY


WORDS = {"for": ["good", "fine", "great"], "against": ["bad", "poor", "awful"]}


@pytest.mark.parametrize("method", methods.RATES)
def test_a_cell_measures_what_the_table_shows(method: str, toy: dict[str, Any]) -> None:
    settings = Settings(**(toy | {"method": method}))
    result = methods_cell.cell(settings, is_search=False, with_memory=True, with_ranks=method == "full")
    assert result["steps"] == 2 * 4
    assert result["gradient_bytes"] == 4 * result["parameters"]
    # AdamW: two running means a number, and a count of steps for each tensor
    assert 0 < result["optimizer_bytes"] - 2 * result["gradient_bytes"] <= 4 * 200
    assert result["file_bytes"] > result["gradient_bytes"]
    assert 0 <= result["test"]["low"] <= result["test"]["macro_f1"] <= result["test"]["high"] <= 1
    if can_measure_process():
        assert result["memory"]["tokens_of_a_step"] == [16, 8]
        assert result["memory"]["weight_bytes"] > 0
    else:
        assert "why_not" in result["memory"]
    assert ("kept" in result) == (method == "adalora")
    if method == "full":
        ranks = result["ranks"]
        assert ranks["share_of_the_squares"][0] == 0
        assert ranks["share_of_the_squares"][-1] == pytest.approx(1)
        assert ranks["share_of_the_squares"] == sorted(ranks["share_of_the_squares"])
        assert all(0 <= score <= 1 for score in ranks["validation_macro_f1"])


def test_a_cell_of_the_search_does_not_look_at_the_test_set(
    toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods_cell, "_test", lambda *_: pytest.fail("the test set was looked at"))
    settings = Settings(**(toy | {"method": "lora", "epochs": 1}))
    result = methods_cell.cell(settings, is_search=True, with_memory=False, with_ranks=False)
    assert "test" not in result
    assert 0 <= result["validation_macro_f1"] <= 1
