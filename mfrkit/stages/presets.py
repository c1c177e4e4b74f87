"""Named settings: tables that a file, assignments and options are laid over."""

from collections.abc import Mapping
from typing import Any, TypeVar

from mfrkit.errors import InputError, instead

# Whatever a preset does not name has its default.
Preset = Mapping[str, Mapping[str, Any]]
Chosen = TypeVar("Chosen")

# How faces vary for students on a laptop: light, alignment, and the camera's errors. Faces that
# were cut out wide are aligned with their masks on; others are misaligned as 1,500 photos of LFW
# were by the masks drawn on them (examples/measure_misalignment.py).
SMALL_VIEWS: Mapping[str, Any] = {
    "gain": 0.15,
    "offset": 0.1,
    "rotation": 1.9,
    "scale": 0.033,
    "shift": 0.0066,
    "tail": 4.0,
    "align": "mesh",
    "blur": 0.1,
}


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
        raise InputError(f"unknown {what} {wanted!r}{instead(wanted, [*known])}")
    return known[wanted]
