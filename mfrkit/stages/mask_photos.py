"""Masks on full photos: each face is drawn in a window of its own and laid back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mfrkit.masks.jpeg import BLOCK
from mfrkit.masks.pictures import mask_pictures
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.spec import MaskSpec
from mfrkit.stages.mask_inputs import Place

_REACH = 3.4  # half side of a window in distances between eyes or from eyes to mouth


def mask_photo(
    renderer: MaskRenderer,
    photo: NDArray[np.uint8],
    places: Sequence[Place],
    specs: Sequence[MaskSpec],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """Mask every face of a photo, the smallest (farthest) first.

    Args:
        renderer: draws them.
        photo: (H, W, 3) uint8 RGB; not written to.
        places: where the faces are.
        specs: their masks, in the same order.

    Returns:
        The masked photo; (H, W) uint8, how much of each pixel is covered; and each face's own
        region in that shape, in the order of `places`.
    """
    masked = photo.copy()
    regions = [np.zeros(photo.shape[:2], np.uint8) for _ in places]
    for at in sorted(range(len(places)), key=lambda i: _size(places[i])):
        box = _window(places[at], photo.shape)
        window = masked[box]
        if 0 in window.shape:
            continue
        origin = np.array([box[1].start, box[0].start], np.float32)
        place = places[at]
        points, landmarks = place.points - origin, place.landmarks - origin
        drawn, region = mask_pictures(
            renderer, window[None], points[None], [specs[at]], landmarks[None], place.turn[None]
        )
        masked[box], regions[at][box] = drawn[0], region[0]
    return masked, np.maximum.reduce(regions), regions


def _size(place: Place) -> float:
    """Return the face's size in pixels: a turn shortens one of two lengths, not both."""
    left, right, _, mouth_left, mouth_right = place.points.astype(np.float64)
    across = np.hypot(*(right - left))
    down = np.hypot(*((mouth_left + mouth_right - left - right) / 2))
    return float(max(across, down))


def _window(place: Place, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the part of a photo that a mask on the face, or the light on it, can touch."""
    center = place.points.mean(axis=0).astype(np.float64)
    reach = _REACH * _size(place)
    # On the photo's JPEG grid, which the renderer looks for from the window's corner.
    corner = np.floor((center - reach) / BLOCK) * BLOCK
    low = np.clip(corner, 0, [shape[1], shape[0]]).astype(int)
    high = np.clip(np.ceil(center + reach), 0, [shape[1], shape[0]]).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
