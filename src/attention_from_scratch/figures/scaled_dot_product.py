"""The moving figure of chapter 02: the same keys at every width, with and without the scale."""

from typing import Any

from attention_from_scratch.figures.base import Figure, moving


def saturation(widths: list[int], rows: Any, entropy: Any, gradient: Any) -> Figure:
    """Slide the width d; a row of weights saturates without √d and stays a blend with it.

    `rows[draw][scaled][width]` is a row of weights; `entropy[scaled][width]` and `gradient[scaled][width]` are what a
    typical row has. `scaled` is 0 for the plain dot products and 1 for those divided by √d.
    """
    data = {"widths": widths, "rows": rows, "entropy": entropy, "gradient": gradient}
    return moving(
        "scaled_dot_product",
        data=data,
        alt="Weights of one query over its keys, for a width d that a slider sets. Without the scale one key takes "
        "everything as d grows, entropy and gradient fall to zero; with the scale all three stay as they are.",
        caption="Slide $d$. Above: the weights of one query, from the plain dot products and from those divided by "
        "$\\sqrt{d}$. Below, in the same colours: entropy of the weights and size of their gradient (the Frobenius "
        "norm of the softmax Jacobian) for the median of all measured rows.",
    )
