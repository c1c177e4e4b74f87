"""What `align --preview` shows of a face: the photo with box and mesh on it, and the crop."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mfrkit.faces.detect import Face
from mfrkit.io.manifest import Record
from mfrkit.stages.contact_sheet import Cell

Colour = tuple[int, int, int]

_SIDE = 320  # pixels of the photo's picture
_BOX, _MESH, _POINTS = (255, 190, 60), (90, 230, 140), (255, 80, 80)


def preview_cells(
    photo: NDArray[np.uint8], face: Face, crop: NDArray[np.uint8], record: Record
) -> list[Cell]:
    """Draw a face's box and vertices on its photo, beside its crop.

    Args:
        photo: (H, W, 3) uint8 RGB.
        face: in pixels of the photo.
        crop: (S, S, 3) uint8 RGB.
        record: of the crop.

    Returns:
        Photo and crop.
    """
    scale = min(1.0, _SIDE / max(photo.shape[:2]))
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    drawn = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    low, high = (np.round(corner * scale).astype(int).tolist() for corner in face.box.reshape(2, 2))
    cv2.rectangle(drawn, low, high, _BOX, 1, cv2.LINE_AA)
    if face.mesh is not None:
        _dots(drawn, face.mesh.vertices[:, :2] * scale, 1, _MESH)
    _dots(drawn, face.points * scale, 2, _POINTS)
    align = record.blocks["align"]
    words = [f"{align['fit']} {align['score']:.2f}"]
    if "yaw" in align:
        words.append(f"yaw {align['yaw']:.0f}")
    if "turned" in align:
        words.append(f"turned {align['turned']}")
    return [Cell(np.asarray(drawn, np.uint8), record.key), Cell(crop, ", ".join(words))]


def _dots(
    picture: cv2.typing.MatLike, places: NDArray[np.floating], radius: int, colour: Colour
) -> None:
    for x, y in np.round(places).astype(int).tolist():
        cv2.circle(picture, (x, y), radius, colour, -1, cv2.LINE_AA)
