"""How works are cited: authors and year, read from BibTeX entries however they are laid out."""

from __future__ import annotations

import pytest

from coursebuild.references import bibliography

ENTRIES = {
    "on one line": (
        "@article{a, author = {Ada Byron and C. Babbage}, title={A and B}, year=1843}",
        "Byron and Babbage (1843)",
    ),
    "family name first": (
        '@book{a,\n  author = "Byron, Ada and Babbage, C. and Menabrea, L.",\n  year = {1843},\n}',
        "Byron et al. (1843)",
    ),
    "a body": (
        "@misc{a,\n  author = {{Royal Society of Arts and Letters}},\n  year = 1843\n}",
        "Royal Society of Arts and Letters (1843)",
    ),
    "title with an author's words": (
        "@misc{a, title = {The author = me and you}, author={Ada Byron}, year = 1843}",
        "Byron (1843)",
    ),
    "no author": ("@misc{a,\n  title = {Notes},\n  year = 1843\n}", "a (1843)"),
    "accents": ('@misc{a, author = {G{\\"o}del, Kurt}, year = 1931}', "Gödel (1931)"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_authors_and_year(name: str) -> None:
    entry, expected = ENTRIES[name]
    assert bibliography(entry)["a"].textual == expected
