"""A recogniser: a network behind its card's colour order, mean and std; and what it sees.

Faces come as RGB in [0, 1], whatever the network was trained on. Networks may do more than one
task: one model file, several uses. Backbones can be cut where a feature map is still a map.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.models.cards import ModelCard, Task


class Backbone(nn.Module):
    """A network from faces to embeddings, in two halves.

    Attributes:
        channels: of the maps at a half, a quarter and an eighth of the resolution.
    """

    channels: tuple[int, int, int]

    def maps(self, faces: Tensor) -> list[Tensor]:
        """Compute the first half.

        Args:
            faces: (B, 3, H, W) float, normalised as the model card says; sides multiples of 16.

        Returns:
            The last map at each resolution: (B, C, H / 2, W / 2), then quarters, then eighths.
        """
        raise NotImplementedError

    def embed(self, coarse: Tensor) -> Tensor:
        """Compute the second half.

        Args:
            coarse: (B, C, 14, 14), the last of the maps.

        Returns:
            (B, D) float, not of unit length.
        """
        raise NotImplementedError

    def forward(self, faces: Tensor) -> Tensor:
        """Embed normalised faces.

        Args:
            faces: (B, 3, 112, 112) float, normalised as the model card says.

        Returns:
            (B, D) float, not of unit length.
        """
        return self.embed(self.maps(faces)[-1])


class Carded(nn.Module):
    """A network and what it takes to feed it.

    Args:
        network: takes (B, 3, H, W) normalised faces.
        card: how to normalise for it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.card = card
        # Not persistent: they belong to the card, and the tensors of a file to the network alone.
        self.register_buffer("mean", torch.tensor(card.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(3, 1, 1), persistent=False)

    def raw(self, faces: Tensor) -> Tensor:
        """Call the network on faces in the form it wants.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1], of the card's input size.

        Returns:
            What the network gives.

        Raises:
            ShapeError: not floating point, or of another shape or size.
        """
        result: Tensor = self.network(self.prepare(faces))
        return result

    def prepare(self, faces: Tensor) -> Tensor:
        """Return (B, 3, H, W) faces in the form the network wants.

        Args:
            faces: as for `raw`.

        Raises:
            ShapeError: as for `raw`.
        """
        check_faces(faces, self.card)
        mean, std = self.card.mean, self.card.std
        if len({*mean}) == len({*std}) == 1:  # the same values in a third of the time
            x = (faces - mean[0]).div_(std[0])
        else:
            x = (faces - self.mean).div_(self.std)
        return x.flip(1) if self.card.colour == "BGR" else x


def check_faces(faces: Tensor, card: ModelCard) -> None:
    """Refuse a batch the card's network cannot take.

    Raises:
        ShapeError: `faces` is not (B, 3, H, W) floating point of the card's input size.
    """
    if not faces.is_floating_point():
        raise ShapeError(f"{card.name}: expected float faces in [0, 1], got {faces.dtype}")
    size = card.input_size
    fits = faces.ndim == 4 and faces.shape[1] == 3
    if not fits or (size is not None and tuple(faces.shape[2:]) != size):
        wanted = "H, W" if size is None else f"{size[0]}, {size[1]}"
        raise ShapeError(
            f"{card.name}: expected faces (B, 3, {wanted}), got {tuple(faces.shape)}; "
            "mfrkit align makes crops of the right size"
        )


class MultiTask(nn.Module):
    """A network whose card names further tasks under `also`."""

    def part(self, task: Task, card: ModelCard) -> nn.Module:
        """Return what does one task, as the models that do nothing else are called.

        Args:
            task: one of the card's.
            card: of this network.

        Returns:
            A module on this network's own weights: for `recognition` and `region` it takes
            normalised faces, for `completion` it is a `Completion`.
        """
        raise NotImplementedError


def part_for(task: Task, network: nn.Module, card: ModelCard) -> nn.Module:
    """Return what does a task in a network: all of it, unless it does several."""
    return network.part(task, card) if isinstance(network, MultiTask) else network


class LooksFirst(nn.Module):
    """A network that makes something of the faces before it embeds them.

    It is done once for a face and its mirror image, which is half the work of a generator.
    """

    def look(self, faces: Tensor) -> Tensor:
        """Return what is embedded, (B, 3, H, W), of faces as `forward` takes them."""
        raise NotImplementedError

    def embed(self, looked: Tensor) -> Tensor:
        """Return the (B, D) embeddings of what `look` gave, or of its mirror image."""
        raise NotImplementedError


class AveragesViews(nn.Module):
    """A network whose parts average a face with its mirror image, each by itself."""

    def embed(self, faces: Tensor, *, flip: bool) -> Tensor:
        """Return (B, D) embeddings of faces as `forward` takes them, averaged if asked to."""
        raise NotImplementedError

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces as they are; (B, D) float, not of unit length."""
        return self.embed(faces, flip=False)


class Recogniser(Carded):
    """Turn RGB faces in [0, 1] into embeddings, whatever the network inside was trained on.

    Args:
        network: maps (B, 3, H, W) normalised faces to (B, D) features.
        card: how to normalise for it.

    Example:
        >>> from mfrkit.models.loading import load_recogniser
        >>> recogniser = load_recogniser("arcface")
        >>> recogniser(torch.rand(2, 3, 112, 112)).norm(dim=1).round(decimals=4).tolist()
        [1.0, 1.0]
    """

    def features(self, faces: Tensor) -> Tensor:
        """Embed faces, keeping the length the network gives.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1], of the card's input size.

        Returns:
            (B, D) float, not of unit length.

        Raises:
            ShapeError: not floating point, or of another shape or size.
        """
        return self.raw(faces)

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces on the unit sphere, so that a dot product is a cosine.

        Args:
            faces: as for `features`.

        Returns:
            (B, D) float, unit norm.

        Raises:
            ShapeError: as for `features`.
        """
        return F.normalize(self.features(faces))


def embed_faces(recogniser: Recogniser, faces: Tensor, *, flip: bool = True) -> Tensor:
    """Embed faces, averaging each with its mirror image if asked to.

    The average's direction is the field's usual f(x) + f(mirror x); halving the sum keeps its
    length comparable with that of a single view.

    Args:
        recogniser: in eval mode.
        faces: (B, 3, H, W) float, RGB in [0, 1].
        flip: average with the mirror image.

    Returns:
        (B, D) float, not of unit length.

    Raises:
        ShapeError: as `Recogniser.features`.
    """
    if not flip:
        return recogniser.features(faces)
    network = recogniser.network
    if isinstance(network, AveragesViews):
        return network.embed(recogniser.prepare(faces), flip=True)
    # One call for both views: twice the batch keeps the processor better fed.
    if isinstance(network, LooksFirst):
        looked = network.look(recogniser.prepare(faces))
        both = network.embed(torch.cat([looked, looked.flip(3)]))
    else:
        both = recogniser.features(torch.cat([faces, faces.flip(3)]))
    straight, mirrored = both.chunk(2)
    return (straight + mirrored) / 2


# Type of the network -> the modules after which its resolution falls.
STAGES: Mapping[str, tuple[str, ...]] = {
    "MobileFaceNet": ("stem", "block.04", "block.11"),
    "IResNet": ("layer1", "layer2", "layer3"),
    "EdgeFace": ("stages.0", "stages.1", "stages.2"),
}


class Seen(NamedTuple):
    """What is seen in B faces.

    Attributes:
        maps: (B, C, H, W) feature maps, fine ones first.
        embedding: (B, D), unit norm.
    """

    maps: list[Tensor]
    embedding: Tensor


class FaceFeatures(nn.Module):
    """Look at faces of any size through a recogniser.

    Args:
        recogniser: whose weights stay as they are; gradients reach the faces.

    Raises:
        InputError: a recogniser of an unknown family.

    Example:
        >>> import torch
        >>> from mfrkit.models.loading import load_recogniser
        >>> seen = FaceFeatures(load_recogniser("arcface"))(torch.rand(1, 3, 112, 112))
        >>> [tuple(each.shape[1:]) for each in seen.maps]
        [(64, 56, 56), (64, 28, 28), (128, 14, 14)]
    """

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser
        self._maps: list[Tensor] = []
        family = type(recogniser.network).__name__
        if family not in STAGES:
            raise InputError(
                f"{recogniser.card.name}: no feature maps are known of {family}; "
                f"choose one of {', '.join(STAGES)}"
            )
        for name in STAGES[family]:
            recogniser.network.get_submodule(name).register_forward_hook(self._note)

    def forward(self, faces: Tensor) -> Seen:
        """Look at faces (B, 3, H, W), RGB in [0, 1]."""
        size, resized = self.recogniser.card.input_size, faces
        if size is not None and tuple(faces.shape[2:]) != size:
            resized = F.interpolate(faces, size, mode="bilinear", antialias=True)
        self._maps = []
        embedding = self.recogniser(resized)
        maps, self._maps = self._maps, []
        return Seen(maps, embedding)

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._maps.append(output)
