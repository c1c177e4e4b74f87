"""MEER's network: one backbone that recognises, finds the mask, and draws the face without it.

Paper:
    Wang, Zhang, Peng, Wang, Guo, "Seeing through the Mask: Multi-task Generative Mask Decoupling
    Face Recognition", arXiv:2311.11512. What it leaves open and was chosen here is told in
    `mfrkit.methods.meer`.

The backbone's features are parted in its middle: what is identity goes on to the embedding and to a
decoder that draws the face, what is mask to the head that finds it.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.models.backbone import Backbone
from mfrkit.models.carded import Carded
from mfrkit.models.cards import ModelCard, Task
from mfrkit.models.completion import Completion, Descriptor
from mfrkit.models.decoupling import Decoupled, IdentityBranch
from mfrkit.models.filling import smooth_filling
from mfrkit.models.inpaint import Rise, doubled, gathering, no_change
from mfrkit.models.mobilefacenet import Unit
from mfrkit.models.multitask import MultiTask
from mfrkit.models.registry import build_network

_FOLD = 2  # pixels of the face along one of the finest feature map
_FINEST = 16  # channels at the full resolution
_PLACES = 14  # sides of the coarsest map of a face of 112x112, and of the learned map of places
_HEADS = 4
_EDGE = 0.01  # fillings keep this distance from black and white
MARGIN = 2  # pixels by which regions are grown, as by the other generators


class RegionHead(nn.Module):
    """Say of every pixel, from the mask part alone, whether it is covered.

    Args:
        channels: of the backbone's maps.
        widths: channels at a half, a quarter and an eighth of the resolution.
    """

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
    """Draw the face without mask, from the identity part and a smooth filling of the hole.

    Args:
        channels: of the backbone's maps.
        widths: channels at a half, a quarter and an eighth of the resolution.
    """

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
        """Draw.

        Args:
            parts: of which only the identity part is seen.
            filled: (B, 3, H, W) float, RGB in [0, 1], whose holes are filled smoothly.

        Returns:
            (B, 3, H, W) float32 in [0, 1].
        """
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

    Example:
        >>> network = MeerNet().eval()
        >>> network(torch.zeros(2, 3, 112, 112)).shape
        torch.Size([2, 192])
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
        if not isinstance(network, Backbone):
            raise InputError(
                f"{backbone}: is no backbone for meer; take mobilefacenet or iresnet50"
            )
        self.identity = IdentityBranch(network, decouple=decouple)
        self.region = RegionHead(network.channels)
        self.decoder = Decoder(network.channels) if synthesise else None

    def forward(self, faces: Tensor) -> Tensor:
        """Return the (B, D) embedding of normalised faces, not of unit length."""
        embedding: Tensor = self.identity(faces)[0]
        return embedding

    def draw(self, parts: Decoupled, faces: Tensor, hole: Tensor) -> Tensor:
        """Draw whole faces.

        Args:
            parts: of the faces' features.
            faces: (B, 3, H, W) float, RGB in [0, 1].
            hole: (B, 1, H, W) float in [0, 1], where they are to be drawn anew.

        Returns:
            (B, 3, H, W) float32 in [0, 1].

        Raises:
            InputError: there is no decoder.
        """
        if self.decoder is None:
            raise InputError("this meer was trained with method.synthesise = false: it cannot draw")
        picture: Tensor = self.decoder(parts, smooth_filling(faces, hole))
        return picture

    def part(self, task: Task, card: ModelCard) -> nn.Module:
        """Return this network, its region predictor or its generator; see `MultiTask`."""
        if task == "region":
            return MeerRegion(self)
        return MeerCompletion(self, card) if task == "completion" else self


class MeerRegion(nn.Module):
    """The region predictor in a MEER network.

    Args:
        network: whose weights it uses.
    """

    def __init__(self, network: MeerNet) -> None:
        super().__init__()
        self.meer = network

    def forward(self, faces: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) of normalised faces."""
        logits: Tensor = self.meer.region(self.meer.identity.decouple(faces))
        return logits


class MeerCompletion(Completion):
    """The generator in a MEER network.

    Unlike others it sees the mask itself, which its attention has to take out of the features: the
    hole says where its picture is laid in, and where the smooth filling is below it.

    Args:
        network: whose weights it uses.
        card: how to normalise for it.
    """

    def __init__(self, network: MeerNet, card: ModelCard) -> None:
        super().__init__(MARGIN, multiple=16)
        self.carded = Carded(network, card)
        self.descriptors = {"identity": Descriptor(network.identity.backbone.channels[-1], _PLACES)}

    def pictures(self, faces: Tensor, hole: Tensor) -> list[Tensor]:
        """Draw the faces at once; arguments and result as in `Completion`."""
        network = cast(MeerNet, self.carded.network)
        return [network.draw(self._parts(faces), faces, hole)]

    def encode(self, faces: Tensor, region: Tensor, descriptor: str = "") -> Tensor:
        """Return the identity part of the features, the only descriptor."""
        return self._parts(faces).identity()[-1]

    def _parts(self, faces: Tensor) -> Decoupled:
        network = cast(MeerNet, self.carded.network)
        return network.identity.decouple(self.carded.prepare(faces))
