"""Turn crops into the two views of a training batch: masked for the student, clean for the teacher.

One draw serves both: the same light, then the mask on a copy, and in the end the same mirroring.
Alignment and loss of resolution reach the student only. A face that was cut out wide is aligned
anew with its mask on, as `align` would do it; any other is moved as far as masks move alignments.
The template is what a good crop would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from kornia.geometry.transform import invert_affine_transform, warp_affine
from torch import Tensor, nn

from mfrkit.errors import ShapeError
from mfrkit.faces.mesh import IBUG
from mfrkit.masks.renderer import MaskRenderer, Rendered
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.realign import Context, MeshAligner
from mfrkit.methods.view_draw import ViewDraw


@dataclass(frozen=True)
class _Faces:
    """Faces in the light of their draws, in the pixels of their plain crops."""

    pixels: Tensor
    points: Tensor
    landmarks: Tensor
    turns: Tensor
    draws: Sequence[ViewDraw]

    def part(self, places: Sequence[int]) -> "_Faces":
        """Return some of them."""
        at = list(places)
        draws = [self.draws[place] for place in at]
        return _Faces(self.pixels[at], self.points[at], self.landmarks[at], self.turns[at], draws)


class PairedViews(nn.Module):
    """Show a batch of faces twice.

    Example:
        >>> from mfrkit.masks.options import MaskOptions
        >>> from mfrkit.methods.view_draw import ViewOptions, draw_view
        >>> crops = torch.full((1, 3, 112, 112), 128, dtype=torch.uint8)
        >>> points = torch.tensor([[[38.0, 52], [74, 52], [56, 72], [41, 92], [71, 92]]])
        >>> draws = [draw_view(0, 0, 0, ViewOptions(), MaskOptions())]
        >>> batch = PairedViews()(crops, points, torch.tensor([-1]), torch.tensor([0]), draws)
        >>> tuple(batch.masked.shape), batch.masked is batch.clean
        ((1, 3, 112, 112), False)
    """

    def __init__(
        self, aligner: MeshAligner | None = None, renderer: MaskRenderer | None = None
    ) -> None:
        """Prepare to show.

        Args:
            aligner: aligns anew the faces whose draws ask for it; None moves those too.
            renderer: draws the masks; None for one without masks of the user's own.
        """
        super().__init__()
        self.renderer = renderer or MaskRenderer()
        self.aligner = aligner

    @torch.no_grad()
    def forward(
        self,
        crops: Tensor,
        points: Tensor,
        label: Tensor,
        index: Tensor,
        draws: Sequence[ViewDraw],
        landmarks: Tensor | None = None,
        turns: Tensor | None = None,
        context: Context | None = None,
    ) -> FaceBatch:
        """Make both views.

        Args:
            crops: (B, 3, H, W) uint8 RGB; never written to.
            points: (B, 5, 2) float, the five points in crop pixels.
            label: (B,) int64.
            index: (B,) int64.
            draws: B draws.
            landmarks: (B, 68, 2) float, which masks follow; NaN for a face that has none.
            turns: (B, 2) float, yaw and pitch in degrees of the faces whose landmarks are those of
                a mesh; NaN for others.
            context: what is seen round the faces that were cut out wide, on the crops' device.

        Returns:
            The batch, on the crops' device.

        Raises:
            ShapeError: crops that are not uint8 (B, 3, H, W), or not as many draws.
        """
        if crops.ndim != 4 or crops.dtype != torch.uint8 or len(draws) != len(crops):
            raise ShapeError(
                f"expected uint8 crops (B, 3, H, W) and as many draws, got {crops.dtype} "
                f"{tuple(crops.shape)} and {len(draws)}"
            )
        if landmarks is None:
            landmarks = points.new_full((len(points), len(IBUG), 2), torch.nan)
        if turns is None:
            turns = points.new_full((len(points), 2), torch.nan)
        clean = _lit(crops, draws)
        faces = _Faces(clean, points, landmarks, turns, draws)
        if context is None:
            masked, region = self._moved(faces)
        else:
            masked, region = torch.empty_like(clean), torch.empty_like(clean[:, :1])
            wide = context.place.tolist()
            near = sorted(set(range(len(draws))) - set(wide))
            masked[wide], region[wide] = self._aligned(faces.part(wide), context)
            if near:
                masked[near], region[near] = self._moved(faces.part(near))
        clean, masked, region = (_mirrored(each, draws) for each in (clean, masked, region))
        return FaceBatch(_coarsen(masked, draws), clean, region, label, index)

    def _moved(self, faces: _Faces) -> tuple[Tensor, Tensor]:
        """Mask plain crops and move them; beyond the crop lies its mirror image."""
        specs = [draw.spec for draw in faces.draws]
        drawn = self.renderer(faces.pixels, faces.points, specs, faces.landmarks, faces.turns)
        if all(draw.is_still for draw in faces.draws):
            return drawn.masked, drawn.region
        matrix = _moves(faces.draws, faces.pixels.shape[3]).to(faces.pixels.device)
        return _cut(drawn, matrix, faces.pixels.shape[3], "reflection")

    def _aligned(self, faces: _Faces, context: Context) -> tuple[Tensor, Tensor]:
        """Mask wide crops and cut the faces out where their meshes, or else the draws, say."""
        side = faces.pixels.shape[3]
        edge = (context.pictures.shape[3] - side) // 2
        pictures = _lit(context.pictures, faces.draws)
        specs = [draw.spec for draw in faces.draws]
        points, landmarks = faces.points + edge, faces.landmarks + edge
        drawn = self.renderer(pictures, points, specs, landmarks, faces.turns)
        matrix = _moves(faces.draws, side, edge).to(pictures.device)
        meshed = [place for place, draw in enumerate(faces.draws) if draw.meshed]
        if self.aligner is not None and meshed:
            boxes = _shaken(context.boxes, faces.draws)[meshed]
            boxes[:, :2] += edge
            found, sure = self.aligner(drawn.masked[meshed], boxes, side)
            matrix[meshed] = torch.where(sure[:, None, None], found, matrix[meshed])
        return _cut(drawn, matrix, side, "zeros")


def _lit(crops: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Return uint8 crops with contrast about mid-grey and brightness changed, float in [0, 1]."""
    numbers = torch.tensor([(draw.gain, draw.offset) for draw in draws], device=crops.device)
    gain, offset = numbers.T[:, :, None, None, None]
    return crops.float().mul_(gain / 255).add_(0.5 - 0.5 * gain + offset).clamp_(0, 1)


def _mirrored(faces: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Mirror the chosen faces."""
    chosen = torch.tensor([draw.flip for draw in draws], device=faces.device)
    return torch.where(chosen[:, None, None, None], faces.flip(3), faces)


def _shaken(boxes: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Return a detector's boxes, (M, 4) as those of `Context`, with its errors."""
    errors = torch.from_numpy(np.stack([draw.box for draw in draws])).to(boxes.device)
    side = boxes[:, 2:3]
    middle = boxes[:, :2] + side * errors[:, 2:]
    return torch.cat([middle, side * errors[:, 1:2].exp(), boxes[:, 3:] + errors[:, :1]], 1)


def _moves(draws: Sequence[ViewDraw], side: int, edge: int = 0) -> Tensor:
    """Return the (B, 2, 3) maps to the views of faces that turn, grow and shift about the middle.

    They lead from the pixels of crops of this side, or of wider ones by so many pixels.
    """
    middle = np.full(2, (side - 1) / 2)
    # Where each pixel of the view comes from; kornia wants the way there.
    origins = [
        np.column_stack([d.turn, middle - d.turn @ middle + d.shift * side + edge]) for d in draws
    ]
    return invert_affine_transform(torch.from_numpy(np.stack(origins).astype(np.float32)))


def _cut(drawn: Rendered, matrix: Tensor, side: int, beyond: str) -> tuple[Tensor, Tensor]:
    """Cut squares and their regions out of pictures; `beyond` is what lies outside those."""
    both = torch.cat([drawn.masked, drawn.region], 1)
    cut = warp_affine(both, matrix, (side, side), padding_mode=beyond, align_corners=True)
    return cut[:, :3].clamp(0, 1), cut[:, 3:].clamp(0, 1)


def _coarsen(faces: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Shrink and enlarge the chosen faces again."""
    height, width = faces.shape[2:]
    faces = faces.clone()
    for place, draw in enumerate(draws):
        if draw.coarse > 1:
            size = [max(8, round(height / draw.coarse)), max(8, round(width / draw.coarse))]
            small = F.interpolate(faces[place : place + 1], size, mode="area")
            faces[place] = F.interpolate(small, [height, width], mode="bilinear")[0]
    return faces
