"""The picture on the book's first page."""

from attention_from_scratch.figures.base import Figure, moving

_WORDS = [
    ("river", 0.13, 0.66, 0.05),
    ("water", 0.28, 0.30, 0.0),
    ("boat", 0.44, 0.82, 0.12),
    ("credit", 0.70, 0.84, 0.95),
    ("loan", 0.80, 0.36, 1.0),
    ("cash", 0.92, 0.64, 0.9),
]
"""Each word with its place as a key and its value, from 0 (nature) to 1 (finance); placed by hand."""


def one_query() -> Figure:
    """Drag a query among six keys: the weights and the value that is read follow."""
    return moving(
        "landing",
        data=[{"word": word, "x": x, "y": y, "value": value} for word, x, y, value in _WORDS],
        alt=(
            "Six words stand in a plane as keys. A query for the word bank can be dragged among them; lines to the "
            "keys grow thicker with their weight, and a mark between nature and finance shows the value that is read."
        ),
        caption=(
            "What does “bank” mean? Drag the query, or move it with the arrow keys. Near keys get most of the "
            "weight, and what is read out is the mean of the values with these weights. That is attention."
        ),
    )
