"""The mask renderer: faces in, masked faces and mask regions out, one batched torch program.

Drawing is four steps: place the mean face on the five points, find where every pixel lies on the
curved sheet a mask is drawn on, evaluate the kind's outline and surface there, light it as the face
is lit and lay it over the picture. Randomness lives in the specs alone.

The bytes of a result depend on its own face, points and spec: pixel arithmetic is restricted to
exactly rounded operations and small per-face numbers are float64, so neither batch nor thread can
change a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.masks.camera import read_camera
from mfrkit.masks.catalog import BARE, PASTED, TEMPLATE
from mfrkit.masks.columns import mask_columns
from mfrkit.masks.draw import TOP, draw_layer
from mfrkit.masks.jaw import follow_jaw
from mfrkit.masks.kinds import KINDS
from mfrkit.masks.maskinv import draw_artwork, paste
from mfrkit.masks.noise import NoiseTiles
from mfrkit.masks.outline import Fields
from mfrkit.masks.pose import Pose, fit_pose
from mfrkit.masks.spec import MaskSpec
from mfrkit.masks.surface import bounding_box
from mfrkit.masks.template import Template, TemplateFile

_CHUNK = 16  # faces drawn at once: their planes stay in the cache


@dataclass(frozen=True)
class Rendered:
    """Masked faces and where their masks are.

    Attributes:
        masked: (B, 3, H, W) float32 RGB in [0, 1].
        region: (B, 1, H, W) float32 in [0, 1], how much of each pixel the mask covers.
    """

    masked: Tensor
    region: Tensor

    def polygons(self) -> list[NDArray[np.int32]]:
        """Return each mask's outline, see `outline_polygon`."""
        return [outline_polygon(plane) for plane in self.region[:, 0].cpu().numpy()]


class MaskRenderer(nn.Module):
    """Draw masks on faces, any mixture of kinds in one batch, any picture size.

    Gradients reach the faces through what the masks leave uncovered; light and cast are read off
    the faces as constants.
    """

    def __init__(self, template: TemplateFile | None = None) -> None:
        """Prepare to draw.

        Args:
            template: The user's own mask, for specs of the kind "template".
        """
        super().__init__()
        self.tiles = NoiseTiles()
        self.template = Template(template) if template is not None else None
        self._artwork: Tensor | None = None  # drawn when it is first asked for

    def forward(
        self,
        faces: Tensor,
        points: Tensor,
        specs: Sequence[MaskSpec],
        landmarks: Tensor | None = None,
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

        Returns:
            New tensors on the faces' device. A pixel whose region is 0 equals the input's exactly
            unless a mask's edge is near: the contact shadow reaches a tenth of the eye distance
            from it, up to a third on the near side of a turned head.

        Raises:
            ShapeError: the arguments do not fit together.
            InputError: a point is not finite, the points of a face coincide, or a spec asks for a
                template and there is none.

        Example:
            >>> from mfrkit.masks.options import MaskOptions
            >>> from mfrkit.masks.sampling import sample_spec
            >>> points = torch.tensor([[[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]]])
            >>> spec = sample_spec(7, "ann", MaskOptions())
            >>> drawn = MaskRenderer()(torch.full((1, 3, 112, 112), 0.5), points, [spec])
            >>> tuple(drawn.masked.shape), 0.2 < float(drawn.region.mean()) < 0.45
            ((1, 3, 112, 112), True)
        """
        _check(faces, points, specs)
        if self.template is None and any(spec.kind == TEMPLATE for spec in specs):
            raise InputError("a mask of the kind 'template' needs the picture: give --template.")
        masked, region = faces.clone(), torch.zeros_like(faces[:, :1], requires_grad=False)
        self._paste(faces, points, specs, masked, region)
        worn = [i for i, spec in enumerate(specs) if spec.kind not in (BARE, *PASTED)]
        # Faces of one kind are painted together; those with a mask past the head come last.
        worn.sort(key=lambda i: (KINDS[specs[i].kind].shape.cut != "head", specs[i].kind))
        if not worn:
            return Rendered(masked, region)
        chosen = [specs[i] for i in worn]
        pose = fit_pose(points[worn].detach().cpu().numpy())
        if landmarks is not None:
            pose = follow_jaw(pose, landmarks[worn].detach().cpu().numpy())
        camera = read_camera(faces, worn, pose)
        look = _to_tensors(mask_columns(chosen, pose, camera), faces.device)
        for start in range(0, len(chosen), _CHUNK):
            part = slice(start, start + _CHUNK)
            rows, columns = _box(chosen[part], pose[part], faces)
            if min(rows.stop - rows.start, columns.stop - columns.start) < 2:
                continue  # these faces lie outside their pictures
            with torch.no_grad():
                fields = {name: column[part] for name, column in look.items()}
                layer = draw_layer(chosen[part], fields, self.tiles, self.template, rows, columns)
            if layer is None:
                continue
            rows, columns = layer.rows, layer.columns
            index = torch.tensor(worn[part], device=faces.device)
            # In place wherever the value is ours: half the memory traffic of new planes.
            shown = faces[:, :, rows, columns].index_select(0, index)
            shown *= layer.shade.mul_(1 - layer.alpha)[:, None]
            shown += layer.color.mul_(layer.alpha[:, None])
            masked[:, :, rows, columns].index_copy_(0, index, shown)
            region[:, 0, rows, columns].index_copy_(0, index, layer.alpha)
        return Rendered(masked, region)

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

    Args:
        faces: Any shape, float32.

    Returns:
        Same shape, uint8.

    Example:
        >>> to_uint8(torch.tensor([-0.1, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    return (faces.detach() * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8)


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


def _box(specs: list[MaskSpec], pose: Pose, faces: Tensor) -> tuple[slice, slice]:
    """Return the pixels to draw: those of the heads, unless a mask reaches past its head.

    What is drawn must lie within the box whichever faces share it, or they would change each other.
    """
    height, width = faces.shape[-2:]
    if all(KINDS[spec.kind].shape.cut == "head" for spec in specs):
        return bounding_box(pose, TOP, (height, width))
    return slice(0, height), slice(0, width)


def _to_tensors(columns: dict[str, NDArray[np.float64]], device: torch.device) -> Fields:
    """Send float64 columns (B,) to the device in one copy, as (B, 1, 1) float32."""
    table = torch.as_tensor(np.stack(list(columns.values())), dtype=torch.float32).to(device)
    return dict(zip(columns, table[:, :, None, None], strict=True))


def _check(faces: Tensor, points: Tensor, specs: Sequence[MaskSpec]) -> None:
    """Raise ShapeError unless faces, points and specs describe the same B pictures."""
    if faces.ndim != 4 or faces.shape[1] != 3 or faces.dtype != torch.float32:
        raise ShapeError(
            f"faces must be (B, 3, H, W) float32, got {tuple(faces.shape)} {faces.dtype}."
        )
    if tuple(points.shape) != (len(faces), 5, 2):
        raise ShapeError(f"points must be ({len(faces)}, 5, 2), got {tuple(points.shape)}.")
    if len(specs) != len(faces):
        raise ShapeError(f"there are {len(faces)} faces but {len(specs)} mask specs.")
