"""The generator of the papers, and the critics it plays against.

The generator has two stages, the second with contextual attention. The critics tell completed faces
from true ones, as a whole and where the mask was.

Paper:
    Yu et al., "Generative Image Inpainting with Contextual Attention", CVPR 2018,
    arXiv:1801.07892, section 3 and figures 3 and 4, with the layer sizes of its published code. Li
    et al., arXiv:2409.12385, name it as their baseline.
    Differs: any sides that are multiples of 8.
    One critic for the picture, one for its completed part: Iizuka, Simo-Serra, Ishikawa, "Globally
    and Locally Consistent Image Completion", SIGGRAPH 2017; spectral normalisation as in Miyato et
    al., ICLR 2018, arXiv:1802.05957.
    Differs: a mask is no rectangle, so the local critic sees the bounding box of the region.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mfrkit.models.completion import Completion, Descriptor, composite

_SHRUNK = 2  # patches are matched at half the features' resolution
_SHARPNESS = 10.0  # factor on the scores before the softmax
_DILATIONS = (2, 4, 8, 16)


class ContextualCompletion(Completion):
    """Sketch a face coarsely, then draw it finely with patches borrowed from what is visible.

    Args:
        width: channels of the first layers, c; 32 in the paper.
        margin: pixels by which a region is grown.
    """

    def __init__(self, width: int = 32, margin: int = 2) -> None:
        super().__init__(margin, multiple=8)
        c = width
        self.descriptors = {"joined": Descriptor(8 * c, 28)}
        down = (2 * c, 2 * c, 4 * c, 4 * c, 4 * c)
        self.sketch = nn.Sequential(_encoder(c, down), _dilated(4 * c), _decoder(4 * c, c))
        narrow = (c, 2 * c, 2 * c, 4 * c, 4 * c)
        self.dilated = nn.Sequential(_encoder(c, narrow), _dilated(4 * c))
        self.matched = _encoder(c, (c, 2 * c, 4 * c, 4 * c, 4 * c))
        self.matched[-1] = nn.ReLU()
        self.copied = nn.Sequential(_conv(4 * c, 4 * c), _conv(4 * c, 4 * c))
        self.decoder = _decoder(8 * c, c)

    def encode(self, faces: Tensor, region: Tensor, descriptor: str = "") -> Tensor:
        """Return both branches' features of the second stage, at a quarter of the resolution."""
        self.check(faces, region)
        hole = self.hole(region)
        return self._encode(faces, hole, self._sketch(faces, hole))

    def cut(self, descriptor: str) -> None:
        """Let go of the second stage's decoder; the first is needed to see the sketch."""
        del self.decoder

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the sketch and the final picture; as in `Completion`."""
        sketch = self._sketch(faces, hole)
        final = self.decoder(self._encode(faces, hole, sketch))
        return [sketch, _picture(final)]

    def _sketch(self, faces: Tensor, hole: Tensor) -> Tensor:
        return _picture(self.sketch(_stage_input(faces * 2 - 1, hole, erase=True)))

    def _encode(self, faces: Tensor, hole: Tensor, sketch: Tensor) -> Tensor:
        x = _stage_input(composite(sketch, faces, hole) * 2 - 1, hole, erase=False)
        matched = self.matched(x)
        small = F.adaptive_max_pool2d(hole, (matched.shape[2], matched.shape[3]))
        return torch.cat([self.dilated(x), self.copied(borrow_patches(matched, small))], 1)


def borrow_patches(features: Tensor, hole: Tensor) -> Tensor:
    """Rebuild a feature map from its own patches outside the hole, each place from those like it.

    Patches of 3x3 at half the resolution are compared by their product with the other patch's unit
    vector. Scores of neighbouring patches are fused, since neighbours borrow from neighbours; a
    softmax makes them shares, in which 4x4 patches of the full resolution are summed.

    Args:
        features: (B, C, H, W) float, H and W even.
        hole: (B, 1, H, W) in [0, 1]; nothing is borrowed from a patch that touches it.
    """
    height, width = features.shape[2] // _SHRUNK, features.shape[3] // _SHRUNK
    small = features[:, :, ::_SHRUNK, ::_SHRUNK]
    patches = F.unfold(small, 3, padding=1)  # (B, 9C, L): one column per place
    known = patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-4)
    scores = known.transpose(1, 2) @ patches  # (B, L known, L places)
    scores = _fuse(scores, height, width)
    touched = F.unfold(F.max_pool2d(hole, _SHRUNK), 3, padding=1).amax(1)
    usable = (touched == 0).to(scores.dtype)[:, :, None]
    shares = torch.softmax(_SHARPNESS * scores * usable, 1) * usable
    whole = F.unfold(features, 2 * _SHRUNK, padding=1, stride=_SHRUNK)  # (B, 16C, L)
    size = (features.shape[2], features.shape[3])
    return F.fold(whole @ shares, size, 2 * _SHRUNK, padding=1, stride=_SHRUNK) / 4


def _fuse(scores: Tensor, height: int, width: int) -> Tensor:
    """Add the scores of the pairs one step on and one step back, along rows, then along columns."""
    batch = len(scores)
    diagonal = torch.eye(3, device=scores.device, dtype=scores.dtype)[None, None]
    for first, second in ((height, width), (width, height)):
        fused = F.conv2d(scores[:, None], diagonal, padding=1)
        # Number the places column by column the first time, and back the second.
        grid = fused.view(batch, first, second, first, second)
        scores = grid.permute(0, 2, 1, 4, 3).reshape(batch, height * width, -1)
    return scores


def _stage_input(faces: Tensor, hole: Tensor, *, erase: bool) -> Tensor:
    """Return (B, 5, H, W): faces in [-1, 1], a constant that marks the border, holes."""
    shown = faces * (1 - hole) if erase else faces
    return torch.cat([shown, torch.ones_like(hole), hole], 1)


def _picture(drawn: Tensor) -> Tensor:
    """Clip what a decoder gives, in [-1, 1], to a picture in [0, 1]."""
    return (drawn.float() / 2 + 0.5).clamp(0, 1)


def _conv(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Module:
    filters = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation)
    return nn.Sequential(filters, nn.ELU())


def _encoder(width: int, widths: tuple[int, int, int, int, int]) -> nn.Sequential:
    """Return six layers that quarter the resolution, for the five channels of a stage's input."""
    a, b, c, d, e = widths
    first = nn.Sequential(nn.Conv2d(5, width, 5, 1, 2), nn.ELU())
    return nn.Sequential(
        first,
        _conv(width, a, stride=2),
        _conv(a, b),
        _conv(b, c, stride=2),
        _conv(c, d),
        nn.Conv2d(d, e, 3, 1, 1),
        nn.ELU(),
    )


def _dilated(channels: int) -> nn.Sequential:
    return nn.Sequential(*(_conv(channels, channels, dilation=rate) for rate in _DILATIONS))


def _decoder(inputs: int, width: int) -> nn.Sequential:
    """Return the layers that draw a picture from features at a quarter of its resolution."""
    return nn.Sequential(
        _conv(inputs, 4 * width),
        _conv(4 * width, 4 * width),
        nn.Upsample(scale_factor=2, mode="nearest"),
        _conv(4 * width, 2 * width),
        _conv(2 * width, 2 * width),
        nn.Upsample(scale_factor=2, mode="nearest"),
        _conv(2 * width, width),
        _conv(width, width // 2),
        nn.Conv2d(width // 2, 3, 3, 1, 1),
    )


_LAYERS = 4
_LEAST = 8.0  # least side of a box, pixels


class Critic(nn.Sequential):
    """Score square pictures of one size: higher for truer."""

    def __init__(self, size: int, widths: tuple[int, int, int, int], *, spectral: bool) -> None:
        limit = spectral_norm if spectral else nn.Identity()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *widths), widths, strict=False):
            layers += [limit(nn.Conv2d(inputs, outputs, 5, 2, 2)), nn.LeakyReLU(0.2)]
        side = -(-size // 2**_LAYERS)
        super().__init__(*layers, nn.Flatten(), limit(nn.Linear(widths[-1] * side**2, 1)))


class Critics(nn.Module):
    """The global and the local critic, which sees boxes of half the faces' side, `size`.

    `width`, the channels of the first layers, is 64 in the paper; `spectral` limits the gain of
    every layer to 1.
    """

    def __init__(self, size: int, width: int, *, spectral: bool) -> None:
        super().__init__()
        self.size = size
        self.whole = Critic(size, (width, 2 * width, 4 * width, 4 * width), spectral=spectral)
        self.part = Critic(size // 2, (width, 2 * width, 4 * width, 8 * width), spectral=spectral)

    def forward(self, faces: Tensor, hole: Tensor) -> Tensor:
        """Score faces, true ones or composites: (B, 2) float, the global and the local score.

        Args:
            faces: (B, 3, size, size) float, RGB in [0, 1].
            hole: (B, 1, size, size) float in [0, 1].
        """
        seen = faces * 2 - 1
        part = cut_boxes(seen, hole_boxes(hole), self.size // 2)
        return torch.cat([self.whole(seen), self.part(part)], 1)


def hole_boxes(hole: Tensor) -> Tensor:
    """Return the box round each hole; the whole picture where there is none.

    Edges of pixels, not centres: a hole of the first pixel alone reaches from 0 to 1. No box has a
    side below 8 pixels.

    Args:
        hole: (B, 1, H, W) in [0, 1]; a pixel counts from one half.

    Returns:
        (B, 4) float32: left, top, right, bottom.
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
    """Cut boxes, as `hole_boxes` gives them, out of (B, C, H, W) and scale them to squares.

    Bilinearly; gradients reach the faces. Beyond the picture its border goes on.
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
