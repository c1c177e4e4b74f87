"""The whole state of a training run, on disk whenever it matters.

A checkpoint holds everything the next step depends on: weights, optimisers, loss scaler, running
average, and the step, which together with the run's seed decides the data and everything drawn. So
a run that was cut short and continued ends with the weights of one that was not.
"""

import os
import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import load_pickled
from mfrkit.io.files import replacing
from mfrkit.io.hdf5 import FallibleFile
from mfrkit.methods.base import Task
from mfrkit.training.settings import FitOptions

_FORGET = 9  # steps after which the running average is half itself
_NAME = re.compile(r"checkpoint-(\d+)\.pt")


class Average:
    """The exponential running average of a network's weights.

    After many steps it keeps the share `decay` of itself at each; early on less, so that the
    weights before training are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: t.detach().clone() for name, t in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network's weights after `step` steps; whole numbers are copied."""
        decay = min(self.decay, step / (step + _FORGET))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, 1 - decay)
            else:
                self.weights[name].copy_(tensor)


class Start:
    """The weights that what is trained of a network starts with, and the way back to them.

    As weight decay apart from the gradient (Loshchilov and Hutter, arXiv:1711.05101) goes towards
    zero, this goes towards what was known before: L2-SP (Li, Grandvalet, Davoine, ICML 2018,
    arXiv:1802.01483), decoupled.
    """

    def __init__(self, network: nn.Module) -> None:
        self.weights = {
            name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad
        }

    @torch.no_grad()
    def pull(self, network: nn.Module, share: float) -> None:
        """Move a network's weights a share of the way back, all the way at 1 or more."""
        for name, parameter in network.named_parameters():
            if name in self.weights:
                parameter.lerp_(self.weights[name], min(1.0, share))


class TrainState:
    """All that changes while training.

    Attributes:
        optimisers: by the names of the task's steps.
        step: steps done.
        total: steps of the run, 0 where that is not known.
        best: lowest validation error so far.
        unchecked: why the last check failed; empty after one that did not.
    """

    def __init__(
        self,
        task: Task,
        optimisers: dict[str, torch.optim.Optimizer],
        scaler: torch.amp.GradScaler,
        average: Average | None,
        start: Start | None = None,
    ) -> None:
        self.task, self.optimisers, self.scaler = task, optimisers, scaler
        self.average, self.start = average, start
        self.step = self.total = 0
        self.best = float("inf")
        self.unchecked = ""

    def exported(self) -> dict[str, Tensor]:
        """Return the student's weights as they are to be used: averaged if there is an average."""
        return self.task.student.state_dict() if self.average is None else self.average.weights

    def state_dict(self) -> dict[str, Any]:
        """Return everything, in types that can be loaded without running code."""
        return {
            "task": self.task.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.weights,
            "start": None if self.start is None else self.start.weights,
            "step": self.step,
            "total": self.total,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a saved state.

        Raises:
            WeightsError: the state is another run's.
        """
        try:
            self.task.load_state_dict(state["task"])
            for name, optimiser in self.optimisers.items():
                optimiser.load_state_dict(state["optimisers"][name])
            self.scaler.load_state_dict(state["scaler"])
            for name, kept in (("average", self.average), ("start", self.start)):
                if kept is not None:
                    for key, tensor in state[name].items():
                        kept.weights[key].copy_(tensor)
            self.step, self.best = int(state["step"]), float(state["best"])
            self.total = int(state.get("total", 0))
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            text = str(error).splitlines()[0]
            raise WeightsError(f"the checkpoint does not fit this run: {text}") from error


def create_state(task: Task, options: FitOptions, device: torch.device) -> TrainState:
    """Build optimisers, loss scaler, running average and start for a task on its device."""
    optimisers = {
        name: _optimiser(parameters, options) for name, parameters in task.groups().items()
    }
    scaler = torch.amp.GradScaler(device.type, enabled=options.precision == "fp16")
    average = Average(task.student, options.ema) if options.ema else None
    start = Start(task.student) if options.pull else None
    return TrainState(task, optimisers, scaler, average, start)


def _optimiser(parameters: list[nn.Parameter], options: FitOptions) -> torch.optim.Optimizer:
    if options.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, options.lr, options.momentum, weight_decay=options.weight_decay
        )
    return torch.optim.AdamW(
        parameters, options.lr, options.betas, weight_decay=options.weight_decay
    )


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint whole, then remove all but the newest `keep`; returns the file.

    Raises:
        OSError: the file system refused, for example because it is full.
    """
    path = folder / f"checkpoint-{step:08d}.pt"
    # torch does not pass on why a write failed; the file does.
    with replacing(path) as temporary, FallibleFile(temporary) as file:
        torch.save(state, file)
        file.check()
        os.fsync(file.fileno())
    for old in checkpoints(folder)[:-keep]:
        with suppress(OSError):
            old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the finished checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("checkpoint-*.pt") if _NAME.fullmatch(path.name))


def steps_of(checkpoint: Path) -> int:
    """Return how many steps were done at a checkpoint."""
    return int(checkpoint.stem.rpartition("-")[2])


def load_checkpoint(path: Path, state: TrainState) -> None:
    """Go back to a checkpoint, whatever number of processes it was made by.

    Raises:
        InputError: there is no such file.
        WeightsError: damaged, or another run's.
    """
    try:
        saved = load_pickled(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint") from error
    except (WeightsError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: damaged; remove it to continue from an older one") from error
    try:
        state.load_state_dict(saved)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
