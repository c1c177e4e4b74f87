"""Free-form holes: brush strokes, so that a generator does not learn the shapes of masks alone.

Paper:
    Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019, arXiv:1806.03589,
    section 3.4: strokes that turn by bounded angles, with round joints.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_STROKES = (1, 4)  # fewest, most
_CORNERS = (3, 9)
_LENGTH = (0.06, 0.28)  # of a straight piece, in sides of the picture
_WIDTH = (0.05, 0.18)


def draw_strokes(generator: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Draw the hole of one face.

    Args:
        generator: source of all that is drawn.
        size: (height, width) in pixels.

    Returns:
        (H, W) float32, 0 or 1.

    Example:
        >>> hole = draw_strokes(np.random.default_rng(0), (112, 112))
        >>> sorted(set(hole.flatten().tolist()))
        [0.0, 1.0]
    """
    height, width = size
    side = min(size)
    hole = np.zeros(size, np.uint8)
    for _ in range(generator.integers(*_STROKES, endpoint=True)):
        count = int(generator.integers(*_CORNERS, endpoint=True))
        # The pen swings to and fro about a direction, which makes blots rather than lines.
        turns = generator.uniform(0.2 * np.pi, 0.6 * np.pi, count) * (-1) ** np.arange(count)
        angles = generator.uniform(0, 2 * np.pi) + np.cumsum(turns)
        lengths = side * generator.uniform(*_LENGTH, count)
        steps = np.column_stack([np.cos(angles), np.sin(angles)]) * lengths[:, None]
        start = generator.uniform(0.1, 0.9, 2) * (width, height)
        corners = np.vstack([start, start + np.cumsum(steps, 0)])
        corners = corners.clip(0, (width - 1, height - 1)).round().astype(np.int32)
        brush = max(2, round(side * generator.uniform(*_WIDTH)))
        cv2.polylines(hole, [corners[:, None]], False, 1, brush)
        for corner in corners.tolist():
            cv2.circle(hole, corner, brush // 2, 1, -1)
    return hole.astype(np.float32)
