"""Crops of any size and margin as wide crops, in which the mesh network's squares are cut."""

from dataclasses import replace

import numpy as np

from mfrkit.errors import ImageError
from mfrkit.faces.geometry import ARCFACE_SIZE, transform_points, warp
from mfrkit.io.images import read_image
from mfrkit.methods.looks import WIDE
from mfrkit.stages.train_crops import TrainCrop, face_place
from mfrkit.stages.train_faces import TrainFace


def read_wide(face: TrainFace) -> TrainCrop:
    """Read an aligned crop as a wide one; black where it shows less.

    Args:
        face: whose record has the crop's margin, if it has one.

    Returns:
        (224, 224, 3) uint8 RGB with the plain 112-pixel crop in the middle.

    Raises:
        ImageError: unreadable, no aligned crop, or points that are none.
    """
    crop = read_image(face.path)
    height, width = crop.shape[:2]
    if height != width or width % ARCFACE_SIZE:
        raise ImageError(f"{width}x{height} is no crop of an aligned face, run mfrkit align")
    align = face.record.blocks.get("align")
    try:
        margin = float(align.get("margin", 0.0)) if isinstance(align, dict) else 0.0
    except (TypeError, ValueError) as error:
        raise ImageError("malformed align block: margin") from error
    scale = ARCFACE_SIZE * (1 + 2 * margin) / width
    move = np.array([[scale, 0, 0], [0, scale, 0]])
    move[:, 2] = (WIDE - scale * width) / 2
    place = face_place(face.record, crop.shape)
    points, landmarks = (transform_points(each, move) for each in (place.points, place.landmarks))
    place = replace(place, points=points.astype(np.float32), landmarks=landmarks.astype(np.float32))
    if scale != 1 or width != WIDE:
        crop = warp(crop, move, WIDE)
    return TrainCrop(crop, place)
