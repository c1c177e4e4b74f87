"""The straps of masks: thin cover, of which a region predictor is seldom sure.

A line of a pixel or two is half skin wherever it is looked for. But it hangs on a mask, and of that
the predictor is sure. (Canny, PAMI 8(6), 1986, follows edges in the same way.)
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SURE, _LIKELY = 0.75, 0.15
_WIDEST = 7  # what is as wide is no strap, but cheek that looks a little like cover
_SQUARE, _NEXT = np.ones((_WIDEST, _WIDEST), np.uint8), np.ones((3, 3), np.uint8)


def find_straps(predicted: Tensor) -> Tensor:
    """Find narrow likely cover that hangs on sure cover.

    Args:
        predicted: (B, 1, H, W) float in [0, 1], how sure a predictor is of cover; crops of 112.

    Returns:
        The same shape, 1 on straps and a pixel round them, 0 elsewhere.

    Example:
        >>> predicted = torch.zeros(1, 1, 24, 24)
        >>> predicted[..., 12:, 4:20] = 0.9
        >>> predicted[..., 2:12, 6] = 0.2
        >>> find_straps(predicted)[0, 0, 5, :12].int().tolist()
        [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    """
    planes = predicted[:, 0].float().cpu().numpy()
    found = np.stack([_straps(plane) for plane in planes])[:, None]
    return torch.from_numpy(found).to(predicted)


def _straps(predicted: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the straps of one face, (H, W), 0 or 1."""
    count, pieces = cv2.connectedComponents((predicted > _LIKELY).astype(np.uint8))
    hangs = np.zeros(count, np.uint8)
    hangs[pieces[predicted > _SURE]] = 1
    hanging = hangs[pieces]
    broad = cv2.morphologyEx(hanging, cv2.MORPH_OPEN, _SQUARE)
    return cv2.dilate(hanging - broad, _NEXT).astype(np.uint8, copy=False)
