"""Search that finds English and Chinese words.

Sphinx's Chinese search cuts text with jieba and stems Latin words. A reader types a term as a whole, though, while
jieba cuts 缩放点积注意力 into pieces; so a run of Chinese characters is also indexed as it stands, and by its pairs.
"""

from __future__ import annotations

import logging
import re
from itertools import pairwise

import jieba
import snowballstemmer
from sphinx.search.zh import SearchChinese

_HAN = re.compile(r"[㐀-鿿]+")
_LATIN = re.compile(r"[a-zA-Z0-9_]+")
_LONGEST_TERM = 12


class BilingualSearch(SearchChinese):
    """English by Porter's stemmer, Chinese by jieba, by whole terms and by pairs of characters."""

    lang = "zh"
    language_name = "Chinese and English"

    def init(self, options: dict[str, str]) -> None:
        """Called by Sphinx."""
        jieba.setLogLevel(logging.WARNING)
        # the script in the page stems by Porter's first algorithm, so the index must too
        self.stemmer = snowballstemmer.stemmer("porter")

    def split(self, input: str) -> list[str]:
        """The words of a text, as they will be looked up."""
        words = _LATIN.findall(input)
        for run in _HAN.findall(input):
            words += jieba.cut_for_search(run)
            words += [run] if len(run) <= _LONGEST_TERM else []
            words += [first + second for first, second in pairwise(run)]
        return words

    def stem(self, word: str) -> str:
        """A word without its ending, unless hardly anything would be left of it."""
        stemmed = self.stemmer.stemWord(word.lower())
        return stemmed if len(stemmed) >= 3 or len(word) < 3 else word.lower()
