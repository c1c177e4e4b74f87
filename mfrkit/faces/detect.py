"""Faces found in photos: what a detection is, and which of them go on.

Candidate boxes are few next to pixels, so they live on the CPU as numpy arrays even when the
networks do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from mfrkit.errors import InputError, ShapeError

# The vertex at each point of the iBUG 68: jaw, brows, nose, eyes, lips.
IBUG = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)


@dataclass(frozen=True)
class Mesh:
    """The vertices of one face.

    Convention:
        (x, y) in pixels of the photo, x right, y down, pixel centres at integers; z in the same
        unit, smaller is nearer. Vertex numbers are MediaPipe's.
    """

    vertices: np.ndarray  # (468, 3) float64
    score: float  # how sure it is that there is a face, [0, 1]

    @property
    def landmarks(self) -> np.ndarray:
        """Return the 68 landmarks of the iBUG scheme, (68, 2)."""
        return self.vertices[list(IBUG), :2]


@dataclass(frozen=True)
class Face:
    """One detected face.

    Convention:
        (x, y) in pixels of the photo, x right, y down, pixel centres at integers.

    Attributes:
        box: (4,) float32 x1, y1, x2, y2; may reach beyond the photo.
        score: detector confidence in [0, 1].
        points: (5, 2) float32 in ArcFace order: image-left eye, image-right eye, nose tip,
            image-left and image-right mouth corner.
        landmarks: (68, 2) float32 in the iBUG order, when the detector has them.
        point_scores: (68,) float32, confidence of each landmark, when the detector has them.
        mesh: its vertices, once they have been looked for and found.
    """

    box: np.ndarray
    score: float
    points: np.ndarray
    landmarks: np.ndarray | None = None
    point_scores: np.ndarray | None = None
    mesh: Mesh | None = None


class Detector(Protocol):
    """Finds the faces of several photos."""

    def __call__(self, photos: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find the faces of each photo.

        Args:
            photos: RGB uint8 arrays (H, W, 3) of any sizes.

        Returns:
            For each photo its faces, best score first; an empty list where there is none.

        Raises:
            ShapeError: a photo is not (H, W, 3) uint8.
        """


def check_photo(photo: np.ndarray) -> None:
    """Refuse what is not an RGB uint8 photo (H, W, 3), with a ShapeError."""
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ShapeError(f"expected an RGB uint8 photo (H, W, 3), got {photo.dtype} {photo.shape}")


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


Policy = Literal["largest", "center", "all"]
_SUBJECT = 0.25  # least side of a subject's face, in sides of the largest face
_CENTER_WEIGHT = 2.0  # how much a squared pixel off centre costs, in squared pixels of face


def select(
    faces: Sequence[Face],
    policy: Policy,
    photo_size: tuple[int, int],
    *,
    min_score: float = 0.0,
    min_size: float = 0.0,
) -> list[Face]:
    """Choose faces of one photo: at most one, unless the policy is "all".

    "largest" takes the face with the largest box. "center" takes the one with the largest
    ``area - 2 * d ** 2``, where d is the distance from the box's centre to the photo's: the large
    face in the middle, as a photographer would mean it; faces less than a quarter as large as the
    largest are nobody's subject, wherever they are. "all" takes every face, largest first.

    `photo_size` is (height, width); `min_size` counts by the longer side of a box; both in pixels.

    Raises:
        InputError: unknown policy.
    """
    if policy not in ("largest", "center", "all"):
        raise InputError(f"unknown selection {policy!r}; use largest, center or all")
    eligible = [f for f in faces if f.score >= min_score and _sides(f).max() >= min_size]
    if policy == "center":
        least = _SUBJECT * max((_sides(face).max() for face in eligible), default=0.0)
        subjects = [face for face in eligible if _sides(face).max() >= least]
        return sorted(subjects, key=lambda face: _centrality(face, photo_size), reverse=True)[:1]
    by_area = sorted(eligible, key=_area, reverse=True)
    return by_area if policy == "all" else by_area[:1]


def _sides(face: Face) -> np.ndarray:
    return face.box[2:] - face.box[:2]


def _area(face: Face) -> float:
    return float(_sides(face).prod())


def _centrality(face: Face, photo_size: tuple[int, int]) -> float:
    height, width = photo_size
    offset = (face.box[:2] + face.box[2:]) / 2 - (np.array([width, height]) - 1) / 2
    return _area(face) - _CENTER_WEIGHT * float((offset**2).sum())
