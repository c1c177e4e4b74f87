"""Masks that people really wore: cut out of photos, kept in a file, drawn on other faces.

A mask is laid flat on the sheet masks are drawn on (see `head`), which takes the wearer's pose and
build out of it; the light, read off what is left uncovered, is taken out too. In place of what a
turned head hides the mirror image of its near side is shown. What does not look like a mask worn as
masks are is refused: hands, scarves, uncertain borders, blurred photos.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.io.checkpoints import file_sha256
from mfrkit.io.documents import parse_json
from mfrkit.io.files import replacing
from mfrkit.masks.camera import PATCHES, Camera, light_columns, luma_of
from mfrkit.masks.canvas import Fields
from mfrkit.masks.head import half_width, sheet_to_pixels
from mfrkit.masks.kinds import Shape
from mfrkit.masks.outline import JAW_SCALE
from mfrkit.masks.pose import Array, Pose
from mfrkit.masks.spec import MaskSpec
from mfrkit.masks.template import stretched

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

# The part of the sheet that is kept, face units of the mean face; as fine as a crop of 112 pixels.
ACROSS, TOP, BOTTOM = 1.35, 0.05, 2.35
COLUMNS, ROWS = 96, 82
REACH = 0.5  # distances from the outline are kept up to this
SHAPE = Shape(outline="template", top=0.30, bottom=1.86)  # where the ends of a cut-out belong
_STEP = 2 * ACROSS / COLUMNS
_FOLLOW = 0.85  # share of the light that is taken for light and not for skin
_MOST_YAW = np.radians(22)
_SEEN = 0.35  # what shows narrower than this share of its frontal width counts as hidden
_MOST_BLUR = 1.8
_SMOOTH = 1.5  # pixels that an outline is smoothed over
_RIM = 2  # pixels along the outline whose colour may be skin's
# What every mask worn properly covers: so far sideways, from this height, to that.
_CORE = (0.5, 0.68, 1.40)
_EDGES = (0.08, 0.60)  # the upper edge crosses the mid-line between these heights
_MOUTH, _LEAST_HALF = 1.0, 0.62  # its height, and a mask's half width there
_DOUBT = (0.2, 0.8)  # a region is unsure between these
_MOST_DOUBT = 0.16  # share of a mask's pixels that may be
_SKIN_LIKE = 0.05  # a cover whose colour is as near to the skin's is a hand, or cannot be told
_STRAP = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))  # what is as thin is no mask
_STRANGE = 0.6  # sum of the differences to the cloth's colour that is no longer its own
_BRIGHTEST, _MOST_BRIGHT = 0.985, 0.2  # what shows no folds any more, and how much of it may be
_CHIN = Shape(bottom=1.93)  # whose lower edge ends what a crop cuts off


class CutOut(NamedTuple):
    """A mask laid flat.

    Attributes:
        color: (ROWS, COLUMNS, 3) float32 RGB in [0, 1], as under white light.
        edge: (ROWS, COLUMNS) float32, distance inside its outline, face units, within `REACH`.
    """

    color: Plane
    edge: Plane


# Face units of the middles of the kept pixels, (ROWS, COLUMNS) each.
_x, _y = np.meshgrid(
    (np.arange(COLUMNS) + 0.5) * _STEP - ACROSS,
    TOP + (np.arange(ROWS) + 0.5) * (BOTTOM - TOP) / ROWS,
)


def cut_out(picture: NDArray[np.uint8], region: Plane, pose: Pose, camera: Camera) -> CutOut | str:
    """Lay the mask of a face flat, or say why it cannot be used.

    Args:
        picture: (H, W, 3) RGB.
        region: (H, W) in [0, 1], how surely each pixel is covered.
        pose: Where that one head is.
        camera: What was read off it.
    """
    if abs(pose.yaw[0]) > _MOST_YAW:
        return "turned away"
    if camera.blur[0] > _MOST_BLUR:
        return "blurred"
    u, v = _pixels(pose)
    height, width = region.shape
    seen = np.gradient(u, axis=1) > _SEEN * _STEP * pose.scale[0]
    seen &= (u >= 0) & (u <= width - 1) & (v <= height - 1)
    found = cv2.remap(region, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shown = picture.astype(np.float32) / 255
    color = cv2.remap(shown, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    mirror = ~seen & seen[:, ::-1]
    sure = np.where(mirror, found[:, ::-1], found).astype(np.float32)
    inside = _piece(sure)
    skin = _skin(camera, region, pose)
    fault = _fault(sure, inside)
    if fault or not skin.any():
        return fault or "no skin in sight"
    patches = np.where(skin[:, None], camera.patches[0], _mean(camera.patches[0], skin))
    color = _without_light(np.where(mirror[..., None], color[:, ::-1], color), patches)
    bare = _without_light(patches, patches)
    inside = _rounded(inside & ~_no_cloth(color, inside, np.median(bare, axis=0)))
    trusted = inside & (seen | mirror) & (_distance(inside) > _RIM * _STEP)
    if not trusted.any() or _is_like_skin(color[trusted], bare):
        return "of the colour of skin"
    if (color[trusted].min(axis=1) > _BRIGHTEST).mean() > _MOST_BRIGHT:
        return "overexposed"
    edge = np.minimum(_distance(inside), _lower_edge())
    edge = cv2.GaussianBlur(edge, (0, 0), _SMOOTH)
    return CutOut(_spread(color, trusted), edge.clip(-REACH, REACH))


def _pixels(pose: Pose) -> tuple[Plane, Plane]:
    """Return the pixels (x and y) of the sheet's kept part on one head, however built."""
    chin = float(pose.chin[0])
    # A long chin's mask is as much longer, as `Template.read` stretches it.
    stretch = (SHAPE.bottom + chin - SHAPE.top) / (SHAPE.bottom - SHAPE.top)
    y = SHAPE.bottom + chin - (SHAPE.bottom - _y) * stretch
    sine = np.clip(_x / half_width(y, chin), -0.999, 0.999)
    places = sheet_to_pixels(pose, y.ravel(), np.arcsin(sine).ravel())[0]
    u, v = places.astype(np.float32).reshape(ROWS, COLUMNS, 2).transpose(2, 0, 1)
    return np.ascontiguousarray(u), np.ascontiguousarray(v)


def _piece(sure: Plane) -> Mask:
    """Return the cover that lies on the mouth, without holes."""
    inside = cv2.morphologyEx((sure > 0.5).astype(np.uint8), cv2.MORPH_OPEN, _STRAP)
    _, pieces = cv2.connectedComponents(inside)
    row, column = int((_MOUTH - TOP) / (BOTTOM - TOP) * ROWS), COLUMNS // 2
    if not inside[row, column]:
        return np.zeros_like(inside, bool)
    piece = (pieces == pieces[row, column]).astype(np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(piece, outlines, -1, 1, cv2.FILLED), bool)


def _fault(sure: Plane, inside: Mask) -> str:
    """Say why a piece of cover is no mask to use; empty if it is one."""
    half, start, stop = _CORE
    core = (np.abs(_x) < half) & (_y > start) & (_y < stop)
    if inside[core].mean() < 0.99:
        return "no mask over nose and mouth"
    middle = inside[:, COLUMNS // 2 - 2 : COLUMNS // 2 + 2].all(axis=1)
    top = _y[np.argmax(middle), 0]
    if not _EDGES[0] < top < _EDGES[1]:
        return "not worn over the nose"
    mouth = inside[np.abs(_y[:, 0] - _MOUTH) < 0.1].mean(axis=0) > 0.5
    left, right = -_x[0][mouth].min(), _x[0][mouth].max()
    if min(left, right) < _LEAST_HALF or abs(left - right) > 0.25:
        return "too narrow or askew"
    low, high = _DOUBT
    doubt = (sure > low) & (sure < high) & (_y < 1.5)
    if doubt.sum() > _MOST_DOUBT * inside.sum():
        return "uncertain"
    return ""


def _no_cloth(color: Plane, inside: Mask, skin: NDArray[Any]) -> Mask:
    """Return where neck or clothes below a mask were taken for a part of it, and all below that."""
    upper = inside & (_y < _CORE[2])
    cloth = np.median(color[upper], axis=0)
    from_skin, from_cloth = (np.abs(color - shade).sum(axis=2) for shade in (skin, cloth))
    strange = from_cloth > np.maximum(_STRANGE, 3 * np.median(from_cloth[upper]))
    other = (_y > _CORE[2]) & (strange | (from_skin < 0.5 * from_cloth))
    grown = cv2.dilate(other.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(np.maximum.accumulate(grown, axis=0), bool)


def _rounded(inside: Mask) -> Mask:
    """Return a mask whose lower part bulges everywhere, whatever the end of the crop left of it."""
    ys, xs = np.nonzero(inside & (_y > _MOUTH))
    hull = cv2.convexHull(np.stack([xs, ys], axis=1).astype(np.int32))
    return inside | (cv2.fillConvexPoly(np.zeros(inside.shape, np.uint8), hull, 1) > 0)


def _distance(inside: Mask) -> Plane:
    """Return the distance inside an outline, face units."""
    planes = inside.astype(np.uint8), (~inside).astype(np.uint8)
    within, beyond = (cv2.distanceTransform(p, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for p in planes)
    return np.asarray((within - beyond) * _STEP, np.float32)


def _lower_edge() -> Plane:
    """Return the field above the lower edge of ordinary masks: a crop may end before one does."""
    bend = np.sqrt(_x * _x + _CHIN.chin**2)
    end = _CHIN.bottom + _CHIN.chin * _CHIN.jaw
    return np.asarray(JAW_SCALE * (end - _y - _CHIN.jaw * bend), np.float32)


def _skin(camera: Camera, region: Plane, pose: Pose) -> Mask:
    """Return (P,) which of the patches that light is read at are bare."""
    x, y = PATCHES[:, 0], PATCHES[:, 1]
    angle = np.arcsin(np.clip(x / half_width(y), -1, 1))
    column, row = np.rint(sheet_to_pixels(pose, y, angle)[0]).astype(np.int64).T
    height, width = region.shape
    within = (row >= 2) & (row < height - 2) & (column >= 2) & (column < width - 2)
    soft = cv2.blur(region, (5, 5))
    return np.asarray(within & (soft[row.clip(0, height - 1), column.clip(0, width - 1)] < 0.1))


def _mean(patches: Array, chosen: Mask) -> Array:
    weights = PATCHES[:, 2] * chosen
    return np.asarray((patches * weights[:, None]).sum(0) / weights.sum())


def _without_light(color: NDArray[Any], patches: Array) -> Plane:
    """Return colours (..., 3) as they would be under white light of full strength."""
    light = light_columns(patches[None], np.array([_FOLLOW]))
    cast = np.array([light[f"cast_{channel}"][0] for channel in "rgb"])
    return np.asarray((color / (light["gain"][0] * cast)).clip(0, 1), np.float32)


def _is_like_skin(cloth: Plane, patches: Plane) -> bool:
    """Whether the colour of a cover, (N, 3), is nearly that of skin patches, (P, 3)."""
    first, second = (
        np.asarray(np.median(colors, axis=0), np.float64) for colors in (cloth, patches)
    )
    shades = first / max(float(luma_of(first)), 0.02) - second / max(float(luma_of(second)), 0.02)
    return bool(np.abs(shades).max() < _SKIN_LIKE)


def _spread(color: Plane, trusted: Mask) -> Plane:
    """Return a picture whose untrusted pixels have the colour of the nearest trusted one."""
    _, labels = cv2.distanceTransformWithLabels(
        (~trusted).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros((labels.max() + 1, 3), np.float32)
    table[labels[trusted]] = color[trusted]
    return np.asarray(table[labels], np.float32)


_NAME, _SHAPE = "worn masks", (4, ROWS, COLUMNS)


@dataclass(frozen=True)
class WornFile:
    """A file of cut-outs.

    Attributes:
        path: Of the file.
        planes: (N, 4, ROWS, COLUMNS) uint8: RGB, and the outline's field, 255 to one `REACH`
            inside and 0 to one outside.
        keys: Of the photos they were cut out of.
    """

    path: Path
    planes: NDArray[np.uint8]
    keys: list[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it is not there, or no such file.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file of worn masks; mfrkit cut-masks makes one")
        try:
            with safe_open(path, "np") as file:
                planes = file.get_tensor(_NAME)
                keys = parse_json(file.metadata()["keys"], str(path))
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: holds no worn masks; mfrkit cut-masks makes them") from error
        shape = (len(keys), *_SHAPE) if isinstance(keys, list) and keys else None
        if planes.shape != shape or planes.dtype != np.uint8:
            raise InputError(f"{path}: worn masks of another version; cut them out anew")
        return cls(path, planes, keys)

    @classmethod
    def write(cls, path: Path, masks: Sequence[CutOut], keys: Sequence[str]) -> Self:
        """Write cut-outs and the keys of their photos."""
        edges = [mask.edge[..., None] / (2 * REACH) + 0.5 for mask in masks]
        pairs = zip(masks, edges, strict=True)
        # A byte each: colours come from bytes, and an outline need not be finer than that.
        planes = np.stack([np.concatenate([mask.color, edge], axis=2) for mask, edge in pairs])
        planes = np.ascontiguousarray((planes * 255 + 0.5).astype(np.uint8).transpose(0, 3, 1, 2))
        with replacing(path) as part:
            part.write_bytes(save({_NAME: planes}, {"keys": json.dumps(list(keys))}))
        return cls(path, planes, list(keys))

    def describe(self) -> dict[str, str]:
        """Return what a manifest says of the file."""
        return {"name": self.path.name, "sha256": file_sha256(self.path)}


class WornMasks(nn.Module):
    """Cut-outs (N, 4, ROWS, COLUMNS) uint8, see `WornFile`, on the renderer's device.

    Which of them a face wears, its spec says: `texture_u` counts them off from the first, and a
    `texture_v` of one half or more mirrors.
    """

    planes: Tensor

    def __init__(self, planes: NDArray[np.uint8]) -> None:
        super().__init__()
        self.register_buffer("planes", torch.from_numpy(planes), persistent=False)

    def worn_by(self, specs: Sequence[MaskSpec]) -> "WornPictures":
        """Return the masks of b faces."""
        device = self.planes.device
        chosen = torch.tensor([place_of(spec, len(self.planes)) for spec in specs], device=device)
        mirror = torch.tensor([1.0 if spec.texture_v < 0.5 else -1.0 for spec in specs])
        planes = self.planes[chosen].float().mul_(1 / 255)
        return WornPictures(planes, mirror[:, None, None].to(device))


def place_of(spec: MaskSpec, count: int) -> int:
    """Return which of so many cut-outs a spec means."""
    return int(spec.texture_u * count)


class WornPictures(NamedTuple):
    """The masks of b faces, to be read at places of the sheet.

    Attributes:
        planes: (b, 4, H, W) in [0, 1]: RGB, and the outline's field.
        mirror: (b, 1, 1), -1 for a mask shown mirrored, else 1.
    """

    planes: Tensor
    mirror: Tensor

    def read(self, look: Fields, x: Tensor, y: Tensor, planes: slice) -> Tensor:
        """Read planes 0 to 2, colour, or 3, the outline; see `mfrkit.masks.template.Template`."""
        u = x * (self.mirror / (ACROSS * look["broad"]))
        v = (stretched(look, y) - TOP) * (2 / (BOTTOM - TOP)) - 1
        grid, tiles = torch.stack([u, v], dim=-1), self.planes[:, planes]
        found = F.grid_sample(tiles, grid, padding_mode="border", align_corners=False)
        return (found - 0.5) * (2 * REACH) if planes.start == 3 else found
