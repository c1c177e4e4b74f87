"""How a network is trained: the options of the one loop, and the learning rate they imply."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mfrkit.errors import InputError

Optimiser = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "step", "constant"]
Precision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class FitOptions:
    """The loop's options.

    Attributes:
        epochs: passes over the data; counts where `steps` is 0.
        steps: optimiser steps.
        batch_size: faces per step, over all processes.
        optimiser: `adamw`, or `sgd` with momentum.
        lr: learning rate at its highest.
        momentum: of `sgd`.
        betas: of `adamw`, the decays of its two running averages.
        weight_decay: of either.
        pull: towards the weights the run starts with, apart from the gradient: after each step the
            student goes the share `pull` times the learning rate of its way back; 0 for none.
        schedule: `cosine` down to `final`, `step` (times `decay` at each milestone) or `constant`.
        warmup: steps over which the rate first rises in a straight line.
        final: last rate of `cosine`, as a share of `lr`.
        milestones: epochs at which `step` acts.
        decay: factor of each milestone.
        clip: largest norm of the student's gradient, 0 for no limit.
        precision: of the networks' arithmetic: `fp32`, or `fp16` or `bf16` mixed with it.
        compile: fuse the student's arithmetic into compiled kernels; needs a C++ compiler, pays
            in runs of more than some minutes.
        ema: decay of the running average of the weights that is exported, 0 for none.
        log_every: steps between lines of the history.
        check_every: steps between checks on a pair list; there is one at the end in any case.
        save_every: steps between checkpoints.
        keep: checkpoints kept.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    epochs: float = 10.0
    steps: int = 0
    batch_size: int = 64
    optimiser: Optimiser = "adamw"
    lr: float = 4e-4
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    pull: float = 0.0
    schedule: Schedule = "cosine"
    warmup: int = 30
    final: float = 0.02
    milestones: tuple[float, ...] = ()
    decay: float = 0.1
    clip: float = 5.0
    precision: Precision = "fp32"
    compile: bool = False
    ema: float = 0.0
    log_every: int = 20
    check_every: int = 0
    save_every: int = 200
    keep: int = 2

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(
                    f"fit.{name} {getattr(self, name)!r}: expected one of {', '.join(choices)}"
                )
        for name in ("batch_size", "log_every", "save_every", "keep", "lr", "decay"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"fit.{name} must be positive, not {getattr(self, name)}")
        for name in ("steps", "warmup", "check_every", "clip", "weight_decay", "pull", "final"):
            if getattr(self, name) < 0:
                raise InputError(f"fit.{name} must not be negative, not {getattr(self, name)}")
        if not (self.steps or self.epochs > 0):
            raise InputError("fit.steps or fit.epochs must be positive")
        for name in ("ema", "momentum", "betas"):
            if not all(0 <= value < 1 for value in np.atleast_1d(getattr(self, name))):
                raise InputError(f"fit.{name} must be from 0 to below 1, not {getattr(self, name)}")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return how many steps the run takes.

        Example:
            >>> FitOptions(epochs=1.5).total_steps(100), FitOptions(steps=7).total_steps(100)
            (150, 7)
        """
        return self.steps or max(1, round(self.epochs * steps_per_epoch))


_CHOICES: dict[str, tuple[str, ...]] = {
    "optimiser": get_args(Optimiser),
    "schedule": get_args(Schedule),
    "precision": get_args(Precision),
}


def lr_factor(step: int, total: int, steps_per_epoch: int, options: FitOptions) -> float:
    """Return the learning rate of a step as a share of its highest.

    Args:
        step: from 0.
        total: steps of the run.
        steps_per_epoch: steps of one pass over the data.
        options: schedule, warm-up and the rest.

    Example:
        >>> options = FitOptions(warmup=2, final=0.0)
        >>> [round(lr_factor(step, 6, 3, options), 2) for step in range(6)]
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < options.warmup:
        return (step + 1) / options.warmup
    if options.schedule == "constant":
        return 1.0
    if options.schedule == "step":
        passed = sum(step >= epoch * steps_per_epoch for epoch in options.milestones)
        return float(options.decay**passed)
    done = (step - options.warmup) / max(1, total - options.warmup)
    return options.final + (1 - options.final) * (1 + math.cos(math.pi * min(1.0, done))) / 2
