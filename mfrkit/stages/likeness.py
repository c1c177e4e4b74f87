"""How like their true selves completed faces are: in pixels, and to a recogniser."""

import torch
from torch import Tensor

from mfrkit.losses.identity import identity_distance
from mfrkit.losses.perceptual import feature_distance
from mfrkit.metrics.pictures import psnr_inside, ssim_inside
from mfrkit.models.features import FaceFeatures


class Likeness:
    """Compare faces with the true ones where those were covered.

    Args:
        looker: a recogniser, which stays as it is.
    """

    def __init__(self, looker: FaceFeatures) -> None:
        self._looker = looker

    @torch.no_grad()
    def __call__(self, made: Tensor, true: Tensor, hole: Tensor) -> dict[str, Tensor]:
        """Measure.

        Args:
            made: (B, 3, H, W) float RGB in [0, 1].
            true: of the same shape.
            hole: (B, 1, H, W) in [0, 1], where the two are compared pixel by pixel.

        Returns:
            (B,) each: `error`, the distance between the recogniser's feature maps; `psnr` in dB and
            `ssim`, both inside the hole; `identity`, the cosine between its embeddings.
        """
        seen, wanted = self._looker(made), self._looker(true)
        return {
            "error": feature_distance(seen.maps, wanted.maps),
            "psnr": psnr_inside(made, true, hole),
            "ssim": ssim_inside(made, true, hole),
            "identity": 1 - identity_distance(seen.embedding, wanted.embedding),
        }
