"""Regions as outlines, for manifests."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def outline_polygon(region: NDArray[Any], half: float = 0.5) -> NDArray[np.int32]:
    """Trace where a region crosses one half, the largest piece of it.

    Args:
        region: (H, W) in [0, 1], or in [0, 255] with `half` 127.
        half: What a pixel must exceed to count as covered.

    Returns:
        (N, 2) int32, (x, y) of pixel centres round the mask; (0, 2) if nothing is covered.

    Example:
        >>> square = np.zeros((8, 8), np.float32)
        >>> square[2:5, 3:6] = 1
        >>> sorted(map(tuple, outline_polygon(square).tolist()))
        [(3, 2), (3, 4), (5, 2), (5, 4)]
    """
    inside = (region > half).astype(np.uint8)
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2), np.int32)
    largest = max(contours, key=cv2.contourArea)
    return np.asarray(cv2.approxPolyDP(largest, 0.6, True)[:, 0], dtype=np.int32)
