"""Where the rooms of the course are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "attention_from_scratch"


@dataclass(frozen=True)
class Paths:
    """The rooms below one root, so that tests can build a course of their own."""

    root: Path

    @property
    def book(self) -> Path:
        """What the reader reads, authored."""
        return self.root / "book"

    @property
    def chapters(self) -> Path:
        """The chapter sources, `NN_slug.md`."""
        return self.book / "chapters"

    @property
    def bibliography(self) -> Path:
        """What can be cited."""
        return self.book / "references.bib"

    @property
    def glossary(self) -> Path:
        """The terms that can be linked."""
        return self.book / "glossary.md"

    @property
    def library(self) -> Path:
        """The reference library, one module a chapter."""
        return self.root / "src" / PACKAGE

    @property
    def hidden(self) -> Path:
        """The hidden tests, one module a chapter."""
        return self.root / "autograder" / "hidden"

    @property
    def notebooks(self) -> Path:
        """What students open; generated."""
        return self.root / "notebooks"

    @property
    def solutions(self) -> Path:
        """The solved notebooks; generated."""
        return self.root / "solutions"

    @property
    def build(self) -> Path:
        """Everything that can be thrown away."""
        return self.root / "_build"

    @property
    def constraints(self) -> Path:
        """The exact versions that everything runs on."""
        return self.root / "constraints.txt"


REPOSITORY = Paths(ROOT)
BOOK = REPOSITORY.book
CHAPTERS = REPOSITORY.chapters
NOTEBOOKS = REPOSITORY.notebooks
SOLUTIONS = REPOSITORY.solutions
BUILD = REPOSITORY.build
