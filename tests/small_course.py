"""A course of two small chapters in a folder, for the tests of the composer: good as it is, to be broken by edits."""

from __future__ import annotations

from pathlib import Path

from coursebuild.paths import PACKAGE, Paths

FRONT = """\
---
jupytext:
  text_representation: {{extension: .md, format_name: myst}}
kernelspec: {{name: python3, display_name: Python 3, language: python}}
course:
  question: {question}
  part: I
  points: {points}
  minutes: 40
---
"""

FIRST = (
    FRONT.format(question="What is a `mean`?", points=7)
    + """\
# First steps

Means are *averages*, says {cite:t}`someone2020` {cite}`someone2020`, with a {term}`key` and {term}`weights <weight>`.
See {ref}`the-end`, {ref}`mean`, {doc}`02_second`, and {eq}`mean`.
Maths: $\\q{Q}\\cdot\\k{K}^\\top\\v{V_{ij}}$, `{term}` in code.

$$
m = \\frac{1}{n} \\sum_i \\v{x}_i
$$ (mean)

```{code-cell} ipython3
:tags: [setup]
import math
```

```{code-cell} ipython3
:given: first.SCALE
```

::::{exercise} The `mean` of numbers
:name: mean
:difficulty: 2
:minutes: 5
:points: 3
Write the mean.

:::{note}
Mind the empty list.
:::
::::

:::{hint} Which `sum`?
The built-in one.
:::

```{code-cell} ipython3
:exercise: first.mean
```

```{code-cell} ipython3
:tests: first.mean
assert mean([1.0, 3.0]) == 2.0, f"the mean of 1 and 3 is 2, got {mean([1.0, 3.0])}"
```

```{code-cell} ipython3
:tests: first.mean
assert mean([5.0]) == 5.0
```

:::{exercise} A class
:name: Counter
:difficulty: 1
:minutes: 5
:points: 2
Count.
:::

```{code-cell} ipython3
:exercise: first.Counter
```

```{code-cell} ipython3
:tests: first.Counter
counter = Counter()
counter.add()
assert counter.read() == 1
```

```{code-cell} ipython3
:tags: [book-only]
print("only in the book", mean([2.0, 4.0]))
```

```python
x = 1  # {term}`not a role`
```

:::{question} Why divide?
:name: why_divide
:points: 2
Say why.
:::

(the-end)=
## The end

What is still missing.
"""
)

SECOND = (
    FRONT.format(question="And then?", points=1)
    + """\
# Second steps

```{code-cell} ipython3
:tags: [setup]
from attention_from_scratch.first import mean
```

:::{exercise} Twice the mean
:name: twice
:difficulty: 5
:minutes: 5
:points: 1
Twice.
:::

```{code-cell} ipython3
:exercise: second.twice
```

```{code-cell} ipython3
:tests: second.twice
assert twice([1.0]) == 2.0
```
"""
)

FIRST_MODULE = '''\
"""Means."""

import math

SCALE = 1.0


def mean(values: list[float]) -> float:
    """The mean of some numbers.

    Raises ValueError when there are none.
    """
    ### BEGIN SOLUTION
    if not values:
        raise ValueError("no numbers have no mean")
    return SCALE * math.fsum(values) / len(values)
    ### END SOLUTION


class Counter:
    """Counts."""

    def __init__(self) -> None:
        ### BEGIN SOLUTION
        self.secret_count = 0
        ### END SOLUTION

    def read(self) -> int:
        """How many."""
        return self.secret_count

    def add(self) -> None:
        """One more."""
        ### BEGIN SOLUTION
        self.secret_count += 1
        ### END SOLUTION
'''

SECOND_MODULE = '''\
"""Twice."""

from attention_from_scratch.first import mean


def twice(values: list[float]) -> float:
    """Twice the mean."""
    ### BEGIN SOLUTION
    return 2 * mean(values)
    ### END SOLUTION
'''

FIRST_HIDDEN = """\
from autograder.testing import Exercise, Question

mean = Exercise("mean")


@mean.test(points=3, says="a sentence that is hidden")
def empty_is_refused(student, draw):
    raise AssertionError


Counter = Exercise("Counter")


@Counter.test(points=2, says="another hidden sentence")
def counts(student, draw):
    raise AssertionError


QUESTIONS = [Question("why_divide", points=2, answer="Because a sum grows.", rubric="Says that a sum grows.")]
"""

SECOND_HIDDEN = """\
from autograder.testing import Exercise

twice = Exercise("twice")


@twice.test(points=1, says="hidden")
def is_twice(student, draw):
    raise AssertionError
"""

BIBLIOGRAPHY = (
    "@article{someone2020,\n  author = {One, Some and Two, Any and Three, Body},\n  year = {2020},\n}\n"
)
GLOSSARY = "# Glossary\n\n```{glossary}\nkey\n  What is compared.\n\nweight\n  How much.\n```\n"

CHAPTER = "book/chapters/01_first.md"
MODULE = f"src/{PACKAGE}/first.py"
HIDDEN = "autograder/hidden/first.py"

FILES = {
    CHAPTER: FIRST,
    "book/chapters/02_second.md": SECOND,
    "book/references.bib": BIBLIOGRAPHY,
    "book/glossary.md": GLOSSARY,
    MODULE: FIRST_MODULE,
    f"src/{PACKAGE}/second.py": SECOND_MODULE,
    f"src/{PACKAGE}/__init__.py": "",
    HIDDEN: FIRST_HIDDEN,
    "autograder/hidden/second.py": SECOND_HIDDEN,
    "constraints.txt": "nothing==1.0\n",
}


def make(root: Path) -> Paths:
    """Write the course."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Paths(root)


def edit(paths: Paths, name: str, old: str, new: str) -> None:
    """Change one place of one file."""
    path = paths.root / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1, f"{old!r} is not in {name}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
