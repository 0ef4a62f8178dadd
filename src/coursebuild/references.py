"""What a chapter can refer to: citations, glossary terms, labels, chapters and equations."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from coursebuild.paths import Paths

ENTRY = re.compile(r"^@(?!comment|string|preamble)\w+\s*\{\s*([^,\s]+)\s*,", re.IGNORECASE | re.MULTILINE)
LABEL = re.compile(
    r"^\((?P<label>[^()\s][^()\n]*)\)=[ \t]*\n+(?:#+[ \t]+(?P<title>.+?)[ \t]*$)?", re.MULTILINE
)
EQUATION = re.compile(r"\$\$[ \t]*\((?P<label>[\w:.-]+)\)[ \t]*$", re.MULTILINE)
EXERCISE = re.compile(
    r"^ {0,3}:{3,}\{(?P<kind>exercise|question)\}[ \t]*(?P<title>.*)\n"
    r"(?:[ \t]*:\w+:.*\n)*?[ \t]*:name:[ \t]*(?P<name>\w+)",
    re.MULTILINE,
)


@dataclass
class Label:
    """Something that `{ref}` can point at: how it is called, and its label in the book."""

    title: str
    target: str


@dataclass(frozen=True)
class Citation:
    """How a work is cited."""

    names: str
    year: str

    @property
    def textual(self) -> str:
        """As part of a sentence: `Vaswani et al. (2017)`."""
        return f"{self.names} ({self.year})" if self.year else self.names

    @property
    def short(self) -> str:
        """Inside parentheses: `Vaswani et al., 2017`."""
        return f"{self.names}, {self.year}" if self.year else self.names


@dataclass
class References:
    """Everything that can be referred to, gathered from the whole book."""

    citations: dict[str, Citation] = field(default_factory=dict)
    terms: set[str] = field(default_factory=set)
    labels: dict[str, Label] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    has_bibliography: bool = False
    has_glossary: bool = False


def gather(paths: Paths) -> References:
    """Read the bibliography, the glossary and all labels; read again only when a file has changed."""
    files = sorted([*paths.book.rglob("*.md"), *paths.book.glob("*.bib")])
    return _gather(paths, tuple((path, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=4)
def _gather(paths: Paths, files: tuple[tuple[Path, int], ...]) -> References:
    found = References()
    for path, _ in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path == paths.bibliography:
            found.citations, found.has_bibliography = bibliography(text), True
        elif path.suffix == ".md":
            name = path.relative_to(paths.book).with_suffix("").as_posix().removeprefix("chapters/")
            title = re.search(r"^# +(.+?) *$", text, re.MULTILINE)
            found.titles[name] = title[1] if title else name
            found.labels.update(labels(text))
            found.labels.update(exercise_labels(name, text))
            if path == paths.glossary:
                found.terms, found.has_glossary = glossary(text), True
    return found


def bibliography(text: str) -> dict[str, Citation]:
    """The authors and the year of each key of a BibTeX file."""
    starts = list(ENTRY.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return {m[1]: _citation(m[1], text[m.end() : end]) for m, end in zip(starts, ends, strict=True)}


def _citation(key: str, entry: str) -> Citation:
    """The authors' family names and the year of one BibTeX entry; its key where it names no author."""
    authors = _field(entry, "author")
    year = re.search(r"\b(?:year|date)\s*=\s*[{\"]?(\d{4})", entry, re.IGNORECASE)
    if authors is None:
        return Citation(key, year[1] if year else "")
    names = [_family(name) for name in re.split(r"\s+and\s+(?![^{]*\})", " ".join(authors.split()))]
    shown = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return Citation(shown, year[1] if year else "")


def _field(entry: str, name: str) -> str | None:
    """The text of a field of a BibTeX entry: up to the brace or the quotation mark that closes it."""
    start = re.search(rf"\b{name}\s*=\s*(?P<opens>[{{\"])", entry, re.IGNORECASE)
    if start is None:
        return None
    closes, depth = "}" if start["opens"] == "{" else '"', 0
    for at in range(start.end(), len(entry)):
        letter = entry[at]
        if letter == closes and depth == 0:
            return entry[start.end() : at]
        depth += (letter == "{") - (letter == "}")
    return None


def _family(name: str) -> str:
    family = name.split(",")[0] if "," in name else name if name.startswith("{") else name.split()[-1]
    accents = {
        '\\"a': "ä",
        '\\"o': "ö",
        '\\"u': "ü",
        "\\'e": "é",
        "\\'a": "á",
        "\\'o": "ó",
        "\\o": "ø",
        "\\ss": "ß",
    }
    family = family.replace("{", "").replace("}", "")
    for tex, letter in accents.items():
        family = family.replace(tex, letter)
    return "et al." if family == "others" else family


def glossary(text: str) -> set[str]:
    """The terms of the glossary: the lines of its directive that are not indented."""
    terms: set[str] = set()
    for block in re.findall(r"^[`:]{3,}\{glossary\}[^\n]*\n(.*?)^[`:]{3,}[ \t]*$", text, re.M | re.S):
        lines = [line for line in block.split("\n") if line.strip() and not line.startswith((" ", "\t", ":"))]
        terms.update(line.split(" : ")[0].strip().casefold() for line in lines)
    return terms


def labels(text: str) -> dict[str, Label]:
    """The `(label)=` targets of a page, with the heading that follows."""
    return {m["label"]: Label(m["title"] or m["label"], m["label"]) for m in LABEL.finditer(text)}


def exercise_labels(chapter: str, text: str) -> dict[str, Label]:
    """The exercises and questions of a chapter, as `slug.name`."""
    found: dict[str, Label] = {}
    number, _, slug = chapter.partition("_")
    counts = {"exercise": 0, "question": 0}
    for match in EXERCISE.finditer(text):
        counts[match["kind"]] += 1
        nth = counts[match["kind"]]
        index = str(nth) if match["kind"] == "exercise" else chr(ord("A") + nth - 1)
        title = f"{match['kind'].capitalize()} {int(number)}.{index}" if number.isdigit() else match["title"]
        found[f"{slug}.{match['name']}"] = Label(title, card_link(chapter, match["kind"], match["name"]))
    return found


def card_link(chapter: str, kind: str, name: str) -> str:
    """Where the card of an exercise or question is, from a page of a chapter."""
    return f"{chapter}.html#{kind}-{name.lower().replace('_', '-')}"


def equations(text: str) -> list[str]:
    """The labels of a chapter's equations, in order."""
    return [match["label"] for match in EQUATION.finditer(text)]
