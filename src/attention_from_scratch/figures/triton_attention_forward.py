"""The moving figure of chapter 10: which tiles of the scores a program visits, and which of those need a mask."""

from __future__ import annotations

from attention_from_scratch.figures.base import Figure, moving


def tiles(queries: int, keys: int, block: int) -> Figure:
    """Change lengths, blocks, the causal mask and the padding; count the tiles that are skipped."""
    return moving(
        "triton_attention_forward",
        data={"queries": queries, "keys": keys, "block": block, "largest": 96},
        alt="The matrix of scores cut into tiles, one row of tiles a program. Under a causal mask the tiles above the "
        "diagonal are skipped, those on it are computed with a mask, and those below need none; padding cuts off the "
        "tiles on the right.",
        caption="A row of tiles is one program's work, from left to right. Dark tiles are computed whole, light ones "
        "with a mask, grey ones are skipped.",
    )
