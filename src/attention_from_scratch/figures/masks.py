"""The figures of chapter 04: a mask to paint, whose weights follow, and small yes-and-no grids side by side."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from attention_from_scratch.figures.base import Figure, colour, moving, svg, text_colour

CELL, FONT = 26.0, 13.0
Grid = tuple[Sequence[str], Sequence[str], Any]


def panels(grids: Mapping[str, Grid], *, color: str, alt: str, caption: str) -> Figure:
    """Small grids of yes and no side by side: `{"title": (row labels, column labels, boolean matrix), …}`.

    Rows are queries (or outputs), columns are keys (or inputs); a cell is filled where the matrix is True.
    """
    drawn = "".join(
        f'<div><div style="font-size:.85rem;font-weight:600;min-height:2.6em;line-height:1.3">'
        f"{html.escape(title)}</div>{_panel(title, *grid, color)}</div>"
        for title, grid in grids.items()
    )
    layout = "display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1rem 1.25rem"
    return Figure(f'<div style="{layout}">{drawn}</div>', alt=alt, caption=caption)


def _panel(title: str, rows: Sequence[str], columns: Sequence[str], matrix: Any, color: str) -> str:
    cells = [[bool(cell) for cell in row] for row in matrix]
    if len(cells) != len(rows) or any(len(row) != len(columns) for row in cells):
        raise ValueError(f"{title}: {len(rows)} row and {len(columns)} column labels do not fit the matrix")
    left = 8 + 0.58 * FONT * max(map(len, rows)) + (FONT / 2 if not "".join(rows).isascii() else 0)
    longest = max(map(len, columns))
    top = 20.0 if longest < 3 else 12 + 0.45 * FONT * longest
    parts = []
    for r, label in enumerate(rows):
        at = (left - 6, top + (r + 0.5) * CELL + 4.5)
        parts.append(_word(label, *at, "end", "query"))
    for c, label in enumerate(columns):
        x, y = left + (c + 0.5) * CELL, top - 6
        turn = f'transform="rotate(-42 {x:.1f} {y:.1f})"' if longest >= 3 else ""
        parts.append(_word(label, x, y, "start" if turn else "middle", "key", turn))
        for r, row in enumerate(cells):
            hover = f"{rows[r]}, {label}: {'yes' if row[c] else 'no'}"
            place = f'x="{left + c * CELL + 1:.1f}" y="{top + r * CELL + 1:.1f}" rx="3"'
            style = f"fill:{colour(color if row[c] else 'mask')};fill-opacity:{1 if row[c] else 0.14}"
            box = f'<rect {place} width="{CELL - 2:g}" height="{CELL - 2:g}" style="{style}">'
            parts.append(f"{box}<title>{html.escape(hover)}</title></rect>")
    marked = sum(map(sum, cells))
    words = f"{title}: {marked} of {len(rows) * len(columns)} cells are filled"
    return svg(
        "".join(parts),
        width=max(left + len(columns) * CELL + 14, 200),
        height=top + len(rows) * CELL + 4,
        alt=words,
    )


def _word(words: str, x: float, y: float, anchor: str, paint: str, more: str = "") -> str:
    style = f"font-size:{FONT:g}px;fill:{text_colour(paint)}"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}" {more}>{html.escape(words)}</text>'


def painter(sentences: Sequence[Sequence[str]], lengths: Sequence[int], scores: Any) -> Figure:
    """Paint a mask over a batch of padded sentences; `scores[b][i][j]` says how well word j fits word i of example b.

    Every sentence has as many words as the longest, padding included; the first `lengths[b]` are real. Presets fill
    the mask (causal with an offset, padding, both, a window, everything); the reader chooses how hidden keys are taken
    out.
    """
    rows = [[[float(score) for score in row] for row in example] for example in scores]
    words = [list(sentence) for sentence in sentences]
    size = len(words[0]) if words else 0
    if not size or len(rows) != len(words) or len(lengths) != len(words):
        raise ValueError(
            f"the painter needs a length and scores for each sentence, got {len(words)} sentences, "
            f"{len(lengths)} lengths and scores for {len(rows)}"
        )
    for sentence, length, example in zip(words, lengths, rows, strict=True):
        square = len(example) == size and all(len(row) == size for row in example)
        if len(sentence) != size or not square or not 0 <= length <= size:
            raise ValueError(
                f"every sentence needs {size} words, padding included, a length of at most {size} and "
                f"{size} × {size} scores; this one does not fit: {' '.join(sentence)}"
            )
    return moving(
        "masks",
        data={"sentences": words, "lengths": [int(length) for length in lengths], "scores": rows},
        alt="Two grids over the words of a sentence. In the left one the reader paints which word may look at which; "
        "the right one shows the weights that follow, in percent, and the sum of every row.",
        caption="Press a cell on the left, or drag over several, to hide or to show it; on the keyboard, arrows move "
        "and the space bar paints. The right grid shows the weights in percent and the sum of each row.",
    )
