"""Boxes that overlap: greedy non-maximum suppression within groups, on plain arrays.

Candidate boxes are few next to pixels, so they live on the CPU as numpy arrays even when the
networks do not.
"""

from typing import Literal

import numpy as np

_BLOCK = 256  # best boxes compared at once with all others: memory grows with N, not N squared


def suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    *,
    relative_to: Literal["union", "smaller"] = "union",
) -> np.ndarray:
    """Drop every box that overlaps a better one of its group.

    Convention:
        "union" compares real-valued areas, (x2 - x1) * (y2 - y1). "smaller" divides by the smaller
        area and counts both edge pixels, (x2 - x1 + 1) * (y2 - y1 + 1), as the last stage of MTCNN
        has it, so that a box inside another goes even when it is small.

    Args:
        boxes: (N, 4) float x1, y1, x2, y2, pixels.
        scores: (N,) float, higher is better; of equals the earlier wins.
        groups: (N,) int; boxes of different groups never meet.
        threshold: a box goes when its overlap with a kept one is above this share.
        relative_to: what the shared area is divided by.

    Returns:
        (M,) int64 indices of the kept boxes, by group, best score first within a group.

    Example:
        >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 10]], dtype=np.float32)
        >>> suppress(boxes, np.array([0.8, 0.9, 0.7]), np.zeros(3, int), 0.5).tolist()
        [1, 2]
    """
    order = np.lexsort((-scores, groups))  # stable: ties keep their order
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    edge = 1.0 if relative_to == "smaller" else 0.0
    kept = [
        _suppress_group(boxes, members, threshold, np.float32(edge))
        for members in np.split(order, ends)
    ]
    return np.concatenate(kept)


def _suppress_group(
    boxes: np.ndarray, members: np.ndarray, threshold: float, edge: np.float32
) -> np.ndarray:
    kept = []
    while len(members) > 1:
        block = min(_BLOCK, len(members))
        clash = _overlap(boxes[members[:block]], boxes[members], edge) > threshold
        alive = np.ones(len(members), dtype=bool)
        for i in range(block):
            if alive[i]:
                alive[i + 1 :] &= ~clash[i, i + 1 :]
        kept.append(members[:block][alive[:block]])
        members = members[block:][alive[block:]]
    return np.concatenate([*kept, members])


def _overlap(some: np.ndarray, others: np.ndarray, edge: np.float32) -> np.ndarray:
    """Share of the common area, (K, N); of the smaller box if `edge`, else of the union."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(high - low + edge, 0.0)
    shared = sides[..., 0] * sides[..., 1]
    area, other_area = _areas(some, edge)[:, None], _areas(others, edge)[None]
    whole = np.minimum(area, other_area) if edge else area + other_area - shared
    # Boxes without area overlap nothing.
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _areas(boxes: np.ndarray, edge: np.float32) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0] + edge) * (boxes[:, 3] - boxes[:, 1] + edge)
