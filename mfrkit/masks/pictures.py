"""Masks on decoded pictures: uint8 in, uint8 out, converting only the pixels masks touch."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mfrkit.masks.catalog import PASTED
from mfrkit.masks.jpeg import add_grain
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import MaskSpec

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
        >>> from mfrkit.masks.sampling import sample_spec
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
