"""Read the region of a masked face from the file its manifest names, or from a folder of PNGs."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError, InputError
from mfrkit.io.images import read_image
from mfrkit.io.item import Item, root_of
from mfrkit.io.manifest import Record, check_inside

_FIELDS = ("region", "region_exact")


def read_region(item: Item, place: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read how much of each pixel of a face is covered.

    Args:
        item: the face.
        place: `manifest`, or a folder with a PNG under each face's key.
        size: (height, width) of the face.

    Returns:
        (H, W) uint8, 255 where the face is fully covered.

    Raises:
        ImageError: no region for this face, an unreadable one, or one of another size.
    """
    if place == "manifest":
        if _is_bare(item.record):
            return np.zeros(size, np.uint8)
        path = root_of(item) / _named(item.record)
    else:
        path = Path(place) / f"{item.record.key}.png"
    try:
        region = read_image(path)[..., 0]
    except ImageError as error:
        raise ImageError(f"no region: {path}: {error}") from error
    if region.shape != size:
        height, width = region.shape
        raise ImageError(f"region of another size: {width}x{height}, the face {size[1]}x{size[0]}")
    return region


def _is_bare(record: Record) -> bool:
    """Whether the manifest says that no mask was drawn on the face."""
    block = record.blocks.get("mask")
    return isinstance(block, dict) and block.get("type") == "none" and "region" not in block


def _named(record: Record) -> str:
    """Return the region file a record names, relative to its manifest."""
    for stage in ("mask", "inpaint"):
        block = record.blocks.get(stage)
        names = [block.get(field) for field in _FIELDS] if isinstance(block, dict) else []
        for name in names:
            if isinstance(name, str):
                try:
                    check_inside(name, "region")
                except InputError as error:
                    raise ImageError(str(error)) from error
                return name
    raise ImageError("no region in its record: use --region predicted")
