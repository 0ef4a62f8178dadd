"""`course finetune` as its user meets it: bad data refused, runs killed and resumed, processes that share, a report."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from attention_from_scratch import finetune_excerpt
from attention_from_scratch.finetune_checkpoint import CHECKPOINT
from attention_from_scratch.finetune_data import PARTS, load_splits
from attention_from_scratch.finetune_distributed import World
from attention_from_scratch.finetune_experiment import fine_tune
from attention_from_scratch.finetune_report import seed_interval
from attention_from_scratch.finetune_run import load_run
from attention_from_scratch.finetune_settings import FineTuneError, Settings
from attention_from_scratch.finetune_steps import plan
from attention_from_scratch.finetune_watch import Screen, Watch
from coursebuild.cli import main

Row = tuple[str, ...]
ALONE = World(0, 1, torch.device("cpu"))


def toy_rows(count: int) -> list[Row]:
    """Different short texts; a word of praise or of blame among others decides the label."""
    draw = random.Random(5)
    good, bad, other = (
        "good great fine warm",
        "bad poor dull cold",
        "film the plot actor scene music end of and",
    )
    rows = []
    for number in range(count):
        label = number % 2
        words = draw.choices((good if label else bad).split(), k=2) + draw.choices(
            other.split(), k=draw.randint(3, 9)
        )
        draw.shuffle(words)
        rows.append((f"{' '.join(words)} {number}", "fresh" if label else "rotten"))
    return rows


def write_csv(path: Path, rows: list[Row], header: Row = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums over two threads are rounded otherwise, and the processes that these tests start have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "toy.csv", toy_rows(150))


def settings_for(data: Path, **changed: Any) -> Settings:
    asked: dict[str, Any] = {
        "data": str(data), "model": "tiny", "method": "full", "seed": 0, "split_seed": 13, "epochs": 3, "batch": 16,
        "parts": 2, "learning_rate": 0.01, "random_learning_rate": 0.01, "weight_decay": 0.01, "warmup": 0.1,
        "max_norm": 1.0, "dropout": 0.1, "max_length": 32, "patience": 3, "limit": None, "limit_scored": None,
        "freeze_embeddings": False, "drop_duplicates": False, "precision": "fp32",
    }  # fmt: skip
    return Settings(**asked | changed)


def go(
    settings: Settings, folder: Path, watch: Watch | None = None, every: int = 4, seeds: Any = (0,)
) -> dict[str, Any]:
    return fine_tune(settings, list(seeds), folder, ALONE, watch or Watch(), every, [], "course finetune …")


class Stopper(Watch):
    """Pulls the plug after some steps of this process."""

    def __init__(self, after: int) -> None:
        self.left = after

    def step(self, step: int, loss: float, rate: float) -> None:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


def run_json(folder: Path, seed: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"seed-{seed}" / "run.json").read_text(encoding="utf-8"))
    return found


def same_run(one: Path, other: Path, seed: int = 0) -> None:
    """The same losses and the same weights, bit for bit."""
    first, second = run_json(one, seed), run_json(other, seed)
    assert first["losses"] == second["losses"]
    assert first["test"] == second["test"]
    weights, again = (load_file(folder / f"seed-{seed}" / "best.safetensors") for folder in (one, other))
    assert weights.keys() == again.keys()
    for name, value in weights.items():
        assert torch.equal(value, again[name]), name


@pytest.fixture(scope="module")
def whole(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    go(settings_for(toy), folder)
    return folder


# -- resuming


@pytest.mark.parametrize("stops", [[1], [4], [7, 2], [3, 3, 3, 3], [20]])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    toy: Path, whole: Path, tmp_path: Path, stops: list[int]
) -> None:
    folder = tmp_path / "run"
    for after in stops:
        with pytest.raises(KeyboardInterrupt):
            go(settings_for(toy), folder, Stopper(after), every=3)
        assert not (folder / "seed-0" / "run.json").exists()
    torch.manual_seed(12345)  # whatever torch's stream holds by then
    go(settings_for(toy), folder)
    same_run(whole, folder)
    assert not (folder / "seed-0" / CHECKPOINT).exists()


def test_a_run_that_was_killed_goes_on_bit_for_bit(toy: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_finetune_run as t; from pathlib import Path\n"
        "t.go(t.settings_for(Path(sys.argv[2])), Path(sys.argv[3]), every=1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(toy), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    checkpoint = folder / "seed-0" / CHECKPOINT
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists() or (folder / "seed-0" / "run.json").exists()
    go(settings_for(toy), folder)
    same_run(whole, folder)


def test_a_finished_run_is_not_touched_again(toy: Path, whole: Path) -> None:
    before = (whole / "seed-0" / "run.json").read_bytes()
    go(settings_for(toy), whole, Stopper(1))  # not a single step
    assert (whole / "seed-0" / "run.json").read_bytes() == before


def test_another_seed_is_another_run_and_may_be_added(toy: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(settings_for(toy), folder)
    summary = go(settings_for(toy), folder, seeds=(0, 1))
    same_run(whole, folder)
    assert run_json(folder, 0)["losses"] != run_json(folder, 1)["losses"]
    assert summary["seeds"] == [0, 1]


def test_other_settings_or_data_are_refused_in_the_same_folder(
    toy: Path, whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(FineTuneError, match="epochs was 3 and is 2"):
        go(settings_for(toy, epochs=2), whole)
    with pytest.raises(FineTuneError, match="data_sha256"):
        go(settings_for(write_csv(toy.parent / "toy.csv", toy_rows(151))), whole)
    write_csv(toy, toy_rows(150))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FineTuneError, match="not empty"):
        go(settings_for(toy), tmp_path)


def test_a_damaged_checkpoint_is_named(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(settings_for(toy), tmp_path / "run", Stopper(5), every=2)
    (tmp_path / "run" / "seed-0" / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(FineTuneError, match=r"checkpoint\.pt is damaged"):
        go(settings_for(toy), tmp_path / "run")


# -- the run itself


def test_early_stopping_keeps_the_best_epoch(toy: Path, tmp_path: Path) -> None:
    go(settings_for(toy, epochs=12, patience=1, learning_rate=0.05), tmp_path / "run")
    record = run_json(tmp_path / "run")
    scores = [epoch["validation"]["macro_f1"] for epoch in record["epochs"]]
    assert record["stopped_early"], scores
    assert len(scores) == record["best_epoch"] + 2, scores
    assert scores[record["best_epoch"]] == max(scores) == record["best_validation"]


def test_a_step_has_equal_parts_and_an_epoch_every_example(toy: Path) -> None:
    settings = settings_for(toy, batch=12, parts=3)
    lengths = [3 + i % 7 for i in range(100)]
    steps = plan(lengths, settings, epoch=0)
    for step in steps:
        assert len({len(part) for part in step}) == 1
    used = [i for step in steps for part in step for i in part]
    assert len(set(used)) == len(used) >= 100 - 2
    assert plan(lengths, settings, 0) == steps
    assert plan(lengths, settings, 1) != steps
    assert plan(lengths, replace(settings, seed=1), 0) != steps


def test_accumulating_parts_is_the_same_as_one_batch(toy: Path, tmp_path: Path) -> None:
    losses = []
    for parts in (1, 2, 4):
        go(settings_for(toy, dropout=0.0, parts=parts, epochs=1, limit=96), tmp_path / str(parts))
        losses.append(torch.tensor(run_json(tmp_path / str(parts))["losses"]))
    for other in losses[1:]:  # float32, sums of 16 losses in another order, over six steps of AdamW
        torch.testing.assert_close(losses[0], other, rtol=0, atol=2e-4)


@pytest.mark.parametrize("method", ["full", "head"])
def test_a_method_trains_what_it_says_and_opens_again(toy: Path, tmp_path: Path, method: str) -> None:
    go(settings_for(toy, method=method, epochs=1), tmp_path / "run")
    model, stored = load_run(tmp_path / "run")
    assert not model.training
    assert stored["labels"] == ["fresh", "rotten"]
    assert stored["trained_parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (stored["trained_parameters"] == stored["parameters"]) == (method == "full")
    weights = load_file(tmp_path / "run" / "seed-0" / "best.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])


def test_a_run_begins_from_the_folder_of_another(toy: Path, whole: Path, tmp_path: Path) -> None:
    go(settings_for(toy, model=str(whole / "seed-0"), method="head", epochs=1), tmp_path / "run")
    old, new = (load_file(path / "seed-0" / "best.safetensors") for path in (whole, tmp_path / "run"))
    for name, value in old.items():
        assert torch.equal(value, new[name]) == (not name.startswith("head.")), name


def test_load_run_wants_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(FineTuneError, match="no finished run"):
        load_run(tmp_path)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(toy: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_finetune_run as t; from pathlib import Path\n"
        "from attention_from_scratch.finetune_distributed import world\n"
        "with world('cpu') as here:\n"
        "    t.fine_tune(t.settings_for(Path(sys.argv[2])), [0], Path(sys.argv[3]), here, t.Watch(), 4, [], '')\n"
    )
    script = tmp_path / "two.py"
    script.write_text(code)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
    ]
    done = subprocess.run(
        [*command, str(Path(__file__).parent), str(toy), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    shared, alone = run_json(folder), run_json(whole)
    assert shared["processes"] == 2
    # the same batches with the same dropout, float32 sums in another order
    torch.testing.assert_close(
        torch.tensor(shared["losses"]), torch.tensor(alone["losses"]), rtol=0, atol=1e-5
    )
    assert shared["test"]["confusion"] == alone["test"]["confusion"]


def test_more_processes_than_parts_are_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(FineTuneError, match="--parts 3"):
        fine_tune(
            settings_for(toy), [0], tmp_path / "run", World(0, 3, torch.device("cpu")), Watch(), 4, [], ""
        )


# -- the report


def test_the_report_says_what_it_must(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = go(settings_for(toy), folder, seeds=(0, 1, 2))
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == summary
    text = (folder / "report.md").read_text(encoding="utf-8")
    for expected in ("majority class", "TF-IDF", "Confusion", "surest of", "fresh", "toy.csv", "torch"):
        assert expected in text
    scores = [run_json(folder, seed)["test"]["macro_f1"] for seed in (0, 1, 2)]
    assert summary["result"]["macro_f1"]["values"] == scores
    assert summary["result"]["macro_f1"] == seed_interval(scores)
    assert sum(map(sum, summary["confusion"])) == sum(summary["data"]["counts"]["test"].values())
    probabilities = [error["probability"] for error in summary["worst"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(error["said"] != error["truth"] for error in summary["worst"])


def test_what_is_published_of_a_report_quotes_nobody(whole: Path, tmp_path: Path) -> None:
    summary = json.loads((whole / "report.json").read_text("utf-8"))
    assert finetune_excerpt.main([str(whole), str(tmp_path / "excerpt.json")]) == 0
    text = (tmp_path / "excerpt.json").read_text("utf-8")
    assert summary["worst"], "there is something to leave out"
    assert not [error["text"] for error in summary["worst"] if error["text"] in text]
    kept = json.loads(text)
    assert kept["settings"] == summary["settings"]
    assert kept["result"]["macro_f1"]["mean"] == pytest.approx(
        summary["result"]["macro_f1"]["mean"], abs=1e-5
    )
    made = finetune_excerpt.excerpt({"command": "course finetune --output /data/my/toy --epochs 2"})
    assert made["command"] == "course finetune --output runs/toy --epochs 2"


def test_there_is_no_excerpt_of_a_run_that_has_not_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune_excerpt.main([str(tmp_path), str(tmp_path / "excerpt.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "excerpt.json").exists()


def test_the_interval_over_seeds_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    for values in ([0.7, 0.8], [0.71, 0.75, 0.74], [0.5, 0.6, 0.55, 0.58, 0.61]):
        got = seed_interval(values)
        low, high = stats.t.interval(0.95, len(values) - 1, loc=got["mean"], scale=stats.sem(values))
        assert got["low"] == pytest.approx(low, abs=1e-4)  # the table of quantiles has three decimals
        assert got["high"] == pytest.approx(high, abs=1e-4)
    assert seed_interval([0.7])["low"] is None


def test_random_weights_are_trained_beside_the_run(toy: Path, whole: Path, tmp_path: Path) -> None:
    settings = settings_for(toy, model=str(whole / "seed-0"), method="head", epochs=1)
    summary = fine_tune(settings, [0], tmp_path / "run", ALONE, Watch(), 4, [0], "")
    assert summary["random_weights"]["macro_f1"]["values"]
    random_run = json.loads((tmp_path / "run" / "random-seed-0" / "run.json").read_text(encoding="utf-8"))
    assert random_run["from_random"]
    assert random_run["trained_parameters"] == random_run["parameters"]
    assert random_run["architecture"] == run_json(tmp_path / "run")["architecture"]


# -- data


def splits_of(path: Path, drop: bool = False) -> Any:
    return load_splits(str(path), 13, None, None, drop)


NAMED: tuple[Row, ...] = (
    ("one", "a", "train"), ("two", "b", "train"), ("three", "a", "validation"), ("four", "b", "validation"),
    ("five", "a", "test"), ("six", "b", "test"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ([("  ", "a", "train")], "no text stands in line 8"),
        ([("seven", "", "train")], "no label stands in line 8"),
        ([("seven", "c", "test")], "'c'.*not among those of training: a, b"),
        ([("seven", "a", "dev")], "line 8 is none of train, validation, test"),
        ([("ONE ", "a", "test")], "1 texts of train stand in a later part too.*--drop-duplicates"),
        ([("Three", "a", "test")], "1 texts of validation stand in a later part"),
    ],
)
def test_bad_data_is_refused_with_its_place(tmp_path: Path, more: list[Row], complaint: str) -> None:
    path = write_csv(tmp_path / "bad.csv", [*NAMED, *more], ("text", "label", "split"))
    with pytest.raises(FineTuneError, match=complaint):
        splits_of(path)


def test_one_class_and_empty_parts_are_refused(tmp_path: Path) -> None:
    header = ("text", "label", "split")
    one_class = [(text, "a", part) for text, _, part in NAMED]
    with pytest.raises(FineTuneError, match="nothing to tell apart"):
        splits_of(write_csv(tmp_path / "one.csv", one_class, header))
    with pytest.raises(FineTuneError, match="no text in test"):
        splits_of(write_csv(tmp_path / "part.csv", list(NAMED[:4]), header))


def test_duplicates_are_reported_and_leave_the_earlier_part(tmp_path: Path) -> None:
    more = [
        ("ONE", "a", "test"),
        ("two", "b", "train"),
        ("hm", "a", "train"),
        ("HM", "b", "train"),
        ("eight", "a", "train"),
    ]
    splits = splits_of(write_csv(tmp_path / "d.csv", [*NAMED, *more], ("text", "label", "split")), drop=True)
    assert [e.text for e in splits.parts["train"]] == ["two", "eight"]
    assert [e.text for e in splits.parts["test"]] == ["five", "six", "ONE"]
    said = " ".join(splits.notes)
    assert "repeated texts in train" in said
    assert "two labels" in said
    assert "stood in a later part too" in said


def test_a_file_without_splits_is_cut_apart_and_repeats_go_first(tmp_path: Path) -> None:
    rows = toy_rows(100)
    again = [(text.upper(), label) for text, label in rows[:30]]
    splits = splits_of(write_csv(tmp_path / "f.csv", rows + again))
    texts = [{e.text.lower() for e in splits.parts[part]} for part in PARTS]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 100
    assert [len(part) for part in texts] == [70, 10, 20]
    assert any("30 repeated texts" in note for note in splits.notes)


def test_jsonl_is_read_like_csv(tmp_path: Path) -> None:
    rows = toy_rows(60)
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    (tmp_path / "f.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    same = splits_of(write_csv(tmp_path / "f.csv", rows))
    assert [e.text for e in splits_of(tmp_path / "f.jsonl").parts["test"]] == [
        e.text for e in same.parts["test"]
    ]
    for broken, complaint in [
        ('{"text": "a"', "line 61 is not JSON"),
        ('["a", "b"]', "line 61 is no JSON object"),
        ('{"text": 3, "label": "a"}', "line 61 has no string under the key 'text'"),
        ('{"text": "a"}', "line 61 has no string or whole number under the key 'label'"),
    ]:
        (tmp_path / "b.jsonl").write_text("\n".join([*lines, broken]), encoding="utf-8")
        with pytest.raises(FineTuneError, match=complaint):
            splits_of(tmp_path / "b.jsonl")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"words,label\na,b\n", "no column 'text'"),
        (b"text,label\na,b,c\n", "line 2 has not as many fields"),
        (b"text,label\n", "holds no rows"),
        (b"text,label\n\xff\xfe,b\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(FineTuneError, match=complaint):
        splits_of(path)


# -- the command


def test_the_command_trains_and_prints_the_table(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "finetune",
        "--data",
        str(toy),
        "--model",
        "tiny",
        "--output",
        str(tmp_path / "run"),
        "--seeds",
        "3",
    ]
    assert main([*arguments, "--epochs", "1", "--learning-rate", "0.01"]) == 0
    said = capsys.readouterr()
    assert "majority class" in said.out
    assert "epoch 1" in said.err
    assert (tmp_path / "run" / "report.md").is_file()
    assert list((tmp_path / "run" / "seed-3" / "tensorboard").glob("events*"))


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--method", "guess"], "there is no method 'guess'"),
        (["--model", "gpt9"], "--model gpt9 is neither"),
        (["--data", "nothing.csv"], "nothing.csv cannot be read: No such file"),
        (["--data", "imdb"], "--data imdb is neither a built-in set"),
        (["--seeds", "0,0"], "name every seed once"),
        (["--seeds", "x"], "no list of whole numbers"),
        (["--batch", "7"], "cannot be cut into 2 equal parts"),
        (["--epochs", "0"], "epochs is 0"),
        (["--learning-rate", "5"], "learning_rate is 5.0"),
        (["--precision", "bf16"], "needs a GPU"),
        (["--threads", "0"], "--threads is 0"),
        (["--random-seeds", "0"], "--skip-random"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], complaint: str
) -> None:
    arguments = ["finetune", "--data", str(toy), "--model", "tiny", "--output", str(tmp_path / "run"), *more]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_ctrl_c_keeps_what_is_done(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "stopped", tmp_path / "whole"]
    arguments = ["finetune", "--data", str(toy), "--model", "tiny", "--seeds", "0", "--epochs", "2"]
    arguments += ["--learning-rate", "0.01", "--checkpoint-every", "2", "--output"]
    plain = Screen.step

    def step(self: Screen, number: int, loss: float, rate: float) -> None:
        plain(self, number, loss, rate)
        if number == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Screen, "step", step)
        assert main([*arguments, str(folders[0])]) == 130
    assert "what was finished is kept" in capsys.readouterr().err
    assert (folders[0] / "seed-0" / CHECKPOINT).exists()
    assert main([*arguments, str(folders[0])]) == 0
    assert "goes on after step 4" in capsys.readouterr().err
    assert main([*arguments, str(folders[1])]) == 0
    same_run(*folders)
