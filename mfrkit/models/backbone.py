"""What recognition backbones share: they can be cut where a feature map is still a map."""

from torch import Tensor, nn


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
