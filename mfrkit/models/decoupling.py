"""Part a recogniser's features into identity and mask.

An attention tensor A weighs the feature map F in the middle of a backbone: A * F is identity and
goes on to the embedding, (1 - A) * F is mask. Of the finer maps each part gets as much as it has of
F at that place.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.backbone import Backbone
from mfrkit.models.mobilefacenet import Unit

_START = 0.9  # of A everywhere before training, so that both parts get gradients


class Decoupled(NamedTuple):
    """The maps of B faces, and which part of them is identity.

    Attributes:
        maps: (B, C, H, W) at a half, a quarter and an eighth of the resolution.
        attention: A, (B, C, H / 8, W / 8) in [0, 1] of the last map; None parts nothing, and both
            parts are everything.
    """

    maps: list[Tensor]
    attention: Tensor | None

    def identity(self) -> list[Tensor]:
        """Return the identity part of the maps."""
        return self.maps if self.attention is None else _share(self.maps, self.attention)

    def mask(self) -> list[Tensor]:
        """Return the mask part of the maps."""
        return self.maps if self.attention is None else _share(self.maps, 1 - self.attention)


def _share(maps: list[Tensor], share: Tensor) -> list[Tensor]:
    """Weigh the last map with a share, the finer ones with its mean over channels.

    The mean is not smoothed when it is enlarged: where the share is 0, nothing passes.
    """
    mean = share.mean(1, keepdim=True)
    finer = [each * F.interpolate(mean, each.shape[2:], mode="nearest") for each in maps[:-1]]
    return [*finer, maps[-1] * share]


class Attention(nn.Module):
    """A feature pyramid that gives A.

    Args:
        channels: of the backbone's maps.
        widths: channels at a quarter and at an eighth of the resolution.

    Example:
        >>> maps = [torch.rand(1, 4, side, side) for side in (16, 8, 4)]
        >>> Attention((4, 4, 4))(maps).round(decimals=4).unique().tolist()
        [0.8999999761581421]
    """

    def __init__(self, channels: tuple[int, int, int], widths: tuple[int, int] = (32, 64)) -> None:
        super().__init__()
        fine, middle, coarse = channels
        quarter, eighth = widths
        self.from_fine = nn.Sequential(
            Unit(fine, fine, 3, stride=2, depthwise=True), Unit(fine, quarter)
        )
        self.from_middle = Unit(middle, quarter)
        self.down = Unit(quarter, eighth, 3, stride=2)
        self.from_coarse = Unit(coarse, eighth)
        self.around = Unit(eighth, eighth, 7, depthwise=True)
        self.last = Unit(eighth, coarse, prelu=False)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, math.log(_START / (1 - _START)))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return A, of the shape of the last of the three maps."""
        fine, middle, coarse = maps
        x = self.down(self.from_fine(fine) + self.from_middle(middle))
        x = self.around(x + self.from_coarse(coarse))
        # 1 - A is small where there is no mask: half precision has too few digits for it.
        return torch.sigmoid(self.last(x).float())


class IdentityBranch(nn.Module):
    """The backbone with the decoupling in its middle.

    Args:
        backbone: the recogniser's network.
        decouple: whether to part identity from mask.
    """

    def __init__(self, backbone: Backbone, *, decouple: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.attention = Attention(backbone.channels) if decouple else None

    def forward(self, faces: Tensor) -> tuple[Tensor, Decoupled]:
        """Return the (B, D) embedding of normalised faces, and what the other branches need."""
        parts = self.decouple(faces)
        return self.embed(parts), parts

    def decouple(self, faces: Tensor) -> Decoupled:
        """Compute the first half of the backbone and part its maps."""
        maps = self.backbone.maps(faces)
        return Decoupled(maps, None if self.attention is None else self.attention(maps))

    def embed(self, parts: Decoupled) -> Tensor:
        """Return the (B, D) embedding.

        The identity part is A * F / 0.9, so that before any training it is F, and the embedding
        that of the backbone alone.
        """
        coarse = parts.maps[-1]
        if parts.attention is not None:
            coarse = coarse * (parts.attention * (1 / _START))
        return self.backbone.embed(coarse)
