"""Faces to measure a network on: plain, or under masks that are drawn the same each time."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.errors import ImageError, InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, Rendered
from mfrkit.masks.sampling import sample_spec
from mfrkit.stages.train_crops import read_crop
from mfrkit.stages.train_data import Read
from mfrkit.stages.train_faces import Faces

_SEED = 7  # of the masks: the same in every check of every run


class HeldFace(NamedTuple):
    """One face: its key, (H, W, 3) uint8 RGB, and (5, 2) float32 points."""

    key: str
    crop: NDArray[np.uint8]
    points: NDArray[np.float32]


def read_faces(faces: Faces, size: tuple[int, int], read: Read | None = None) -> list[HeldFace]:
    """Read crops; unreadable ones are left out.

    Args:
        faces: to read.
        size: (height, width) they must have.
        read: see `Batches`.

    Raises:
        InputError: not one can be read.
    """
    found: list[HeldFace] = []
    reason = "there are none"
    read = read or partial(read_crop, size=size)
    for face in faces:
        try:
            crop = read(face)
        except ImageError as error:
            reason = f"{face.path}: {error}"
            continue
        found.append(HeldFace(face.record.key, crop.pixels, crop.place.points))
    if not found:
        raise InputError(f"none of the {len(faces)} crops to check on is usable: {reason}")
    return found


def stack_crops(faces: Sequence[HeldFace], device: torch.device) -> Tensor:
    """Return faces of one size as (B, 3, H, W) float32 RGB in [0, 1]."""
    crops = torch.from_numpy(np.stack([face.crop for face in faces])).to(device)
    return crops.permute(0, 3, 1, 2).float() / 255


def wear_masks(
    renderer: MaskRenderer, faces: Sequence[HeldFace], crops: Tensor, masks: MaskOptions
) -> Rendered:
    """Draw a mask on each face; which one follows from its key.

    Args:
        renderer: on the device of the crops.
        faces: B faces.
        crops: their pixels, from `stack_crops`.
        masks: what may be drawn.

    Returns:
        Masked faces and regions.
    """
    points = torch.from_numpy(np.stack([face.points for face in faces])).to(crops.device)
    return renderer(crops, points, [sample_spec(_SEED, face.key, masks) for face in faces])
