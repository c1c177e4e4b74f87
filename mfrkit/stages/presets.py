"""Named settings of `mfrkit distill`: those of the papers, and those trained on a laptop.

A preset is tables of settings; whatever it does not name has its default.
"""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from mfrkit.errors import InputError

Preset = Mapping[str, Mapping[str, Any]]
Chosen = TypeVar("Chosen")

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

PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "maskinv": {
        "small": {
            "model": {"student": "mobilefacenet"},
            "method": {"distance": "cosine", "template": 1.0},
            "views": {
                "gain": 0.15,
                "offset": 0.1,
                "rotation": 2.5,
                "scale": 0.03,
                "shift": 0.0134,
                "blur": 0.1,
            },
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
    },
}


def find_preset(method: str, name: str) -> Preset:
    """Return a preset.

    Raises:
        InputError: no such method or preset.

    Example:
        >>> find_preset("maskinv", "paper-hg")["method"]["template"]
        3000.0
    """
    return choose("preset", name, choose("method", method, PRESETS))


def choose(what: str, wanted: str, known: Mapping[str, Chosen]) -> Chosen:
    """Return what goes by a name.

    Args:
        what: the names are, for the message.
        wanted: the name.
        known: all there are.

    Raises:
        InputError: no such name.
    """
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise InputError(f"unknown {what} {wanted!r}{hint} Known: {', '.join(known)}")
    return known[wanted]
