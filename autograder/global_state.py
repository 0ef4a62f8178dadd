"""The settings of a process that a student's code may change: dtype, device, grad mode, threads, seeds.

`Borrowed` lets such code run with its own settings and puts the caller's back afterwards, so that a comparison in
the same process is not disturbed (in the judge the comparison happens in another process anyway).
"""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch


@dataclass
class GlobalState:
    """The settings at one moment."""

    dtype: torch.dtype
    device: torch.device
    grad: bool
    threads: int
    deterministic: bool
    torch_seed: torch.Tensor
    numpy_seed: Any
    random_seed: Any

    @classmethod
    def now(cls) -> GlobalState:
        """Read the settings."""
        return cls(
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.random.get_rng_state(),
            np.random.get_state(),
            random.getstate(),
        )

    def restore(self) -> None:
        """Make the settings what they were; those that are already so are left alone."""
        torch.set_grad_enabled(self.grad)
        if torch.get_default_device() != self.device:
            torch.set_default_device(self.device)
        if torch.get_default_dtype() != self.dtype:
            torch.set_default_dtype(self.dtype)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if torch.are_deterministic_algorithms_enabled() != self.deterministic:
            torch.use_deterministic_algorithms(self.deterministic)
        torch.random.set_rng_state(self.torch_seed)
        np.random.set_state(self.numpy_seed)
        random.setstate(self.random_seed)


class Borrowed:
    """A context in which a student's code has the settings it left last time; the caller gets its own back."""

    def __init__(self) -> None:
        self.student: GlobalState | None = None

    def __enter__(self) -> None:
        self.warnings = warnings.filters[:]
        self.caller = GlobalState.now()
        if self.student:
            self.student.restore()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.student = GlobalState.now()
        self.caller.restore()
        warnings.filters[:] = self.warnings  # type: ignore[index]
