"""A model card from measurements: what a model is for, how good it is, and where it must not be trusted.

Every number in it comes from the report of `course bench audit`; no sentence is written that a number could refute.
Source: Mitchell et al. 2019 for the idea and the sections.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from attention_from_scratch.finetune_report import markdown_table, seed_interval


def over_seeds(values: list[float]) -> str:
    """The mean of a number over seeds with its 95 % interval, in words."""
    found = seed_interval(values)
    if found["low"] is None:
        return f"{found['mean']:.3f} (one seed: no interval)"
    return f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def forgotten(audit: dict[str, Any], way: str, task: int) -> list[float]:
    """For each seed, the score of a task (0 or 1) after the second was learned in this way."""
    return [run["forgetting"][way][1][task] for run in audit["runs"]]


Table = list[list[str]]


@dataclass(frozen=True)
class Card:
    """A page of headings (lines that begin with #), paragraphs and tables: Markdown as text, HTML in a notebook."""

    blocks: list[str | Table]

    def __str__(self) -> str:
        return "\n\n".join(
            block if isinstance(block, str) else markdown_table(block[0], block[1:]) for block in self.blocks
        )

    def _repr_html_(self) -> str:
        return '<div style="overflow-x: auto">' + "\n".join(map(_html, self.blocks)) + "</div>"


def model_card(audit: dict[str, Any]) -> Card:
    """The card of an audit: `str(card)` is what goes beside the weights."""
    return Card(
        [
            "# Model card", *_what(audit),
            "## How good", _scores(audit),
            "## What disturbs it", *_typos(audit),
            "## Whom it prefers", _gaps(audit),
            "## What it forgets", _forgetting(audit),
            "## What its attention shows", *_agreement(audit),
            "## Limits", _limits(audit), _made_by(audit),
        ]
    )  # fmt: skip


def _what(audit: dict[str, Any]) -> list[str]:
    s = audit["settings"]
    return [
        "**Model.** all-MiniLM-L6-v2 with a linear layer on the mean of its word vectors. The embeddings and the lower "
        f"{s['frozen_layers']} of 6 layers are as published, the rest was trained for {s['epochs']} epochs. "
        "**Use.** Is an English sentence for a film or against it? Made to be studied.",
        f"**Data.** {s['sizes']['train']} sentences of critics about films of 2002 and before, to learn from; "
        f"{s['sizes']['test']} about other films, to be judged on. {len(audit['runs'])} seeds, each trained anew. "
        "Intervals are 95 %, Student's t over the seeds.",
    ]


def _scores(audit: dict[str, Any]) -> Table:
    s = audit["settings"]
    rows = [["judged on", "accuracy", "macro-F1"]]
    for name, key in (
        ("film reviews", "test"),
        (f"the same, one in {s['rare']} rotten", "unbalanced"),
        (f"{s['shifted']} sentences about other things", "shifted"),
    ):
        values = [[run[key][score] for run in audit["runs"]] for score in ("accuracy", "macro_f1")]
        rows.append([name, *map(over_seeds, values)])
    return rows


def _typos(audit: dict[str, Any]) -> list[str | Table]:
    s = audit["settings"]
    rows = [["letters hit", "macro-F1", "lost"]]
    for rate in map(str, s["typo_rates"]):
        found = [run["typos"][rate]["macro_f1"] for run in audit["runs"]]
        lost = [one["clean"] - one["mean"] for one in found]
        rows.append([f"{float(rate):.0%}", over_seeds([one["mean"] for one in found]), over_seeds(lost)])
    heading = f"Typing mistakes in {s['noisy']} test sentences, {len(s['noise_seeds'])} seeds of noise for each model."
    return [heading, rows]


def _gaps(audit: dict[str, Any]) -> Table:
    rows = [
        [
            "probability of “fresh”, first minus second",
            "mean difference",
            "mean size",
            "models that prefer the first",
        ]
    ]
    for name in audit["runs"][0]["gaps"]:
        found = [run["gaps"][name] for run in audit["runs"]]
        means = [one["mean"] for one in found]
        sizes = over_seeds([one["size"] for one in found])
        rows.append([name, over_seeds(means), sizes, f"{sum(mean > 0 for mean in means)} of {len(means)}"])
    return rows


def _forgetting(audit: dict[str, Any]) -> Table:
    rows = [["learned after it: review or plot?", "film reviews, macro-F1", "the new task, macro-F1"]]
    before = [run["forgetting"]["nothing"][0][0] for run in audit["runs"]]
    rows.append(["before", over_seeds(before), "–"])
    for way in audit["runs"][0]["forgetting"]:
        rows.append([f"after, with {way}", *(over_seeds(forgotten(audit, way, task)) for task in (0, 1))])
    return rows


def _agreement(audit: dict[str, Any]) -> list[str | Table]:
    rows = [["order of the words, against deleting them", "Kendall's τ"]]
    for name in audit["runs"][0]["agreement"]:
        rows.append([name, over_seeds([run["agreement"][name]["mean"] for run in audit["runs"]])])
    return [rows, "A map is no reason: do not show one to a person as the cause of an answer."]


def _limits(audit: dict[str, Any]) -> str:
    return (
        "Not tested: other languages, longer texts, irony, names and groups other than those above, people who want to "
        "mislead it. A small mean difference between two groups of names says nothing of a third, nor of texts unlike "
        "the templates. The sentences about other things are few and were written by us. Do not use it to decide "
        "anything about a person."
    )


def _made_by(audit: dict[str, Any]) -> str:
    environment = audit["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    minutes = ", ".join(f"{run['cpu_seconds'] / 60:.0f}" for run in audit["runs"])
    return (
        f"*Made by `{audit['command']}`, {environment['time']}: {environment['machine']['processor']}, "
        f"{environment['threads']} thread, {versions}. CPU minutes a seed: {minutes}.*"
    )


def _html(block: str | Table) -> str:
    if isinstance(block, str):
        marks = len(block) - len(block.lstrip("#"))
        words = html.escape(block.lstrip("# "))
        for mark, tag in ((r"\*\*", "strong"), ("`", "code"), (r"\*", "em")):
            words = re.sub(rf"{mark}(.+?){mark}", rf"<{tag}>\1</{tag}>", words)
        return f"<p><strong>{words}</strong></p>" if marks else f"<p>{words}</p>"
    cells = [[html.escape(cell) for cell in row] for row in block]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in cells[0])
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
        for row in cells[1:]
    )
    return f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
