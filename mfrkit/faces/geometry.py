"""From five points to an aligned crop: template, similarity fit, inverse maps, warp.

NumPy and OpenCV rather than torch: the points come from the CPU side of the detector, photos are
uint8 of any size, and OpenCV warps one in 0.10 ms where kornia in batches of 32 takes 0.58 ms.
"""

import cv2
import numpy as np

from mfrkit.errors import InputError, ItemError, ShapeError

ARCFACE_SIZE = 112
_LARGEST = 4480  # pixels a side of a crop: 60 MB each
_WIDEST = 10  # crop sides of context: of 112 pixels, five are left to the face
_WARPED = 32_000  # pixels a side, more than which OpenCV 4 does not warp
_ARCFACE_POINTS = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)


def template(size: int = ARCFACE_SIZE, margin: float = 0.0) -> np.ndarray:
    """Say where the five points belong in a crop, (5, 2) float64, in ArcFace order.

    Convention:
        (x, y) in crop pixels, scaled as InsightFace does: pixel 0 stays at 0. The margin shrinks
        the face about (size / 2, size / 2), so that the middle of `template(224, 0.5)` is the
        plain 112-pixel crop, pixel for pixel.

    Args:
        size: side of the square crop, a multiple of 112 pixels.
        margin: how much more the crop shows on each side, in sides of the plain crop, 0 to 10.

    Raises:
        InputError: size is not a positive multiple of 112 or too large, or margin is out of range.

    Example:
        >>> template(224)[2].tolist()
        [112.0504, 143.4732]
        >>> (template(224, margin=0.5) - template()).round(9).tolist()[0]
        [56.0, 56.0]
    """
    return place_in_crop(np.array(_ARCFACE_POINTS), size, margin)


def place_in_crop(points: np.ndarray, size: int, margin: float) -> np.ndarray:
    """Take points (..., 2) of the plain 112-pixel crop to where another crop shows them.

    Size, margin and errors are those of `template`.
    """
    if size < ARCFACE_SIZE or size % ARCFACE_SIZE:
        raise InputError(f"crop size {size} is not a multiple of 112; use 112, 224, 336 or 448")
    if size > _LARGEST:
        raise InputError(f"crop size {size} is more than {_LARGEST} pixels a side")
    if not 0 <= margin <= _WIDEST:
        raise InputError(f"margin {margin} is not a share of the crop's side; use 0 to {_WIDEST}")
    points = np.asarray(points, np.float64) * (size / ARCFACE_SIZE)
    return (points - size / 2) / (1 + 2 * margin) + size / 2


def similarity_from_points(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the rotation, uniform scale and shift that take points to a target, without mirroring.

    Paper:
        Umeyama, IEEE TPAMI 13(4), 1991: least-squares similarity, two-dimensional case. With
        points as complex numbers it is one division.

    Args:
        points: (..., N, 2) float, detected points, N >= 2; x right, y down.
        target: (N, 2) float, where those points should land.

    Returns:
        (..., 2, 3) float64, matrices that take point coordinates to target coordinates.

    Raises:
        ShapeError: `points` is not (..., N, 2) with the target's N.
        ItemError: the points of a face coincide or are not finite.
    """
    if points.ndim < 2 or points.shape[-2:] != target.shape:
        raise ShapeError(f"expected points (..., {len(target)}, 2), got {points.shape}")
    source = points[..., 0] + 1j * points[..., 1].astype(np.float64)
    goal = target[..., 0] + 1j * target[..., 1].astype(np.float64)
    source_mean, goal_mean = source.mean(-1, keepdims=True), goal.mean()
    source = source - source_mean
    spread = (np.abs(source) ** 2).sum(-1)
    if not (np.isfinite(spread) & (spread > 0)).all():
        raise ItemError("the points of a face coincide or are not finite: no crop can be fitted")
    turn = (source.conj() * (goal - goal_mean)).sum(-1) / spread
    shift = goal_mean - turn * source_mean[..., 0]
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def invert(matrix: np.ndarray) -> np.ndarray:
    """Turn (..., 2, 3) photo-to-crop matrices into crop-to-photo matrices."""
    linear = np.linalg.inv(np.asarray(matrix, dtype=np.float64)[..., :2])
    shift = -(linear @ matrix[..., 2:])
    return np.concatenate([linear, shift], -1)


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move points (..., N, 2) by affine matrices (..., 2, 3), (x, y) in pixels."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return points @ matrix[..., :2].swapaxes(-1, -2) + matrix[..., None, :, 2]


def warp(photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Cut an aligned square (size, size, 3) out of a photo (H, W, 3), uint8, by the (2, 3) map.

    Bilinear; black beyond the photo. A face more than twice as large as in the crop is first
    averaged down by a whole factor, so that fine detail does not alias.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5 or max(photo.shape[:2]) > _WARPED:
        photo, matrix = _reduce(photo, matrix, size, factor=max(1, int(1 / scale)))
    return cv2.warpAffine(photo, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=0)


def _reduce(
    photo: np.ndarray, matrix: np.ndarray, size: int, factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average the part of the photo that the crop shows over blocks of `factor` pixels a side."""
    height, width = photo.shape[:2]
    edges = np.array([[-1, -1], [size, -1], [-1, size], [size, size]], dtype=np.float64)
    corners = transform_points(edges, invert(matrix))
    low = np.floor(corners.min(0) - factor).clip(0, [width - 1, height - 1]).astype(int)
    high = np.ceil(corners.max(0) + factor + 1).clip(low + 1, [width, height]).astype(int)
    part = photo[low[1] : high[1], low[0] : high[0]]
    blocks = -(-(high - low) // factor)
    right, bottom = (blocks * factor - (high - low)).tolist()
    part = cv2.copyMakeBorder(part, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    part = cv2.resize(part, blocks.tolist(), interpolation=cv2.INTER_AREA)
    # Pixel j of the part has its centre at low + factor * j + (factor - 1) / 2 of the photo.
    matrix = matrix.astype(np.float64)
    origin = transform_points((low + (factor - 1) / 2)[None], matrix)
    return part, np.concatenate([matrix[:, :2] * factor, origin.T], 1)
