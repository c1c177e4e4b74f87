"""How well predicted regions cover the true ones."""

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError


def intersection_over_union(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the overlap of regions, face by face.

    Args:
        predicted: (B, H, W) bool.
        true: (B, H, W) bool.

    Returns:
        (B,) float64 in [0, 1]: pixels in both over pixels in either; 1 where both are empty.

    Raises:
        ShapeError: the two differ in shape.

    Example:
        >>> one = np.array([[[True, True, False, False]]])
        >>> intersection_over_union(one, np.array([[[False, True, True, False]]])).tolist()
        [0.3333333333333333]
    """
    if predicted.shape != true.shape or predicted.ndim != 3:
        raise ShapeError(f"regions must be (B, H, W), got {predicted.shape} and {true.shape}")
    shared = (predicted & true).sum((1, 2))
    either = (predicted | true).sum((1, 2))
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))
