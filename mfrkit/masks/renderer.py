"""The mask renderer: faces in, masked faces and mask regions out, one batched torch program.

Drawing is four steps: place the mean face on the five points, find where every pixel lies on the
curved sheet a mask is drawn on, evaluate the kind's outline and surface there, light it as the
face is lit and lay it over the picture. Randomness lives in the specs alone.

The bytes of a result depend on its own face, points and spec: pixel arithmetic is restricted to
operations that round alike in every vector lane, and small per-face numbers are columns of one
float64 table a batch, turned to float32 once. So neither batch nor thread can change a value.
Decoded pictures, uint8, get the same as pictures in [0, 1], by converting only what masks touch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.masks.camera import (
    LIGHT_HEIGHT,
    Camera,
    Pictures,
    add_grain,
    light_columns,
    picture_size,
    read_camera,
    skin_color,
    under_light,
)
from mfrkit.masks.canvas import Columns, NoiseTiles, Printed
from mfrkit.masks.draw import TOP, Layer, draw_layer
from mfrkit.masks.flat_paste import draw_artwork, paste
from mfrkit.masks.head import bounding_boxes, place_heads, pose_columns
from mfrkit.masks.kinds import BARE, COVERAGES, KINDS, OWN, PASTED, TEMPLATE, WORN, Kind
from mfrkit.masks.outline import JAW_SCALE
from mfrkit.masks.pose import Array, Pose
from mfrkit.masks.spec import MaskSpec
from mfrkit.masks.template import Template, TemplateFile
from mfrkit.masks.worn import WornMasks

_UNDER_CHIN = 0.4  # darkening where the mask turns in under the chin
# What a flat drawing has in place of light, relief, shadow and camera.
_UNLIT = {
    "gain": 1.0, "gain_x": 0.0, "gain_y": 0.0, "gain_xx": 0.0, "vivid": 1.0, "cast_r": 1.0,
    "cast_g": 1.0, "cast_b": 1.0, "exposure": 1.0, "round": 0.0, "shadow": 0.0, "soft": 0.0,
    "grain": 0.0, "under": 0.0, "relief": 0.0, "blur": 1.0,
}  # fmt: skip
_SHADED = {"round": 0.0, "under": 0.0, "relief": 0.0, "crease": 0.0}
_OF_SPEC = (
    "slack", "pleats", "crease", "crease_u", "crease_v", "texture_scale", "texture_u", "texture_v",
    "exposure", "round", "shadow", "soft",
)  # fmt: skip
_OF_KIND = ("bulge", "ridge", "cord_white")
_GRAINS = (0.0015, 0.04)  # least and most grain, pixel values in [0, 1]
_CORD_END = 1.14  # half width at which cords leave the face, just inside the silhouette


def _columns(specs: Sequence[MaskSpec], pose: Pose, camera: Camera) -> dict[str, Array]:
    """Lay out all that drawing reads of B faces, none of them bare: (B,) float64 columns."""
    light = light_columns(camera.patches, np.array([spec.light for spec in specs]))
    heads = zip(specs, pose.girth.tolist(), pose.chin.tolist(), strict=True)
    rows = [_row(spec, girth, chin) for spec, girth, chin in heads]
    look = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    look["grain"] = np.clip(camera.noise * look["grain"], *_GRAINS)
    look["blur"] = camera.blur
    flat = np.array([KINDS[spec.kind].flat for spec in specs])
    for name, value in _UNLIT.items():
        table = light if name in light else look
        table[name] = np.where(flat, value, table[name])
    skin = np.array([[KINDS[spec.kind].skin] for spec in specs])
    for part in ("color", "accent"):
        names = [f"{part}_{channel}" for channel in "rgb"]
        cloth = under_light(np.stack([look[name] for name in names], axis=1), light)
        look |= dict(
            zip(names, np.where(skin, skin_color(camera.patches, light), cloth).T, strict=True)
        )
    gains = {name: light[name] * look["exposure"] for name in light if name.startswith("gain")}
    gains["gain"] = gains["gain"] - LIGHT_HEIGHT * gains["gain_y"]  # from there to the eyes
    place = pose_columns(pose)
    place["pixel"] = place["unit"] * look["blur"]
    sharp = {"sharp": 2 / (look["soft"] / place["unit"] + look["blur"])}  # per pair of pixels
    steep = look["relief"] / (2 * place["unit"])
    slopes = {"steep_x": -steep * light["light_x"], "steep_y": -steep * light["light_y"]}
    return look | light | gains | place | sharp | slopes


def _row(spec: MaskSpec, girth: float, chin: float) -> dict[str, float]:
    """Return what outlines and painters read of a face: its mask as worn, and its finish."""
    kind = KINDS[spec.kind]
    shape = kind.shape
    lower_edge, slide = (0.0, 0.0) if kind.flat else COVERAGES[spec.coverage]
    # The frame slides with the mask; what the upper edge moves beyond that, it moves on the mask.
    level, end = shape.top + (lower_edge - slide + spec.lift), shape.bottom + chin
    fall = shape.fall * (1 - 0.8 * min(1.0, lower_edge))
    tilt_cos, tilt_sin = np.cos(spec.tilt), np.sin(spec.tilt)
    center = 1.0 + slide + spec.shift_y
    row = {name: float(getattr(spec, name)) for name in _OF_SPEC}
    row |= {name: getattr(kind, name) for name in _OF_KIND}
    row |= {
        "top": level - shape.peak * fall,
        "peak_square": shape.peak**2,
        "fall": fall,
        "side": shape.side * girth + shape.taper,
        "taper": shape.taper,
        "bottom": JAW_SCALE * (end + shape.chin * shape.jaw),
        "chin_square": shape.chin**2,
        "jaw": JAW_SCALE * shape.jaw,
        "level": level,
        "end": end,
        "half": shape.side * girth,
        "knee": shape.knee,
        "inner": shape.inner,
        "worn_xx": tilt_cos / spec.width,
        "worn_xy": tilt_sin / spec.width,
        "worn_x": -(tilt_cos * spec.shift_x + tilt_sin * center) / spec.width,
        "worn_yx": -tilt_sin / spec.height,
        "worn_yy": tilt_cos / spec.height,
        "worn_y": 1 + (tilt_sin * spec.shift_x - tilt_cos * center) / spec.height,
        "pleat_depth": spec.pleat_depth if spec.pleats else 0.0,
        "turn_cos": np.cos(spec.texture_turn),
        "turn_sin": np.sin(spec.texture_turn),
        "seam": float(spec.crease_u < 0.5),
        "grain": 1.0 + spec.grain / 0.02,
        "under": _UNDER_CHIN,
        "relief": 1.0,
        "cord": kind.cord if spec.cords and kind.cord else -1.0,
        "broad": girth,
    }
    if kind.shaded:
        row |= _SHADED
    for name, (start, end) in zip(("upper", "lower"), kind.anchors, strict=True):
        row |= _cord(name, kind, start + lower_edge * 0.4, end, girth)
    for name, color in (("color", spec.color), ("accent", spec.accent)):
        row |= {f"{name}_{channel}": value for channel, value in zip("rgb", color, strict=True)}
    return row


def _cord(name: str, kind: Kind, start: float, end: float, girth: float) -> dict[str, float]:
    """Return the columns of one cord from the mask's side (height `start`) to the head's."""
    x = kind.shape.side * girth - (start - 1) * kind.shape.taper - 0.16
    dx, dy = _CORD_END * girth - x, end - start
    a, b = dy / np.hypot(dx, dy), -dx / np.hypot(dx, dy)
    return {
        f"{name}_x": x + kind.cord,
        f"{name}_a": a,
        f"{name}_b": b,
        f"{name}_c": a * x + b * start,
    }


_CHUNK = 16  # faces drawn at once on a processor: their planes stay in the cache
_LARGE_CHUNK = 1024  # elsewhere it is the number of operations that counts, not their size


@dataclass(frozen=True)
class Rendered:
    """Masked faces and where their masks are.

    Attributes:
        masked: (B, 3, H, W) float32 RGB in [0, 1].
        region: (B, 1, H, W) float32 in [0, 1], how much of each pixel the mask covers.
    """

    masked: Tensor
    region: Tensor


class MaskRenderer(nn.Module):
    """Draw masks on faces, any mixture of kinds in one batch, any picture size.

    Gradients reach the faces through what the masks leave uncovered; light and cast are read off
    the faces as constants.

    Args:
        template: The user's own mask, for specs of the kind "template".
        worn: Masks from photos, for specs of the kind "worn".
    """

    def __init__(self, template: TemplateFile | None = None, worn: WornMasks | None = None) -> None:
        super().__init__()
        self.tiles = NoiseTiles()
        self.template = Template(template) if template is not None else None
        self.worn = worn
        self._artwork: Tensor | None = None  # drawn when it is first asked for

    def forward(
        self,
        faces: Tensor,
        points: Tensor,
        specs: Sequence[MaskSpec],
        landmarks: Tensor | None = None,
        turns: Tensor | None = None,
    ) -> Rendered:
        """Render one mask per face.

        Convention:
            Points are (x, y) in the crop's pixels, pixel centres at integers; for a crop aligned
            without landmarks, the template's own five points.

        Args:
            faces: (B, 3, H, W) float32 RGB in [0, 1]; never written to.
            points: (B, 5, 2) image-left eye, image-right eye, nose tip, mouth corners.
            specs: B masks; "none" leaves its face as it is.
            landmarks: (B, 68, 2) iBUG landmarks whose jaw line the masks follow; NaN for a face
                that has none.
            turns: (B, 2) yaw and pitch in degrees, of faces whose landmarks were picked from a
                mesh, as `align` records both; NaN for others. Such a face is placed by these alone.

        Returns:
            New tensors on the faces' device. A pixel whose region is 0 equals the input's exactly
            unless a mask's edge is near: the contact shadow reaches a tenth of the eye distance
            from it, up to a third on the near side of a turned head.

        Raises:
            ShapeError: the arguments do not fit together.
            InputError: a point is not finite, the points of a face coincide, or a spec asks for a
                picture and there is none.

        Example:
            >>> from mfrkit.masks.options import MaskOptions
            >>> from mfrkit.masks.spec import sample_spec
            >>> points = torch.tensor([[[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]]])
            >>> spec = sample_spec(7, "ann", MaskOptions())
            >>> drawn = MaskRenderer()(torch.full((1, 3, 112, 112), 0.5), points, [spec])
            >>> tuple(drawn.masked.shape), 0.2 < float(drawn.region.mean()) < 0.45
            ((1, 3, 112, 112), True)
        """
        _check(faces, points, specs)
        masked, region = faces.clone(), torch.zeros_like(faces[:, :1], requires_grad=False)
        self._paste(faces, points, specs, masked, region)
        marks, told = (
            None if each is None else each.detach().cpu().numpy() for each in (landmarks, turns)
        )
        places = points.detach().cpu().numpy()
        for wearers, layer in self.layers(faces, places, specs, marks, told, faces.device):
            rows, columns = layer.rows, layer.columns
            index = torch.tensor(wearers, device=faces.device)
            # In place wherever the value is ours: half the memory traffic of new planes.
            shown = faces[:, :, rows, columns].index_select(0, index)
            shown *= layer.keep[:, None]
            shown += layer.color
            if layer.quality is not None:
                add_grain(shown, layer.alpha, layer.quality)
            masked[:, :, rows, columns].index_copy_(0, index, shown.clamp_(0, 1))
            region[:, 0, rows, columns].index_copy_(0, index, layer.alpha)
        return Rendered(masked, region)

    def layers(
        self,
        pictures: Pictures,
        points: NDArray[np.floating],
        specs: Sequence[MaskSpec],
        landmarks: NDArray[np.floating] | None,
        turns: NDArray[np.floating] | None,
        device: torch.device,
    ) -> Iterator[tuple[list[int], Layer]]:
        """Draw the masks to be laid over pictures, those that are pasted flat left out.

        Args:
            pictures: (B, 3, H, W) float32 RGB in [0, 1], or (B, H, W, 3) uint8; light and camera
                are read off them.
            points: (B, 5, 2); these and the next three as in `forward`.
            specs: B masks.
            landmarks: (B, 68, 2) or None.
            turns: (B, 2) or None.
            device: Where to draw.

        Yields:
            Which pictures wear a layer, and the layer, for a few of one kind at a time.
        """
        for name, have in ((TEMPLATE, self.template), (WORN, self.worn)):
            if have is None and any(spec.kind == name for spec in specs):
                raise InputError(f"a mask of the kind {name!r} needs the picture: give {OWN[name]}")
        worn = [i for i, spec in enumerate(specs) if spec.kind not in (BARE, *PASTED)]
        if not worn:
            return
        worn.sort(key=lambda i: specs[i].kind)
        chosen = [specs[i] for i in worn]
        marks, told = (None if each is None else each[worn] for each in (landmarks, turns))
        pose = place_heads(points[worn], marks, told)
        camera = read_camera(pictures, worn, pose)
        look = Columns.send(_columns(chosen, pose, camera), device)
        size = picture_size(pictures)
        heads = bounding_boxes(pose, TOP, size)
        quality = camera.quality * [spec.jpeg for spec in chosen]
        for part in _chunks(chosen, _CHUNK if device.type == "cpu" else _LARGE_CHUNK):
            kind = KINDS[chosen[part.start].kind]
            box = _box(kind, heads[part], size)
            if box[0].start == box[0].stop or box[1].start == box[1].stop:
                continue  # these faces lie outside their pictures
            with torch.no_grad():
                own: Printed | None = self.template
                if kind.name == WORN and self.worn is not None:
                    own = self.worn.worn_by(chosen[part])
                layer = draw_layer(chosen[part], kind, look.part(part), self.tiles, own, box)
            if layer is None:
                continue
            if quality[part].any():
                layer = layer.compressed(quality[part], size)
            yield worn[part], layer

    def _paste(
        self,
        faces: Tensor,
        points: Tensor,
        specs: Sequence[MaskSpec],
        masked: Tensor,
        region: Tensor,
    ) -> None:
        """Write the faces that wear a flat paste into the results; they get no gradient."""
        chosen = [i for i, spec in enumerate(specs) if spec.kind in PASTED]
        if not chosen:
            return
        if self._artwork is None:
            self._artwork = draw_artwork()
        self._artwork = self._artwork.to(faces.device)
        worn = [specs[i] for i in chosen]
        with torch.no_grad():
            drawn = paste(faces[chosen], points[chosen], worn, self._artwork)
        masked[chosen], region[chosen, 0] = drawn


def to_uint8(faces: Tensor) -> Tensor:
    """Round RGB in [0, 1] to uint8, halves upwards, values beyond the ends to the ends.

    Example:
        >>> to_uint8(torch.tensor([-0.1, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    return (faces.detach() * 255).add_(0.5).clamp_(0, 255).to(torch.uint8)  # cuts off fractions


def _chunks(specs: Sequence[MaskSpec], largest: int) -> Iterator[slice]:
    """Yield runs of one kind, those of more faces than `largest` in equal parts."""
    start = 0
    for _, group in groupby(specs, key=lambda spec: spec.kind):
        count = len(list(group))
        parts = -(-count // largest)
        for part in range(parts):
            yield slice(start + part * count // parts, start + (part + 1) * count // parts)
        start += count


def _box(kind: Kind, heads: NDArray[np.int64], size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the pixels to draw: those of the heads, unless a mask reaches past its head.

    What is drawn must lie within the box whichever faces share it, or they would change each other.
    """
    if kind.shape.cut == "head":
        (top, left), (bottom, right) = heads[:, 0].min(axis=0), heads[:, 1].max(axis=0)
        return slice(int(top), int(bottom)), slice(int(left), int(right))
    return slice(0, size[0]), slice(0, size[1])


def _check(faces: Tensor, points: Tensor, specs: Sequence[MaskSpec]) -> None:
    if faces.ndim != 4 or faces.shape[1] != 3 or faces.dtype != torch.float32:
        raise ShapeError(
            f"faces must be (B, 3, H, W) float32, got {tuple(faces.shape)} {faces.dtype}."
        )
    if tuple(points.shape) != (len(faces), 5, 2):
        raise ShapeError(f"points must be ({len(faces)}, 5, 2), got {tuple(points.shape)}.")
    if len(specs) != len(faces):
        raise ShapeError(f"there are {len(faces)} faces but {len(specs)} mask specs.")


def outline_polygon(region: NDArray[Any], half: float = 0.5) -> NDArray[np.int32]:
    """Trace where a region crosses one half, the largest piece of it.

    Args:
        region: (H, W) in [0, 1], or in [0, 255] with `half` 127.
        half: What a pixel must exceed to count as covered.

    Returns:
        (N, 2) int32, (x, y) of pixel centres round the mask; (0, 2) if nothing is covered.
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
    """Render one mask per decoded picture; other arguments and errors as in `MaskRenderer.forward`.

    Args:
        renderer: Draws them, on its own device.
        pictures: (B, H, W, 3) RGB; not written to.
        points: (B, 5, 2).
        specs: B masks.
        landmarks: (B, 68, 2) or None.
        turns: (B, 2) or None.

    Returns:
        (B, H, W, 3) masked pictures and (B, H, W) regions: what `to_uint8` makes of the renderer's
        own answer to the same pictures in [0, 1].
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
