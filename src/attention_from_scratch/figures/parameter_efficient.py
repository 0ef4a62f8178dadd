"""The moving figure of chapter 14: what each way to fine-tune costs, and what it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attention_from_scratch.figures.base import Figure, moving


def trade_off(
    costs: Mapping[str, Mapping[str, float]],
    scores: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float]],
) -> Figure:
    """Choose what to pay with; see every method at its price, one small dot for each seed, and one for their mean.

    `costs` gives the price of every method for each currency ("parameters", "memory (MiB)", …), `scores` the macro-F1
    of every seed of every method, and `intervals` how low and how high a score of the method may be.

    Raises ValueError when a method lacks a price, a score or an interval, or a price is not positive (wide ranges get a
    logarithmic axis).
    """
    if missing := sorted(scores.keys() ^ intervals.keys()):
        raise ValueError(f"{', '.join(missing)} has either no interval or no score")
    for currency, prices in costs.items():
        if missing := sorted(scores.keys() ^ prices.keys()):
            raise ValueError(f"{currency}: {', '.join(missing)} has either no price or no score")
        if any(price <= 0 for price in prices.values()):
            raise ValueError(f"{currency}: a price must be positive to stand on a logarithmic axis")
    if any(not len(seeds) for seeds in scores.values()):
        raise ValueError("every method needs a score of at least one seed")
    return moving(
        "parameter_efficient",
        data={
            "methods": list(scores),
            "scores": [[float(score) for score in seeds] for seeds in scores.values()],
            "intervals": [[float(edge) for edge in intervals[method]] for method in scores],
            "costs": [
                {"name": currency, "prices": [float(prices[method]) for method in scores]}
                for currency, prices in costs.items()
            ],
        },
        alt="Macro-F1 of each way to fine-tune, one small dot for each seed and a large one for their mean, against "
        "what it costs: numbers trained, memory, processor time or the size of a file.",
        caption="Choose what to pay with, and a method to read its numbers (or point at its dot). The bar is the "
        "interval in which a score of the chosen method may lie with other test reviews.",
    )
