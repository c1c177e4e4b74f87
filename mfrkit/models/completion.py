"""Completion generators: masked faces and regions in, finished faces out; the small one of them.

Paper:
    Gated convolution: Yu et al., ICCV 2019, arXiv:1806.03589. Attention over all positions of a
    feature map: Zhang et al., "Self-Attention Generative Adversarial Networks", ICML 2019,
    arXiv:1805.08318, with the heads of Vaswani et al., arXiv:1706.03762.
    Own design: made so that an hour on one processor core trains it. The hole is filled smoothly
    first, and what is drawn is added to that: colours fit from the first step. Pixels are folded
    into channels at once (2x2 to 1), most filters work at 28x28 and below. At 14x14 a learned map
    of places says where in an aligned face a mouth is, and attention takes what the visible half
    says to the hidden one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import ShapeError

_LEAST = 1e-6  # where nothing is seen, nothing is divided by nothing
_FOLD = 2  # pixels of the face along one of the finest feature map
_FINEST = 16  # channels at the full resolution
_PLACES = 14  # sides of the learned map of places


def smooth_filling(faces: Tensor, hole: Tensor) -> Tensor:
    """Fill holes from coarser and coarser averages of the pixels that are seen.

    Paper:
        Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4: pull and push.

    Args:
        faces: (B, 3, H, W) float, RGB in [0, 1].
        hole: (B, 1, H, W) float in [0, 1]; what the faces show where it is 1 has no influence.

    Returns:
        (B, 3, H, W) float in [0, 1], the face itself where the hole is 0.
    """
    seen = 1 - hole
    return _fill(faces * seen, seen)


def _fill(colour: Tensor, seen: Tensor) -> Tensor:
    """Fill one level of the pyramid; `colour` is multiplied by how much of each pixel is seen."""
    if max(colour.shape[2:]) == 1:
        return colour / seen.clamp_min(_LEAST)
    # A pixel of the coarser level counts in full as soon as one of its four is seen.
    share = F.avg_pool2d(seen, 2, ceil_mode=True)
    weight = (4 * share).clamp_max(1)
    coarse = _fill(
        F.avg_pool2d(colour, 2, ceil_mode=True) * (weight / share.clamp_min(_LEAST)), weight
    )
    size = [colour.shape[2], colour.shape[3]]
    spread = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return colour + (1 - seen) * spread


class Descriptor(NamedTuple):
    """A feature map at which a generator can be left before it draws.

    Attributes:
        channels: of the map.
        side: of the map of a face of 112x112.
    """

    channels: int
    side: int


class Completion(nn.Module):
    """Fill the region of a face, and leave the rest of the picture as it is.

    A subclass draws whole pictures; only their part inside the hole is used. The hole is the region
    grown by a margin: where a mask's edge is soft its colour shines through, and a predicted edge
    may be a pixel off.

    Attributes:
        descriptors: its maps by name, in the order they are computed; the first is the usual one.

    Args:
        margin: pixels by which the region is grown.
        multiple: what the sides of a face must be a multiple of.
    """

    descriptors: Mapping[str, Descriptor]

    def __init__(self, margin: int, multiple: int) -> None:
        super().__init__()
        self.margin, self.multiple = margin, multiple

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the faces, from a first sketch to the final picture: (B, 3, H, W) float32 in [0, 1].

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1].
            hole: (B, 1, H, W) float in [0, 1]; what the faces show where it is 1 has no influence.
        """
        raise NotImplementedError

    def encode(self, faces: Tensor, region: Tensor, descriptor: str = "") -> Tensor:
        """Return what the generator knows of masked faces before it draws, (B, C, H', W') float.

        Faces and region are those of `forward`; of `descriptors` the first unless one is named.
        """
        raise NotImplementedError

    def cut(self, descriptor: str) -> None:
        """Let go of all that `encode` does not need up to a descriptor; nothing is drawn then."""
        raise NotImplementedError

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile what draws, as `nn.Module.compile`; training asks for it without the rest."""
        self.pictures = torch.compile(self.pictures, *args, **options)  # type: ignore[method-assign]

    def hole(self, region: Tensor) -> Tensor:
        """Return the (B, 1, H, W) region grown by the margin."""
        return grown(region, self.margin)

    def forward(self, faces: Tensor, region: Tensor) -> Tensor:
        """Complete masked faces.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1].
            region: (B, 1, H, W) float in [0, 1], 1 where the face is covered.

        Returns:
            (B, 3, H, W) float32 in [0, 1]; pixels farther than the margin from the region equal the
            input's exactly.

        Raises:
            ShapeError: the two do not fit together, or their sides the network.
        """
        self.check(faces, region)
        hole = self.hole(region)
        return composite(self.pictures(faces, hole)[-1], faces, hole)

    def check(self, faces: Tensor, region: Tensor) -> None:
        """Raise ShapeError unless these are faces and regions the network takes."""
        if faces.ndim != 4 or faces.shape[1] != 3 or not faces.is_floating_point():
            raise ShapeError(
                f"faces must be (B, 3, H, W) float, got {tuple(faces.shape)} {faces.dtype}"
            )
        wanted = (len(faces), 1, *faces.shape[2:])
        if tuple(region.shape) != wanted:
            raise ShapeError(f"the region must be {wanted}, got {tuple(region.shape)}")
        if any(side % self.multiple for side in faces.shape[2:]):
            raise ShapeError(
                f"sides must be multiples of {self.multiple}, got {tuple(faces.shape[2:])}"
            )


def grown(region: Tensor, margin: int) -> Tensor:
    """Grow regions (B, 1, H, W) by a margin, pixels, on all sides."""
    side = 2 * margin + 1
    # Rows, then columns: a square of pixels in two passes.
    rows = F.max_pool2d(region, (side, 1), 1, (margin, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, margin))


def composite(pictures: Tensor, faces: Tensor, hole: Tensor) -> Tensor:
    """Lay pictures into the holes of faces; exactly the face where the hole is 0."""
    return torch.lerp(faces, pictures.to(faces.dtype), hole.expand_as(faces))


class GatedConv(nn.Module):
    """Filter, and multiply by a learned gate between 0 and 1: pixels of a hole need not count.

    Paper:
        Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019,
        arXiv:1806.03589, section 3.1. The gate is a 1x1 convolution as in Yi et al., "Contextual
        Residual Aggregation", CVPR 2020, arXiv:2005.09704, section 3.3, which costs a ninth.
        Differs: where input and output have the same shape, the input is added.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.filter = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation)
        self.gate = nn.Conv2d(inputs, outputs, 1, stride)
        self.residual = stride == 1 and inputs == outputs
        # An open gate lets half through at first; without this the signal dies out with depth. What
        # is only added to its input begins small.
        nn.init.kaiming_normal_(self.filter.weight, nonlinearity="relu")
        with torch.no_grad():
            self.filter.weight.mul_(0.5 if self.residual else 2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = F.elu(self.filter(x)) * torch.sigmoid(self.gate(x))
        return x + y if self.residual else y


class SelfAttention(nn.Module):
    """Let every position of a feature map gather from all others, by independent heads.

    What is gathered is added to the input.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Conv2d(channels, 3 * channels, 1)
        self.merge = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        batch, channels, height, width = x.shape
        shape = (batch, 3, self.heads, channels // self.heads, height * width)
        query, key, value = self.project(x).reshape(shape).transpose(3, 4).unbind(1)
        # At this size written out twice as fast as torch's fused attention, backwards included.
        share = torch.softmax((query * query.shape[-1] ** -0.5) @ key.transpose(2, 3), -1)
        gathered = share @ value
        return x + self.merge(gathered.transpose(2, 3).reshape(x.shape))


def gathering(channels: int, heads: int) -> nn.Sequential:
    """Build the layers of the coarsest map, which take what is seen to where it is not."""
    return nn.Sequential(
        SelfAttention(channels, heads),
        *(GatedConv(channels, channels, dilation=rate) for rate in (1, 2, 4)),
        SelfAttention(channels, heads),
        GatedConv(channels, channels),
    )


def no_change(inputs: int) -> nn.Conv2d:
    """Build a last layer that at first adds nothing: the picture is the smooth filling itself."""
    last = nn.Conv2d(inputs, 3, 3, 1, 1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return last


class SmallCompletion(Completion):
    """Complete crops whose sides are multiples of 16: 2,191,107 parameters at the usual widths.

    Args:
        widths: channels at a half, a quarter, an eighth and a sixteenth of the resolution.
        heads: of the attention at an eighth.
        margin: pixels by which a region is grown.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (32, 64, 128, 144),
        heads: int = 4,
        margin: int = 2,
    ) -> None:
        super().__init__(margin, multiple=16)
        half, quarter, eighth, sixteenth = widths
        self.descriptors = {
            "middle": Descriptor(eighth, 14),
            "rise_4": Descriptor(quarter, 28),
            "joined_4": Descriptor(2 * quarter, 28),  # beside it, the same size on the way down
            "rise_2": Descriptor(half, 56),
        }
        self.down_2 = GatedConv(4 * _FOLD**2, half)
        self.down_4 = nn.Sequential(GatedConv(half, quarter, stride=2), GatedConv(quarter, quarter))
        self.down_8 = nn.Sequential(GatedConv(quarter, eighth, stride=2), GatedConv(eighth, eighth))
        self.down_16 = nn.Sequential(
            GatedConv(eighth, sixteenth, stride=2),
            GatedConv(sixteenth, sixteenth),
            GatedConv(sixteenth, sixteenth),
        )
        self.rise_8 = Rise(sixteenth, eighth)
        self.place = nn.Parameter(torch.zeros(1, eighth, _PLACES, _PLACES))
        self.middle = gathering(eighth, heads)
        self.rise_4 = Rise(eighth, quarter)
        self.rise_2 = Rise(quarter, half)
        self.finish = nn.Conv2d(half, _FINEST, 3, 1, 1)
        self.picture = no_change(_FINEST)

    def encode(self, faces: Tensor, region: Tensor, descriptor: str = "") -> Tensor:
        """Return the features at an eighth of the resolution, or those of a step up from there."""
        self.check(faces, region)
        hole = self.hole(region)
        half, quarter, x = self._features(smooth_filling(faces, hole), hole)
        if descriptor in ("rise_4", "joined_4", "rise_2"):
            x = self.rise_4(x, quarter)
        if descriptor == "joined_4":
            return torch.cat([x, quarter], 1)
        return self.rise_2(x, half) if descriptor == "rise_2" else x

    def cut(self, descriptor: str) -> None:
        """Let go of the steps up behind a descriptor, and of the picture."""
        if descriptor == "middle":
            del self.rise_4
        if descriptor != "rise_2":
            del self.rise_2
        del self.finish, self.picture

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the faces at once; as in `Completion`."""
        filled = smooth_filling(faces, hole)
        half, quarter, middle = self._features(filled, hole)
        x = self.rise_2(self.rise_4(middle, quarter), half)
        change = self.picture(F.elu(self.finish(doubled(x))))
        # Half precision has too few steps for a picture.
        return [(filled + change.float()).clamp(0, 1)]

    def _features(self, filled: Tensor, hole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = torch.cat([filled * 2 - 1, hole], 1)
        half = self.down_2(F.pixel_unshuffle(seen, _FOLD))
        quarter = self.down_4(half)
        eighth = self.down_8(quarter)
        x = self.rise_8(self.down_16(eighth), eighth)
        place = F.interpolate(self.place, x.shape[2:], mode="bilinear")
        return half, quarter, self.middle(x + place)


def doubled(x: Tensor) -> Tensor:
    """Double the sides smoothly: repeated or shuffled pixels leave a grid on skin."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")


class Rise(nn.Module):
    """Double the resolution and join what the encoder knew there."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.join = GatedConv(2 * outputs, outputs)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, inputs, H, W) and (B, outputs, 2H, 2W) to the latter's shape."""
        risen = doubled(self.narrow(coarse))
        return self.join(torch.cat([risen, fine], 1))
