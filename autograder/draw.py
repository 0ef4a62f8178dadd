"""Seeded random inputs for hidden tests: shapes, values and layouts that no student can foresee."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")
SMALL_PRIMES = (2, 3, 5, 7, 11, 13)


class Draw:
    """A stream of random inputs, a function of a secret seed and of the test's name."""

    def __init__(self, seed: bytes, test: str) -> None:
        digest = hashlib.blake2b(test.encode(), key=seed[:64], digest_size=16).digest()
        self._numpy = np.random.default_rng(int.from_bytes(digest, "big"))
        self._torch = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self._numpy.integers(low, high + 1))

    def primes(self, count: int) -> tuple[int, ...]:
        """`count` distinct small primes: no two axes have the same size, none divides another."""
        return tuple(int(p) for p in self._numpy.choice(SMALL_PRIMES, size=count, replace=False))

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def normal(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Standard normal values, drawn in float64 and rounded to `dtype`."""
        return torch.randn(*shape, generator=self._torch, dtype=torch.float64).to(dtype)

    def uniform(
        self, *shape: int, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """Values spread evenly from low to high."""
        unit = torch.rand(*shape, generator=self._torch, dtype=torch.float64)
        return (low + (high - low) * unit).to(dtype)

    def array(self, *shape: int) -> NDArray[np.float64]:
        """Standard normal values as a NumPy array."""
        return self._numpy.standard_normal(shape)

    def floats(self, count: int, *, low: float = -3.0, high: float = 3.0) -> list[float]:
        """A list of numbers between low and high."""
        return [float(x) for x in self._numpy.uniform(low, high, size=count)]

    def strided(self, tensor: Tensor) -> Tensor:
        """The same values in a layout that is not contiguous: every second number of a wider buffer of NaN.

        The NaN between the values show up as soon as code reads the memory instead of the tensor. Integers and
        booleans get their own values once more instead.
        """
        wide = torch.empty(*tensor.shape[:-1], 2 * tensor.shape[-1], dtype=tensor.dtype)
        wide[..., 1::2] = float("nan") if tensor.dtype.is_floating_point else tensor
        wide[..., ::2] = tensor
        return wide[..., ::2]

    def rng(self) -> np.random.Generator:
        """A NumPy generator; it crosses to the student's code as its seed, so both sides draw the same numbers."""
        return np.random.default_rng(self.integer(0, 2**31 - 1))  # its seed_seq remembers the seed

    def generator(self) -> torch.Generator:
        """A torch generator; it crosses to the student's code as its seed."""
        return torch.Generator().manual_seed(self.integer(0, 2**31 - 1))
