"""What a fine-tuning run is told: every decision in one place, written into its folder, compared on resuming."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


class FineTuneError(RuntimeError):
    """A run cannot be done as asked. The message is one sentence that says what is wrong, and the mend."""


@dataclass(frozen=True)
class Settings:
    """All that decides what a run computes. Two runs with equal settings and data give equal weights on one CPU."""

    data: str  # a built-in set, or a CSV or JSONL file
    model: str  # minilm, random, tiny, or a folder
    method: str  # one of finetune_methods.METHODS
    seed: int  # of the head, the order of the batches and the dropout
    split_seed: int  # of the cut into training, validation and test
    epochs: int
    batch: int  # examples in one step, over all processes
    parts: int  # a step's examples are cut into so many batches: accumulated, or one for each process
    learning_rate: float
    random_learning_rate: float  # for the same architecture from random weights, which needs larger steps
    weight_decay: float
    warmup: float  # share of all steps
    max_norm: float
    dropout: float
    max_length: int  # tokens; what is longer is cut
    patience: int  # epochs without a better validation score before the run stops
    limit: int | None  # training examples to use at most, None for all
    limit_scored: int | None  # the same for validation and for test
    freeze_embeddings: bool
    drop_duplicates: bool
    precision: str  # fp32, or bf16 where a GPU has it

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, in one sentence."""
        for name in ("epochs", "batch", "parts", "patience"):
            if getattr(self, name) < 1:
                raise FineTuneError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch % self.parts:
            raise FineTuneError(
                f"a step of {self.batch} examples cannot be cut into {self.parts} equal parts; "
                f"choose --batch as a multiple of {self.parts}"
            )
        for name in ("learning_rate", "random_learning_rate"):
            if not 0 < getattr(self, name) < 1:
                raise FineTuneError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.precision not in ("fp32", "bf16"):
            raise FineTuneError(f"the precision is fp32 or bf16, not {self.precision!r}")
        if not (0 <= self.warmup < 1 and 0 <= self.dropout < 1 and self.weight_decay >= 0):
            raise FineTuneError(
                "warmup and dropout must be at least 0 and below 1, and weight decay at least 0"
            )
        if self.max_norm <= 0:
            raise FineTuneError(f"the largest norm of a gradient is {self.max_norm}; it must be positive")
        if self.max_length < 3:
            raise FineTuneError(f"max_length is {self.max_length}; a text needs room for 3 tokens at least")
        for name in ("limit", "limit_scored"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise FineTuneError(
                    f"{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 1"
                )

    def from_random(self) -> Settings:
        """The settings of the same architecture from random weights: everything is trained, with its own rate."""
        return replace(self, method="full", freeze_embeddings=False, learning_rate=self.random_learning_rate)

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return asdict(self)


def differences(asked: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """What is different in stored settings, in words."""
    return [
        f"{name} was {stored.get(name)!r} and is {value!r}"
        for name, value in asked.items()
        if stored.get(name) != value
    ]
