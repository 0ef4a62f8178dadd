"""The moving figure of chapter 01: a query among keys on a line."""

from collections.abc import Sequence

from attention_from_scratch.figures.base import Figure, moving


def keys_on_a_line(
    keys: Sequence[float],
    values: Sequence[float],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    caption: str,
    query: float,
    temperature: float,
) -> Figure:
    """Drag the query along the keys and set the temperature; the weights and the looked-up value follow."""
    if len(keys) != len(values) or not keys:
        raise ValueError(
            f"the figure needs as many values as keys and at least one, got {len(keys)} and {len(values)}"
        )
    data = {
        "keys": list(keys), "values": list(values), "xLabel": x_label, "yLabel": y_label,
        "query": query, "temperature": temperature,
    }  # fmt: skip
    return moving("soft_lookup", data=data, alt=alt, caption=caption)
