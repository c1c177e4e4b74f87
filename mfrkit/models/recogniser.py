"""A recogniser: a network behind its card's colour order, mean and std."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.models.carded import Carded


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
        >>> from mfrkit.models.recognisers import load_recogniser
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
