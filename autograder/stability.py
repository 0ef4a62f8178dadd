"""Which verdicts on the wrong variants depend on the seed, which is another one in every class.

    python -m autograder.stability multi_head masks     # these chapters
    python -m autograder.stability                      # all of them; takes a while

Within a class everybody's first attempt meets the same inputs, so equal work earns equal points in any case. A test
whose verdict depends on the seed is listed with how often it failed; "CAUGHT BY" marks the test that the variant is
named for, which must not be among them. The mend is in the hidden test: a case that cannot come out right by chance, or
several.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from autograder.killmatrix import chapters, try_variant
from autograder.variants.base import variants_of

SEEDS = 6


def unstable(slug: str, seeds: int) -> Iterator[str]:
    """A line for every test that fails a wrong variant of this chapter with some seeds and not with others."""
    for variant in variants_of(slug):
        if variant.is_right:
            continue
        verdicts = [try_variant(slug, variant, f"seed {number}".encode()) for number in range(seeds)]
        for test, times in Counter(name for verdict in verdicts for name in verdict.failed).items():
            if times < seeds:
                mark = "  CAUGHT BY" if test == variant.caught_by else ""
                yield f"{slug}.{variant.exercise}.{variant.name}: {test} fails in {times} of {seeds}{mark}"


def main(arguments: Sequence[str]) -> int:
    """Print what is unstable; 1 when a test that a variant is named for is among it."""
    found = []
    for slug in arguments or chapters():
        for line in unstable(slug, SEEDS):
            print(line, flush=True)
            found.append(line)
    print(f"{len(found)} verdicts depend on the seed")
    return int(any(line.endswith("CAUGHT BY") for line in found))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
