"""Whether a completed face is still the same person, as a frozen recogniser sees it."""

import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import ShapeError


def identity_distance(made: Tensor, true: Tensor) -> Tensor:
    """Return how far completed faces are from the true ones, face by face.

    Paper:
        Li et al., "Look Through Masks", ACM MM 2020, arXiv:2409.12385 compares the recogniser's
        features of completed and true faces; here by their cosine, the measure of verification.

    Args:
        made: (B, D) float, embeddings of completed faces; the gradient goes through the recogniser
            to the faces.
        true: (B, D) float, embeddings of the true ones; gets no gradient.

    Returns:
        (B,) float32 in [0, 2]: 1 - cosine.

    Raises:
        ShapeError: different shapes.
    """
    if made.shape != true.shape:
        raise ShapeError(f"embeddings differ: {tuple(made.shape)} and {tuple(true.shape)}")
    return 1 - F.cosine_similarity(made.float(), true.detach().float())
