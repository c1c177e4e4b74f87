"""Masks drawn by the user: a PNG with transparency, and where on a face its six points belong.

The six points are read from a JSON file of the same name beside the picture. They tie the picture
to the face's sheet (see `head`), so a turned face gets a turned template, shortened on the
far side, cut off by the silhouette, lit and shadowed like every other mask.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.io.checkpoints import file_sha256
from mfrkit.io.documents import read_json_object
from mfrkit.io.images import read_layer
from mfrkit.masks.canvas import Fields

# Where each point belongs on the mean face: face units, x to the picture's right, y down.
ANCHORS: dict[str, tuple[float, float]] = {
    "top_left": (-1.04, 0.55),
    "top": (0.0, 0.30),
    "top_right": (1.04, 0.55),
    "bottom_left": (-0.93, 1.16),
    "bottom": (0.0, 1.86),
    "bottom_right": (0.93, 1.16),
}
MEANING = {
    "top_left": "edge of the face at the height of the nose tip, image-left",
    "top": "bridge of the nose",
    "top_right": "edge of the face at the height of the nose tip, image-right",
    "bottom_left": "jaw at the height of the lower lip, image-left",
    "bottom": "under the chin",
    "bottom_right": "jaw at the height of the lower lip, image-right",
}
_SIDE = 512  # templates are kept at most this large: more than any face needs


@dataclass(frozen=True)
class TemplateFile:
    """A user's template as read from disk.

    Attributes:
        path: The picture.
        layer: (H, W, 4) uint8 RGB and opacity.
        points: (6, 2) float64 (x, y) in its pixels, in the order of `ANCHORS`.
    """

    path: Path
    layer: NDArray[np.uint8]
    points: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> "TemplateFile":
        """Read a picture and its points.

        Raises:
            InputError: either cannot be read, or a point is missing or no pair of numbers.
        """
        sidecar = path.with_suffix(".json")
        if not path.is_file():
            raise InputError(f"{path}: no such template picture")
        if not sidecar.is_file():
            raise InputError(
                f'{sidecar}: missing; it holds {{"points": {{"top": [x, y], ...}}}} with '
                f"{', '.join(ANCHORS)}, in pixels of {path.name}"
            )
        points = read_json_object(sidecar).get("points")
        places = [_point(points, name, sidecar) for name in ANCHORS]
        return cls(path, read_layer(path), np.array(places, dtype=np.float64))

    def describe(self) -> dict[str, str]:
        """Return what a manifest says of the template."""
        return {"name": self.path.name, "sha256": file_sha256(self.path)}


def _point(points: Any, name: str, sidecar: Path) -> list[float]:
    value = points.get(name) if isinstance(points, dict) else None
    if not (isinstance(value, list) and len(value) == 2):
        raise InputError(f"{sidecar}: needs points.{name} = [x, y] ({MEANING[name]})")
    if not all(isinstance(v, int | float) and abs(v) < 1e9 for v in value):
        raise InputError(f"{sidecar}: points.{name} is {value}, expected two numbers")
    return [float(v) for v in value]


class Template(nn.Module):
    """A template on the renderer's device, to be read at places of the sheet."""

    planes: Tensor

    def __init__(self, file: TemplateFile) -> None:
        super().__init__()
        height, width = file.layer.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        size = max(2, round(width * scale)), max(2, round(height * scale))
        layer = file.layer.astype(np.float32) / 255
        # Colour is weighted by opacity, so that what lies under clear pixels does not bleed in.
        layer[..., :3] *= layer[..., 3:]
        small = np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_AREA), np.float32)
        opacity = small[..., 3]
        color = small[..., :3] / np.maximum(opacity, 1e-3)[..., None]
        inside = opacity > 0.5
        self.points = (file.points + 0.5) / (width, height) * 2 - 1  # (6, 2), corners at -1 and 1
        top, bottom = file.points[1], file.points[4]
        unit = float(np.hypot(*(bottom - top))) * scale / (ANCHORS["bottom"][1] - ANCHORS["top"][1])
        edge = (_distances(inside, 0) - _distances(~inside, 1)) / max(unit, 1e-3)
        solid = np.where(inside, opacity, 1.0)  # the edge itself is the field's to soften
        planes = np.concatenate([color, edge[..., None], solid[..., None]], axis=2)
        data = torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1), dtype=np.float32))
        self.register_buffer("planes", data[None], persistent=False)

    def read(self, look: Fields, x: Tensor, y: Tensor, planes: slice) -> Tensor:
        """Read planes at places on faces.

        Args:
            look: Per-face columns, each (B, 1, 1).
            x: (B, H, W) in the mask's frame, face units.
            y: (B, H, W).
            planes: Which: 0 to 2 colour, 3 the outline's field in face units, 4 opacity.

        Returns:
            (B, P, H, W).
        """
        u, v = self._places(x / look["broad"], stretched(look, y))
        grid = torch.stack([u, v], dim=-1)
        tile = self.planes[:, planes].expand(len(x), -1, -1, -1)
        return F.grid_sample(tile, grid, padding_mode="border", align_corners=False)

    def _places(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Take places on the mean face to the template: exact at the six points, smooth between.

        Across, each of its upper and lower edge is a parabola through three points; down, a place
        divides the way between the two.
        """
        (side, high), (_, top), (low_side, low), (_, bottom) = (
            ANCHORS[name] for name in ("top_right", "top", "bottom_right", "bottom")
        )
        across = x / (side + (y - high) * ((low_side - side) / (low - high)))
        bend = across.clamp(-1.1, 1.1)
        bend = bend * bend
        upper = bend * (high - top) + top
        lower = bend * (low - bottom) + bottom
        down = (y - upper) / (lower - upper)
        places = []
        for axis in (0, 1):
            left, middle, right, low_left, low_middle, low_right = self.points[:, axis].tolist()
            first = _parabola(across, left, middle, right)
            last = _parabola(across, low_left, low_middle, low_right)
            places.append(first + (last - first) * down)
        return places[0], places[1]


def stretched(look: Fields, y: Tensor) -> Tensor:
    """Return heights on the mean face: between a face's own edges its picture is made to fit."""
    level, end = ANCHORS["top"][1], ANCHORS["bottom"][1]
    return end - (look["end"] - y) * ((end - level) / (look["end"] - look["level"]))


def _parabola(t: Tensor, left: float, middle: float, right: float) -> Tensor:
    """Return the parabola through the values at -1, 0 and 1."""
    return t * (t * ((left + right) / 2 - middle) + (right - left) / 2) + middle


def _distances(inside: NDArray[np.bool_], beyond: int) -> NDArray[np.float32]:
    """Return each inner pixel's distance to an outer one; `beyond` the border all are either."""
    padded = np.pad(inside.astype(np.uint8), 1, constant_values=beyond)
    found = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(found[1:-1, 1:-1], dtype=np.float32)


def find_problems(file: TemplateFile) -> list[str]:
    """Say what is wrong with a template, each in a few words; an empty list if nothing is."""
    height, width = file.layer.shape[:2]
    opaque = file.layer[..., 3] > 127
    problems = []
    if opaque.all():
        problems.append("has no transparency: make what is not mask transparent")
    if opaque.mean() < 0.02:
        problems.append("is almost wholly transparent")
    if min(height, width) < 64:
        problems.append(f"is only {width}x{height} pixels: 64 or more a side look sharp")
    places = dict(zip(ANCHORS, file.points.tolist(), strict=True))
    for name, (x, y) in places.items():
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            problems.append(f"{name} ({x:g}, {y:g}) lies outside its {width}x{height} pixels")
    order = [("top_left", "top", 0), ("top", "top_right", 0), ("bottom_left", "bottom", 0),
             ("bottom", "bottom_right", 0), ("top", "bottom", 1), ("top_left", "bottom_left", 1),
             ("top_right", "bottom_right", 1)]  # fmt: skip
    for first, second, axis in order:
        if places[first][axis] >= places[second][axis]:
            relation = "above" if axis else "left of"
            problems.append(f"{first} must be {relation} {second}")
    return problems
