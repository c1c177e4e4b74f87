"""Critics: networks that tell completed faces from true ones, as a whole and where the mask was.

Paper:
    Iizuka, Simo-Serra, Ishikawa, "Globally and Locally Consistent Image Completion", SIGGRAPH 2017:
    one critic for the picture, one for its completed part. Layers as in Yu et al., "Generative
    Image Inpainting with Contextual Attention", CVPR 2018, arXiv:1801.07892; spectral normalisation
    as in Miyato et al., ICLR 2018, arXiv:1802.05957.
    Differs: a mask is no rectangle, so the local critic sees the bounding box of the region.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_LAYERS = 4
_LEAST = 8.0  # least side of a box, pixels


class Critic(nn.Sequential):
    """Score pictures of one size: higher for truer.

    Args:
        size: side of the square pictures.
        widths: channels of the four layers.
        spectral: limit every layer's gain to 1.
    """

    def __init__(self, size: int, widths: tuple[int, int, int, int], *, spectral: bool) -> None:
        limit = spectral_norm if spectral else nn.Identity()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *widths), widths, strict=False):
            layers += [limit(nn.Conv2d(inputs, outputs, 5, 2, 2)), nn.LeakyReLU(0.2)]
        side = -(-size // 2**_LAYERS)
        super().__init__(*layers, nn.Flatten(), limit(nn.Linear(widths[-1] * side**2, 1)))


class Critics(nn.Module):
    """The global and the local critic.

    Args:
        size: side of the faces; the local critic sees boxes of half of it.
        width: channels of the first layers; 64 in the paper.
        spectral: see `Critic`.

    Example:
        >>> faces, hole = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
        >>> hole[:, :, 32:] = 1
        >>> Critics(64, 8, spectral=True)(faces, hole).shape
        torch.Size([2, 2])
    """

    def __init__(self, size: int, width: int, *, spectral: bool) -> None:
        super().__init__()
        self.size = size
        self.whole = Critic(size, (width, 2 * width, 4 * width, 4 * width), spectral=spectral)
        self.part = Critic(size // 2, (width, 2 * width, 4 * width, 8 * width), spectral=spectral)

    def forward(self, faces: Tensor, hole: Tensor) -> Tensor:
        """Score faces.

        Args:
            faces: (B, 3, size, size) float, RGB in [0, 1]: true ones, or composites.
            hole: (B, 1, size, size) float in [0, 1].

        Returns:
            (B, 2) float, the global and the local score.
        """
        seen = faces * 2 - 1
        part = cut_boxes(seen, hole_boxes(hole), self.size // 2)
        return torch.cat([self.whole(seen), self.part(part)], 1)


def hole_boxes(hole: Tensor) -> Tensor:
    """Return the box round each hole; the whole picture where there is none.

    Convention:
        Edges of pixels, not centres: a hole of the first pixel alone reaches from 0 to 1. No box
        has a side below 8 pixels.

    Args:
        hole: (B, 1, H, W) in [0, 1]; a pixel counts from one half.

    Returns:
        (B, 4) float32: left, top, right, bottom.

    Example:
        >>> hole = torch.zeros(1, 1, 32, 32)
        >>> hole[0, 0, 10:20, 4:30] = 1
        >>> hole_boxes(hole).tolist()
        [[4.0, 10.0, 30.0, 20.0]]
    """
    covered = hole[:, 0] >= 0.5
    spans = []
    for axis in (1, 2):  # columns: any over rows; then rows: any over columns
        hit = covered.any(axis)
        length = hit.shape[1]
        first = hit.float().argmax(1)
        last = length - hit.flip(1).float().argmax(1)
        middle, half = (first + last) / 2, ((last - first) / 2).clamp_min(_LEAST / 2)
        none = ~hit.any(1)
        spans.append((middle - half).masked_fill(none, 0.0))
        spans.append((middle + half).masked_fill(none, float(length)))
    return torch.stack([spans[0], spans[2], spans[1], spans[3]], 1)


def cut_boxes(faces: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Cut boxes out and scale them to squares, bilinearly; gradients reach the faces.

    Args:
        faces: (B, C, H, W) float.
        boxes: (B, 4), as `hole_boxes` gives them; beyond the picture its border goes on.
        side: of the result, pixels.

    Returns:
        (B, C, side, side) float.
    """
    height, width = faces.shape[2:]
    left, top, right, bottom = (
        boxes.to(faces.dtype) / boxes.new_tensor([width, height, width, height]) * 2 - 1
    ).unbind(1)
    zero = torch.zeros_like(left)
    rows = [
        torch.stack([(right - left) / 2, zero, (right + left) / 2], 1),
        torch.stack([zero, (bottom - top) / 2, (bottom + top) / 2], 1),
    ]
    grid = F.affine_grid(
        torch.stack(rows, 1), [len(faces), faces.shape[1], side, side], align_corners=False
    )
    return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
