"""A network behind its card: faces come as RGB in [0, 1], whatever the network was trained on."""

import torch
from torch import Tensor, nn

from mfrkit.errors import ShapeError
from mfrkit.models.cards import ModelCard


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
