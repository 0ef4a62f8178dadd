"""One run in several processes, as `torchrun` starts them: gloo on CPUs, NCCL on GPUs, and the same numbers as one.

A step's examples are cut into `parts` batches. One process takes them one after another and adds the gradients;
several processes take some each, and DistributedDataParallel takes the mean. Both see the same batches with the same
dropout, because every batch reseeds torch by its place in the run: so their losses agree up to rounding, and a run
needs no state of a random generator to go on where it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from attention_from_scratch.finetune_settings import FineTuneError


@dataclass(frozen=True)
class World:
    """This process among all: its number, how many there are, and where it computes."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def mean(self, value: float) -> float:
        """The mean of one number of every process."""
        if self.size == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.item() / self.size

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, or be alone. `device` is cpu or cuda.

    Raises FineTuneError when there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise FineTuneError("--device cuda, but torch sees no GPU here; leave --device out, or say cpu")
    if "WORLD_SIZE" not in os.environ:
        yield World(0, 1, torch.device(device))
        return
    own = torch.device(device, int(os.environ["LOCAL_RANK"])) if device == "cuda" else torch.device("cpu")
    if device == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), own)
    finally:
        dist.destroy_process_group()


def require_parts(parts: int, here: World) -> None:
    """Raise FineTuneError when the processes cannot take equally many parts of a step."""
    if parts % here.size:
        raise FineTuneError(
            f"{here.size} processes cannot share steps of {parts} parts equally; say --parts {here.size}"
        )


def shared_out(model: nn.Module, here: World) -> nn.Module:
    """The model as this process trains it: as it is, or with its gradients averaged over all processes."""
    if here.size == 1:
        return model
    return nn.parallel.DistributedDataParallel(model)


class Dice:
    """Seeds torch before every batch in training by the seed, the step and the batch's place in it."""

    def __init__(self, model: nn.Module, seed: int, here: World) -> None:
        self.seed, self.here = seed, here
        self.step, self.batch = 0, 0
        model.register_forward_pre_hook(self._throw)

    def begin(self, step: int) -> None:
        """The next batch is the first of this step."""
        self.step, self.batch = step, 0

    def _throw(self, module: nn.Module, arguments: Any) -> None:
        if module.training:
            place = self.here.rank + self.here.size * self.batch
            self.batch += 1
            torch.manual_seed(number_of(self.seed, self.step, place))


def number_of(*parts: int | str) -> int:
    """A seed that depends on all the parts and on nothing else, the same on every machine."""
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def require_precision(precision: str, device: torch.device) -> None:
    """Raise FineTuneError where bf16 is asked for and not worth having: on a CPU it is many times slower."""
    if precision == "bf16" and (device.type != "cuda" or not torch.cuda.is_bf16_supported()):
        raise FineTuneError("--precision bf16 needs a GPU that has bfloat16; leave it out, or say fp32")


def use_precision(model: nn.Module, precision: str, device: torch.device) -> None:
    """Let the model compute in bfloat16 where that is asked for; its weights and its answers stay float32."""
    if precision != "bf16":
        return
    plain = model.forward

    def forward(tokens: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            answer = plain(tokens, mask)
        return answer.float()

    model.forward = forward
