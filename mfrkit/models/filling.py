"""Fill holes smoothly with the colours around them, as a first guess."""

import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-6  # where nothing is seen, nothing is divided by nothing


def smooth_filling(faces: Tensor, hole: Tensor) -> Tensor:
    """Fill holes from coarser and coarser averages of the pixels that are seen.

    Paper:
        Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4: pull and push.

    Args:
        faces: (B, 3, H, W) float, RGB in [0, 1].
        hole: (B, 1, H, W) float in [0, 1]; what the faces show where it is 1 has no influence.

    Returns:
        (B, 3, H, W) float in [0, 1], the face itself where the hole is 0.

    Example:
        >>> import torch
        >>> faces = torch.tensor([[[[0.25, 0.9, 0.75]]]]).expand(1, 3, 1, 3)
        >>> smooth_filling(faces, torch.tensor([[[[0.0, 1.0, 0.0]]]]))[0, 0, 0].tolist()
        [0.25, 0.5, 0.75]
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
