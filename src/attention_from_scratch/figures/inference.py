"""The moving figure of chapter 15: what every call of a decoder computes anew, reads, and computes once more."""

from __future__ import annotations

from attention_from_scratch.figures.base import Figure, moving


def timeline(prompt: int, written: int, chunk: int) -> Figure:
    """Step through the calls that read a prompt and write some tokens: without a cache, with one, and in pieces.

    Raises ValueError when one of the three is below 1.
    """
    if min(prompt, written, chunk) < 1:
        raise ValueError(
            f"prompt, written and chunk are at least 1 each, not {prompt}, {written} and {chunk}"
        )
    return moving(
        "inference",
        data={"prompt": prompt, "written": written, "chunk": chunk},
        alt="Left, a row for each call of the decoder and a column for each position: computed for the first time, "
        "computed once more, or read from the cache. Right, the mask of the chosen call: a row for each query, a "
        "column for each key. Without a cache most cells are computed once more; with one, none is.",
        caption="Step through the calls. Left: what each call computes (+), computes once more (×) and reads from the "
        "cache (·). Right: which keys the queries of this call may see, with the offset and without.",
    )
