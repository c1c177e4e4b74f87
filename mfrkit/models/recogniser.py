"""A recogniser: a network behind its card's colour order, mean and std; and what it sees.

Faces come as RGB in [0, 1], whatever the network was trained on. Networks may do more than one
task: one model file, several uses. Backbones can be cut where a feature map is still a map.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.models.cards import ModelCard, Task


class Backbone(nn.Module):
    """A network from faces to embeddings, in two halves.

    Attributes:
        channels: of the maps, fine ones first.
        finest: pixels of a face along one of the first map.
    """

    channels: tuple[int, int, int]
    finest = 2

    def maps(self, faces: Tensor) -> list[Tensor]:
        """Compute the first half: the last map (B, C, H, W) at three resolutions, fine ones first.

        Args:
            faces: (B, 3, H, W) float, normalised as the model card says; sides multiples of 16.
        """
        raise NotImplementedError

    def embed(self, coarse: Tensor) -> Tensor:
        """Compute the second half: the last map of a face of 112x112 to (B, D), of any length."""
        raise NotImplementedError

    def forward(self, faces: Tensor) -> Tensor:
        """Embed (B, 3, 112, 112) faces, normalised as the card says: (B, D), not of unit length."""
        return self.embed(self.maps(faces)[-1])


class Carded(nn.Module):
    """A network and the card that says how to normalise (B, 3, H, W) faces for it."""

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
        """Return what the network gives for faces as `prepare` takes them."""
        return self.network(self.prepare(faces))

    def prepare(self, faces: Tensor) -> Tensor:
        """Return (B, 3, H, W) faces in the form the network wants.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1], of the card's input size.

        Raises:
            ShapeError: not floating point, or of another shape or size.
        """
        check_faces(faces, self.card)
        mean, std = self.card.mean, self.card.std
        if len({*mean}) == len({*std}) == 1:  # the same values in a third of the time
            x = (faces - mean[0]).div_(std[0])
        else:
            x = (faces - self.mean).div_(self.std)
        return x.flip(1) if self.card.colour == "BGR" else x


def check_faces(faces: Tensor, card: ModelCard) -> None:
    """Raise ShapeError unless faces are (B, 3, H, W) floating point of the card's input size."""
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


def resized(planes: Tensor, size: Sequence[int]) -> Tensor:
    """Return (B, C, H, W) planes at another (height, width), the same ones if it is theirs."""
    if tuple(planes.shape[2:]) == tuple(size):
        return planes
    return F.interpolate(planes, list(size), mode="bilinear", antialias=True)


class MultiTask(nn.Module):
    """A network whose card names further tasks under `also`."""

    def part(self, task: Task, card: ModelCard) -> nn.Module:
        """Return what does one of the card's tasks, on this network's own weights.

        It is called as the models that do nothing else: for `recognition` and `region` with
        normalised faces, for `completion` as a `Completion`.
        """
        raise NotImplementedError


def part_for(task: Task, network: nn.Module, card: ModelCard) -> nn.Module:
    """Return what does a task in a network: all of it, unless it does several."""
    return network.part(task, card) if isinstance(network, MultiTask) else network


class OwnViews(nn.Module):
    """A network that averages a face with its mirror image in a way of its own."""

    def average(self, faces: Tensor) -> Tensor:
        """Return (B, D) embeddings of faces, as `forward` takes them, and their mirror images."""
        raise NotImplementedError


class Recogniser(Carded):
    """Turn RGB faces in [0, 1] into embeddings, whatever the network inside was trained on.

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
        """Embed faces on the unit sphere, so that dot products are cosines; else as `features`."""
        return F.normalize(self.features(faces))


def embed_faces(recogniser: Recogniser, faces: Tensor, *, flip: bool = True) -> Tensor:
    """Embed faces, averaging each with its mirror image if asked to: (B, D), not of unit length.

    The average's direction is the field's usual f(x) + f(mirror x); halving the sum keeps its
    length comparable with that of a single view.

    Args:
        recogniser: in eval mode.
        faces: (B, 3, H, W) float, RGB in [0, 1].
        flip: average with the mirror image.
    """
    if not flip:
        return recogniser.features(faces)
    network = recogniser.network
    if isinstance(network, OwnViews):
        return network.average(recogniser.prepare(faces))
    # One call for both views: twice the batch keeps the processor better fed.
    both = recogniser.features(torch.cat([faces, faces.flip(3)]))
    straight, mirrored = both.chunk(2)
    return (straight + mirrored) / 2


class Seen(NamedTuple):
    """What is seen in B faces: (B, C, H, W) maps, fine ones first, and (B, D) of unit norm."""

    maps: list[Tensor]
    embedding: Tensor


class FaceFeatures(nn.Module):
    """Look at faces of any size through a recogniser, whose weights stay as they are.

    Gradients reach the faces.

    Raises:
        InputError: a recogniser of an unknown family.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser
        if not isinstance(recogniser.network, Backbone):
            family = type(recogniser.network).__name__
            raise InputError(
                f"{recogniser.card.name}: no feature maps are known of {family}; "
                "choose one of MobileFaceNet, IResNet, EdgeFace"
            )

    def forward(self, faces: Tensor) -> Seen:
        """Look at faces (B, 3, H, W), RGB in [0, 1]."""
        own = resized(faces, self.recogniser.card.input_size or faces.shape[2:])
        network = cast(Backbone, self.recogniser.network)
        maps = network.maps(self.recogniser.prepare(own))
        return Seen(maps, F.normalize(network.embed(maps[-1])))
