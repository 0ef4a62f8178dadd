"""The moving figure of chapter 11: the roofline, and where attention stands under it."""

from __future__ import annotations

from attention_from_scratch.figures.base import Figure, moving


def roofline(dim: int, bytes_per_number: int, teraflops: float, terabytes_per_second: float) -> Figure:
    """Move the length, the machine's peak and its bandwidth; see what bounds three separate steps and one kernel.

    Operations and bytes are those of chapter 08's `attention_cost` for one head.
    """
    return moving(
        "triton_attention_backward",
        data={"dim": dim, "size": bytes_per_number, "peak": teraflops, "bandwidth": terabytes_per_second},
        alt="Attainable speed against operations for each byte, both on logarithmic axes: a slope where memory is the "
        "limit, then a flat roof where arithmetic is. Attention in three steps stays on the slope at any length; in "
        "one kernel it moves to the right as the length grows, and reaches the roof.",
        caption="The roof of a machine, and the two ways to compute attention under it. Set the machine to yours.",
    )
