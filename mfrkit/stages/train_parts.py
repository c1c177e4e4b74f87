"""The finished parts of a training run, whatever it trains."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

from mfrkit.methods.base import Task
from mfrkit.methods.batch import FaceBatch
from mfrkit.models.cards import ModelCard
from mfrkit.stages.fit import Check, Draw
from mfrkit.stages.train_data import Batches, RawBatch

_TIMED_STEPS = 3


@dataclass(frozen=True)
class Built:
    """The finished parts of a run.

    Attributes:
        task: what is trained.
        network: the bare network inside the task's student, which is exported.
        card: its card, without what the run itself adds.
        batches: the data.
        show: makes views, on the device.
        device: of the networks.
        check: measures weights of the student, or None.
        measure: what the check's error is, in words.
        draw: shows what weights of the student do, or None.
    """

    task: Task
    network: nn.Module
    card: ModelCard
    batches: Batches
    show: Callable[[RawBatch], FaceBatch]
    device: torch.device
    check: Check | None
    measure: str
    draw: Draw | None = None

    def parameters(self) -> dict[str, int]:
        """Count the trained values of the task's parts."""
        return {
            name: sum(p.numel() for p in part.parameters() if p.requires_grad)
            for name, part in self.task.named_children()
            if any(p.requires_grad for p in part.parameters())
        }

    def seconds_per_step(self) -> float:
        """Time the first step of the run, without the optimiser's part."""
        self.task.train()
        batch = self.show(self.batches.load(0))
        started = perf_counter()
        for _ in range(_TIMED_STEPS):
            for _name, losses in self.task.steps(batch):
                losses["loss"].backward()
        return (perf_counter() - started) / _TIMED_STEPS

    def bare(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return those of the student's weights that are the network's, by its own names."""
        inside = self.task.student.named_modules()
        prefix = next(f"{name}." if name else "" for name, part in inside if part is self.network)
        return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
