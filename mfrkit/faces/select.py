"""Which of the faces found in a photo go on."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face

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
    """Choose faces of one photo.

    "largest" takes the face with the largest box. "center" takes the one with the largest
    ``area - 2 * d ** 2``, where d is the distance from the box's centre to the photo's: the large
    face in the middle, as a photographer would mean it; faces less than a quarter as large as the
    largest are nobody's subject, wherever they are. "all" takes every face, largest first.

    Args:
        faces: what a detector found.
        policy: how to choose.
        photo_size: (height, width) of the photo, pixels.
        min_score: lowest score that counts.
        min_size: smallest box that counts, by its longer side, pixels.

    Returns:
        The chosen faces, at most one unless `policy` is "all".

    Raises:
        InputError: unknown policy.

    Example:
        >>> big = Face(np.array([0.0, 0, 50, 50]), 0.9, np.zeros((5, 2)))
        >>> middle = Face(np.array([80.0, 80, 120, 120]), 0.9, np.zeros((5, 2)))
        >>> select([big, middle], "largest", (200, 200)) == [big]
        True
        >>> select([big, middle], "center", (200, 200)) == [middle]
        True
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
