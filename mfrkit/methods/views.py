"""Turn crops into the two views of a training batch: masked for the student, clean for the teacher.

One draw serves both: the same mirroring and the same light, then the mask on a copy. Misalignment
and loss of resolution come last and reach the student only. They stand for a detector that places
landmarks worse on masked faces and for poor cameras; the template is what a good crop would give.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from kornia.geometry.transform import invert_affine_transform, warp_affine
from torch import Tensor, nn

from mfrkit.errors import ShapeError
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.view_draw import ViewDraw

_MIRRORED = [1, 0, 2, 4, 3]  # eyes and mouth corners change places


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

    def __init__(self) -> None:
        super().__init__()
        self.renderer = MaskRenderer()

    @torch.no_grad()
    def forward(
        self,
        crops: Tensor,
        points: Tensor,
        label: Tensor,
        index: Tensor,
        draws: Sequence[ViewDraw],
    ) -> FaceBatch:
        """Make both views.

        Args:
            crops: (B, 3, H, W) uint8 RGB; never written to.
            points: (B, 5, 2) float, the five points in crop pixels.
            label: (B,) int64.
            index: (B,) int64.
            draws: B draws.

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
        faces, points = _mirror(crops.float() / 255, points, draws)
        clean = _light(faces, draws)
        drawn = self.renderer(clean, points, [draw.spec for draw in draws])
        masked, region = _misalign(drawn.masked, drawn.region, draws)
        return FaceBatch(_coarsen(masked, draws), clean, region, label, index)


def _mirror(faces: Tensor, points: Tensor, draws: Sequence[ViewDraw]) -> tuple[Tensor, Tensor]:
    """Mirror the chosen faces and their points."""
    chosen = torch.tensor([draw.flip for draw in draws], device=faces.device)
    mirrored = points[:, _MIRRORED].clone()
    mirrored[..., 0] = faces.shape[3] - 1 - mirrored[..., 0]
    return (
        torch.where(chosen[:, None, None, None], faces.flip(3), faces),
        torch.where(chosen[:, None, None], mirrored, points),
    )


def _light(faces: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Change contrast about mid-grey, and brightness."""
    if all(draw.gain == 1 and draw.offset == 0 for draw in draws):
        return faces
    numbers = torch.tensor([(draw.gain, draw.offset) for draw in draws], device=faces.device)
    gain, offset = numbers.T[:, :, None, None, None]
    return ((faces - 0.5) * gain + 0.5 + offset).clamp(0, 1)


def _misalign(faces: Tensor, region: Tensor, draws: Sequence[ViewDraw]) -> tuple[Tensor, Tensor]:
    """Turn, scale and shift about the middle; beyond the crop its mirror image."""
    still = np.eye(2, dtype=np.float32)
    if all((draw.turn == still).all() and not draw.shift.any() for draw in draws):
        return faces, region
    height, width = faces.shape[2:]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    # Where each pixel of the view comes from, in pixels of the crop; kornia wants the way there.
    origins = [
        np.column_stack([d.turn, middle - d.turn @ middle + d.shift * (width, height)])
        for d in draws
    ]
    back = torch.from_numpy(np.stack(origins).astype(np.float32)).to(faces.device)
    moved = warp_affine(
        torch.cat([faces, region], 1),
        invert_affine_transform(back),
        (height, width),
        padding_mode="reflection",
        align_corners=True,
    )
    return moved[:, :3].clamp(0, 1), moved[:, 3:].clamp(0, 1)


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
