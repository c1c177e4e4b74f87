"""Which mask a face wears, as the record of its picture tells it."""

import math
from typing import Any

from mfrkit.io.manifest import Record

_BARE: dict[str, Any] = {"type": "none"}


def worn_mask(record: Record) -> dict[str, Any] | None:
    """Return the mask of a record's face: its kind is `type`, `none` if nothing was drawn on it.

    Masks drawn on a photo are a list of faces; a crop that was cut from the photo later shows one
    of them, the one whose points are nearest. A photo that gave no crop counts as its largest face.

    Args:
        record: of a crop, or of a masked photo.

    Returns:
        The block that describes one face's mask; None if the record tells of no mask.
    """
    block = record.blocks.get("mask")
    if not isinstance(block, dict):
        return None
    listed = block.get("faces")
    if not isinstance(listed, list):
        return block
    align = record.blocks.get("align")
    faces = [(face, at) for face in listed if isinstance(face, dict) and (at := _place(face))]
    if not faces or not isinstance(align, dict):
        return max(faces, key=lambda each: each[1][2], default=(block, None))[0]
    cut = _place(align)
    if cut is None:
        return block
    nearest, place = min(faces, key=lambda each: math.dist(each[1][:2], cut[:2]))
    return nearest if math.dist(place[:2], cut[:2]) < place[2] else _BARE


def _place(face: dict[str, Any]) -> tuple[float, float, float] | None:
    """Return x and y between a face's eyes, which no mask moves, and its size, in pixels.

    None without points that make sense.
    """
    try:
        (ax, ay), (bx, by), _, *mouth = ((float(x), float(y)) for x, y in face["points"])
        (cx, cy), (dx, dy) = mouth
    except (KeyError, TypeError, ValueError):
        return None
    x, y = (ax + bx) / 2, (ay + by) / 2
    # A turn shortens one of two lengths, not both.
    return x, y, max(math.hypot(bx - ax, by - ay), math.hypot((cx + dx) / 2 - x, (cy + dy) / 2 - y))
