"""MEER's network: one backbone that recognises, finds the mask, and draws the face without it.

Paper:
    Wang, Zhang, Peng, Wang, Guo, "Seeing through the Mask: Multi-task Generative Mask Decoupling
    Face Recognition", arXiv:2311.11512. What it leaves open and was chosen here is told in
    `mfrkit.methods.meer`.

The backbone's features are parted in its middle: what is identity goes on to the embedding and to
a decoder that draws the face, what is mask to the head that finds it. An attention tensor A
weighs the feature map F: A * F is identity, (1 - A) * F is mask. Of the finer maps each part gets
as much as it has of F at that place.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard, Task
from mfrkit.models.completion import (
    Completion,
    Descriptor,
    Rise,
    doubled,
    gathering,
    no_change,
    smooth_filling,
)
from mfrkit.models.mobilefacenet import Unit
from mfrkit.models.recogniser import Backbone, Carded, MultiTask
from mfrkit.models.registry import build_network

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

    def first(self, count: int) -> "Decoupled":
        """Return those of the first faces alone."""
        attention = None if self.attention is None else self.attention[:count]
        return Decoupled([each[:count] for each in self.maps], attention)

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
    """A feature pyramid that gives A, with these channels at a quarter and at an eighth."""

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
    """The backbone with the decoupling in its middle, if identity is to be parted from mask."""

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


_FOLD = 2  # pixels of the face along one of the finest feature map
_FINEST = 16  # channels at the full resolution
_PLACES = 14  # sides of the coarsest map of a face of 112x112, and of the learned map of places
_HEADS = 4
_EDGE = 0.01  # fillings keep this distance from black and white
MARGIN = 2  # pixels by which regions are grown, as by the other generators


class RegionHead(nn.Module):
    """Say of every pixel, from the mask part alone, whether it is covered."""

    def __init__(
        self, channels: tuple[int, int, int], widths: tuple[int, int, int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        sizes = zip(channels, widths, strict=True)
        self.narrow = nn.ModuleList(Unit(had, width, prelu=False) for had, width in sizes)
        self.merge = nn.ModuleList(Unit(width, width, 3) for width in widths)
        self.rise = nn.ModuleList(
            Unit(coarse, fine, prelu=False) for fine, coarse in pairwise(widths)
        )
        self.last = Unit(widths[0], _FOLD**2, 3, prelu=False)

    def forward(self, parts: Decoupled) -> Tensor:
        """Return logits (B, 1, H, W), above 0 where a pixel is more likely covered than not."""
        fine, middle, coarse = (
            narrow(each) for narrow, each in zip(self.narrow, parts.mask(), strict=True)
        )
        x = self.merge[2](coarse)
        x = self.merge[1](middle + doubled(self.rise[1](x)))
        x = self.merge[0](fine + doubled(self.rise[0](x)))
        return F.pixel_shuffle(self.last(x), _FOLD)


class Decoder(nn.Module):
    """Draw the face without mask, from the identity part and a smooth filling of the hole."""

    def __init__(
        self, channels: tuple[int, int, int], widths: tuple[int, int, int] = (32, 64, 128)
    ) -> None:
        super().__init__()
        half, quarter, eighth = widths
        sizes = zip(channels, widths, strict=True)
        self.narrow = nn.ModuleList(nn.Conv2d(had, width, 1) for had, width in sizes)
        self.place = nn.Parameter(torch.zeros(1, eighth, _PLACES, _PLACES))
        self.middle = gathering(eighth, _HEADS)
        self.rise_4 = Rise(eighth, quarter)
        self.rise_2 = Rise(quarter, half)
        self.finish = nn.Conv2d(half, _FINEST, 3, 1, 1)
        self.picture = no_change(_FINEST)

    def forward(self, parts: Decoupled, filled: Tensor) -> Tensor:
        """Draw (B, 3, H, W) in [0, 1] from identity and pictures with smoothly filled holes."""
        fine, middle, coarse = (
            narrow(each) for narrow, each in zip(self.narrow, parts.identity(), strict=True)
        )
        place = F.interpolate(self.place, coarse.shape[2:], mode="bilinear")
        x = self.rise_2(self.rise_4(self.middle(coarse + place), middle), fine)
        change = self.picture(F.elu(self.finish(doubled(x))))
        # Half precision has too few steps for a picture. Added before the sigmoid, since a picture
        # that is cut off at black and white gives no gradient there.
        return torch.sigmoid(torch.logit(filled, _EDGE) + change.float())


class MeerNet(MultiTask):
    """All branches; called on normalised faces it is a recogniser and runs no other branch.

    Args:
        backbone: its architecture.
        arguments: of the backbone.
        decouple: whether to part identity from mask.
        synthesise: whether there is a decoder.

    Raises:
        InputError: a backbone that cannot be cut in the middle.
    """

    def __init__(
        self,
        backbone: str = "mobilefacenet",
        arguments: Mapping[str, Any] | None = None,
        *,
        decouple: bool = True,
        synthesise: bool = True,
    ) -> None:
        super().__init__()
        network = build_network(backbone, arguments or {})
        if not isinstance(network, Backbone) or network.finest != _FOLD:
            raise InputError(
                f"{backbone}: is no backbone for meer; take mobilefacenet or iresnet50"
            )
        self.identity = IdentityBranch(network, decouple=decouple)
        self.region = RegionHead(network.channels)
        self.decoder = Decoder(network.channels) if synthesise else None

    def forward(self, faces: Tensor) -> Tensor:
        """Return the (B, D) embedding of normalised faces, not of unit length."""
        return self.identity(faces)[0]

    def draw(self, parts: Decoupled, faces: Tensor, hole: Tensor) -> Tensor:
        """Draw whole faces, (B, 3, H, W) float32 in [0, 1].

        Args:
            parts: of the faces' features.
            faces: (B, 3, H, W) float, RGB in [0, 1].
            hole: (B, 1, H, W) float in [0, 1], where they are to be drawn anew.

        Raises:
            InputError: there is no decoder.
        """
        if self.decoder is None:
            raise InputError("this meer was trained with method.synthesise = false: it cannot draw")
        return self.decoder(parts, smooth_filling(faces, hole))

    def part(self, task: Task, card: ModelCard) -> nn.Module:
        """Return this network, its region predictor or its generator; see `MultiTask`."""
        if task == "region":
            return MeerRegion(self)
        return MeerCompletion(self, card) if task == "completion" else self


class MeerRegion(nn.Module):
    """The region predictor in a MEER network, on its weights."""

    def __init__(self, network: MeerNet) -> None:
        super().__init__()
        self.meer = network

    def forward(self, faces: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) of normalised faces."""
        return self.meer.region(self.meer.identity.decouple(faces))


class MeerCompletion(Completion):
    """The generator in a MEER network, on its weights.

    Unlike others it sees the mask itself, which its attention has to take out of the features: the
    hole says where its picture is laid in, and where the smooth filling is below it.
    """

    def __init__(self, network: MeerNet, card: ModelCard) -> None:
        super().__init__(MARGIN, multiple=16)
        self.carded = Carded(network, card)
        self.descriptors = {"identity": Descriptor(network.identity.backbone.channels[-1], _PLACES)}

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the faces at once; as in `Completion`."""
        network = cast(MeerNet, self.carded.network)
        return [network.draw(self._parts(faces), faces, hole)]

    def encode(self, faces: Tensor, region: Tensor, descriptor: str = "") -> Tensor:
        """Return the identity part of the features, the only descriptor."""
        return self._parts(faces).identity()[-1]

    def _parts(self, faces: Tensor) -> Decoupled:
        network = cast(MeerNet, self.carded.network)
        return network.identity.decouple(self.carded.prepare(faces))
