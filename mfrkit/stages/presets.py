"""Named settings: tables that a file, assignments and options are laid over."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from mfrkit.errors import InputError

# Whatever a preset does not name has its default.
Preset = Mapping[str, Mapping[str, Any]]
Chosen = TypeVar("Chosen")

# How faces vary for students on a laptop: light, and the detector's and the camera's errors.
SMALL_VIEWS: Mapping[str, float] = {
    "gain": 0.15,
    "offset": 0.1,
    "rotation": 2.5,
    "scale": 0.03,
    "shift": 0.0134,
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
        near = difflib.get_close_matches(wanted, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise InputError(f"unknown {what} {wanted!r}{hint} Known: {', '.join(known)}")
    return known[wanted]
