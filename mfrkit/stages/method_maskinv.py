"""MaskInv for `mfrkit distill`: how it is put together, and its presets."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mfrkit.errors import InputError
from mfrkit.losses.head import MarginHead
from mfrkit.losses.partial import PartialHead
from mfrkit.methods.maskinv import MaskInv, MaskInvOptions
from mfrkit.methods.tap import Tap
from mfrkit.stages.margin_heads import build_head
from mfrkit.stages.method import Method, MethodParts
from mfrkit.stages.presets import SMALL_VIEWS, Preset

# MS1MV2 at 512 faces a step: 26 epochs, the rate divided by ten at four of them, no warm-up. Huber
# et al., arXiv:2112.05646, and the configuration published with it.
_PAPER: Preset = {
    "model": {"student": "iresnet100", "init": "scratch"},
    "method": {"distance": "mse", "template": 100.0, "identity": 1.0, "margin": "elastic-arc"},
    "views": {"flip": 0.5},
    "masks": {"types": "surgical", "probability": 0.5},
    "fit": {
        "epochs": 26.0,
        "batch_size": 512,
        "optimiser": "sgd",
        "lr": 0.1,
        "weight_decay": 5e-4,
        "schedule": "step",
        "milestones": (7.0, 13.0, 19.0, 24.0),
        "warmup": 0,
    },
}

_PRESETS: Mapping[str, Preset] = {
    "small": {
        "model": {"student": "mobilefacenet"},
        "method": {"distance": "cosine", "template": 1.0},
        "views": SMALL_VIEWS,
        "masks": {"probability": 0.75},
        "fit": {"epochs": 3.0, "batch_size": 48, "lr": 4e-4, "warmup": 30},
    },
    "paper": _PAPER,
    # High guidance is applied to the low-guidance student of epoch 20 (give it as --init).
    "paper-hg": {
        **_PAPER,
        "method": {**_PAPER["method"], "template": 3000.0},
        "fit": {**_PAPER["fit"], "epochs": 6.0, "lr": 1e-3, "milestones": (4.0,)},
    },
}


def _build(parts: MethodParts, options: MaskInvOptions) -> MaskInv:
    return MaskInv(**recognition_parts(parts, options))


def recognition_parts(parts: MethodParts, options: MaskInvOptions) -> dict[str, Any]:
    """Return the arguments of MaskInv: the classifier, projection and taps its options ask for.

    Raises:
        InputError: the data or the teachers do not allow what the options ask for.
    """
    dim, teachers = parts.student.card.embedding_dim or 0, parts.teachers
    return {
        "student": parts.student,
        "teacher": teachers,
        "head": _head(parts, options) if options.identity else None,
        "projection": None if dim == teachers.dim else nn.Linear(dim, teachers.dim, bias=False),
        "taps": _taps(parts, options.stage) if options.attention else None,
        "options": options,
        "real": parts.real,
        "unnamed": parts.unnamed,
    }


def _head(parts: MethodParts, options: MaskInvOptions) -> MarginHead | PartialHead:
    return build_head(parts, options.margin, options.scale, options.sample)


def _taps(parts: MethodParts, stage: str) -> tuple[Tap, Tap]:
    if parts.templates_known:
        raise InputError(
            "method.attention needs the teacher at every step, --teacher-cache leaves it out; "
            "choose one of them"
        )
    return Tap(parts.student, stage), Tap(parts.teachers, stage)


METHOD = Method(
    options=MaskInvOptions,
    build=_build,
    paper="Huber et al., Mask-invariant Face Recognition through Template-level Knowledge "
    "Distillation, FG 2021, arXiv:2112.05646",
    presets=_PRESETS,
    takes_real=True,
)
