"""What a dry run tells of a step's time."""

import time
from types import SimpleNamespace

import torch
from torch import nn

from mfrkit.methods.base import Task
from mfrkit.models.registry import read_card
from mfrkit.training.run import Built


class SlowAtFirst(Task):
    """Stands for a network that is compiled at its first call."""

    def __init__(self):
        super().__init__()
        self.student = nn.Linear(1, 1)
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        time.sleep(2.0 if self.calls == 1 else 0.0)
        return {"loss": self.student(batch).sum()}


def test_a_steps_time_does_not_count_the_first_call():
    task = SlowAtFirst()
    built = Built(
        task=task,
        network=task.student,
        card=read_card("arcface")[0],
        batches=SimpleNamespace(load=lambda step: step),
        show=lambda raw: torch.ones(1, 1),
        device=torch.device("cpu"),
        check=None,
        measure="",
    )
    assert built.seconds_per_step() < 0.5  # a third of the first call would be 0.67
    assert task.calls == 4
