"""How a hidden test compares: one tolerance a dtype, with its reason, and failures that say how far off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autograder.student import StudentError

# Relative to the largest expected number (at least 1). The results of two right implementations differ by the
# order of their sums: some tens of roundings of unit roundoff u, with a margin of about ten; all the named wrong
# solutions are off by more than 1e-2. u: float64 1.1e-16, float32 6.0e-8, bfloat16 3.9e-3, float16 4.9e-4.
TOLERANCE: dict[torch.dtype, float] = {
    torch.float64: 1e-9,  # also room for a float64 exp or log computed in another order
    torch.float32: 2e-5,
    torch.bfloat16: 3e-2,
    torch.float16: 4e-3,
}


class Mismatch(AssertionError):
    """The student's result is wrong; the text is for the instructor."""


class Premature(Mismatch):
    """What a test asks about cannot be judged yet, because the result itself is wrong."""

    for_student = "this test counts once the result itself is right: first mend what the other tests say"


def check(condition: bool, detail: str) -> None:
    """Fail with a detail for the instructor unless the condition holds."""
    if not bool(condition):
        raise Mismatch(detail)


def raises(error: type[Exception], call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Pass when the student's code raises `error` (or a subclass of it); another error or none is a failure."""
    try:
        call(*args, **kwargs)
    except StudentError as fault:
        if error.__name__ not in fault.kinds:
            raise Mismatch(f"raised {fault.kind}, expected {error.__name__}") from None
        return
    raise Mismatch(f"raised nothing, expected {error.__name__}")


def presupposes(got: Any, expected: Any, tolerance: float | None = None) -> None:
    """Ask for the right numbers in a test of something else: shapes, dtypes, errors, inputs left alone.

    Without it an answer of nothing but zeros passes every such test. Call it last: a student whose numbers are wrong
    reads that this test waits for them, and not the sentence of the test. The dtype is not compared; where it differs
    from the expected one, the tolerance is that of the rounder of the two.
    """
    try:
        _presupposed(got, expected, tolerance)
    except Mismatch as mismatch:
        raise Premature(str(mismatch)) from None


def _presupposed(got: Any, expected: Any, tolerance: float | None) -> None:
    if isinstance(expected, list | tuple):
        check(isinstance(got, list | tuple) and len(got) == len(expected), "it is not as many results")
        for one, other in zip(got, expected, strict=True):
            _presupposed(one, other, tolerance)
    elif isinstance(expected, np.ndarray | torch.Tensor) and isinstance(got, type(expected)):
        one, other = torch.as_tensor(got), torch.as_tensor(expected)
        if tolerance is None and one.dtype in TOLERANCE and other.dtype in TOLERANCE:
            tolerance = max(TOLERANCE[one.dtype], TOLERANCE[other.dtype])
        close(one.to(other.dtype), other, tolerance)
    else:
        close(got, expected, tolerance)


def close(got: Any, expected: Any, tolerance: float | None = None, what: str = "the result") -> None:
    """Compare a student's result with the expected one: type, shape, dtype, then every number.

    A tensor is compared with a tensor, an array with an array, a list with a list (item by item), a number with
    anything that is one number. `tolerance` is relative to the largest expected number, at least 1.
    """
    if isinstance(expected, list | tuple):
        _close_items(got, expected, tolerance, what)
    elif isinstance(expected, dict):
        check(isinstance(got, dict) and got.keys() == expected.keys(), f"{what} has other keys")
        for key, item in expected.items():
            close(got[key], item, tolerance, f"{what}[{key!r}]")
    elif isinstance(expected, torch.Tensor):
        check(isinstance(got, torch.Tensor), f"{what} is a {type(got).__name__}, not a tensor")
        check(got.dtype == expected.dtype, f"{what} has dtype {got.dtype}, expected {expected.dtype}")
        _close_numbers(got, expected.detach(), tolerance, what)
    elif isinstance(expected, np.ndarray):
        check(isinstance(got, np.ndarray), f"{what} is a {type(got).__name__}, not a NumPy array")
        check(got.dtype == expected.dtype, f"{what} has dtype {got.dtype}, expected {expected.dtype}")
        _close_numbers(torch.from_numpy(got.copy()), torch.from_numpy(expected.copy()), tolerance, what)
    elif isinstance(expected, bool | str) or expected is None:
        check(type(got) is type(expected) and got == expected, f"{what} is {got!r}, expected {expected!r}")
    else:
        _close_scalar(got, expected, tolerance, what)


def _close_items(got: Any, expected: list[Any] | tuple[Any, ...], tolerance: float | None, what: str) -> None:
    check(isinstance(got, list | tuple), f"{what} is a {type(got).__name__}, not a {type(expected).__name__}")
    check(len(got) == len(expected), f"{what} has {len(got)} items, expected {len(expected)}")
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        close(one, other, tolerance, f"{what}[{index}]")


def _close_scalar(got: Any, expected: Any, tolerance: float | None, what: str) -> None:
    single = isinstance(got, int | float | np.number) and not isinstance(got, bool)
    single = single or (isinstance(got, torch.Tensor | np.ndarray) and got.shape == ())
    check(single, f"{what} is {type(got).__name__}, not one number")
    value = torch.tensor(float(got), dtype=torch.float64)
    _close_numbers(value, torch.tensor(float(expected), dtype=torch.float64), tolerance, what)


def _close_numbers(got: torch.Tensor, expected: torch.Tensor, tolerance: float | None, what: str) -> None:
    check(
        got.shape == expected.shape, f"{what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    )
    if expected.numel() == 0:
        return
    if not expected.dtype.is_floating_point:
        check(torch.equal(got, expected), f"{what} differs in {int((got != expected).sum())} places")
        return
    if tolerance is None:
        tolerance = TOLERANCE[expected.dtype]
    one, other = got.to(torch.float64), expected.to(torch.float64)
    finite = torch.isfinite(other)
    same_special = torch.equal(one[~finite].nan_to_num(nan=1e300), other[~finite].nan_to_num(nan=1e300))
    check(
        bool(torch.isfinite(one[finite]).all()) and same_special,
        f"{what} holds NaN or infinity where it must not",
    )
    if finite.any():
        error = float((one[finite] - other[finite]).abs().max())
        bound = tolerance * max(1.0, float(other[finite].abs().max()))
        check(error <= bound, f"{what} is off by {error:.3g}, allowed {bound:.3g}")
