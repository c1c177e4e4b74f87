"""Masks on decoded pictures: uint8 in, uint8 out, converting only the pixels masks touch.

The region a mask covers is given back as an outline, for manifests.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.masks.camera import add_grain
from mfrkit.masks.kinds import PASTED
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import MaskSpec


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


_WHITE, _HALF = np.float32(255), np.float32(0.5)


@torch.inference_mode()
def mask_pictures(
    renderer: MaskRenderer,
    pictures: NDArray[np.uint8],
    points: NDArray[np.float32],
    specs: Sequence[MaskSpec],
    landmarks: NDArray[np.float32] | None = None,
    turns: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render one mask per picture.

    Args:
        renderer: Draws them, on its own device.
        pictures: (B, H, W, 3) RGB; not written to.
        points: (B, 5, 2), see `MaskRenderer.forward`.
        specs: B masks.
        landmarks: (B, 68, 2), see `MaskRenderer.forward`; or None.
        turns: (B, 2), likewise.

    Returns:
        (B, H, W, 3) masked pictures and (B, H, W) regions: what `to_uint8` makes of the renderer's
        own answer to the same pictures in [0, 1].

    Raises:
        ShapeError, InputError: see `MaskRenderer.forward`.

    Example:
        >>> from mfrkit.masks.options import MaskOptions
        >>> from mfrkit.masks.spec import sample_spec
        >>> points = np.array([[[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]]], np.float32)
        >>> grey = np.full((1, 112, 112, 3), 128, np.uint8)
        >>> spec = sample_spec(7, "ann", MaskOptions())
        >>> masked, region = mask_pictures(MaskRenderer(), grey, points, [spec])
        >>> bool((masked[region == 0] <= 128).all())
        True
    """
    device = renderer.tiles.grain.device
    masked, region = pictures.copy(), np.zeros(pictures.shape[:3], np.uint8)
    for wearers, layer in renderer.layers(pictures, points, specs, landmarks, turns, device):
        box = (layer.rows, layer.columns)
        alpha, keep, color = (p.cpu().numpy() for p in (layer.alpha, layer.keep, layer.color))
        laid: Iterable[NDArray[np.float32]] = _lay([pictures[i][box] for i in wearers], keep, color)
        if layer.quality is not None:
            laid = list(laid)
            add_grain(torch.from_numpy(color), torch.from_numpy(alpha), layer.quality)
        for i, shown, covered in zip(wearers, laid, alpha, strict=True):
            masked[i][box] = cv2.merge(list(_levels(shown)))
            region[i][box] = _levels(covered)
    pasted = [i for i, spec in enumerate(specs) if spec.kind in PASTED]
    if pasted:
        faces = torch.from_numpy(pictures[pasted]).to(device).permute(0, 3, 1, 2).float().div_(255)
        flat = renderer(faces, torch.from_numpy(points[pasted]), [specs[i] for i in pasted])
        masked[pasted] = to_uint8(flat.masked).permute(0, 2, 3, 1).cpu().numpy()
        region[pasted] = to_uint8(flat.region)[:, 0].cpu().numpy()
    return masked, region


def _lay(
    pictures: Sequence[NDArray[np.uint8]], keep: NDArray[np.float32], color: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """Add what is left of pictures to `color`, and yield each when it is done.

    One by one, so that the planes of a face are still in the cache when they are used.
    """
    for picture, left, shown in zip(pictures, keep, color, strict=True):
        planes = picture.transpose(2, 0, 1).astype(np.float32, order="C")
        planes /= _WHITE
        planes *= left
        shown += planes
        yield shown


def _levels(planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return what `to_uint8` gives, at half its cost, and overwrite the planes."""
    planes *= _WHITE
    planes += _HALF
    return np.clip(planes, 0, _WHITE, out=planes).astype(np.uint8)
