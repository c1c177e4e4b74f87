"""What is laid over faces, and where."""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mfrkit.masks.jpeg import BLOCK


@dataclass(frozen=True)
class Layer:
    """What is laid over b faces: picture * keep + color, then compressed if it has a quality.

    Attributes:
        rows: The pixel rows it lies over; h of them.
        columns: The pixel columns; w of them.
        alpha: (b, h, w) in [0, 1], how much of each pixel is covered.
        keep: (b, h, w) in [0, 1], what is left of the picture, under the contact shadow.
        color: (b, 3, h, w) RGB, `alpha` times the mask's colour; highlights may exceed 1.
        quality: (b,) what to hand to `jpeg.add_grain`; None if no face has any grain.
    """

    rows: slice
    columns: slice
    alpha: Tensor
    keep: Tensor
    color: Tensor
    quality: NDArray[np.int64] | None = None

    def compressed(self, quality: NDArray[np.int64], size: tuple[int, int]) -> "Layer":
        """Return the layer spread over whole blocks of the pictures' JPEG grid.

        Args:
            quality: (b,) of the pictures, 0 for a clean one.
            size: (H, W) of the pictures; the last blocks may end with them.

        Returns:
            The same over more pixels, the new ones bare.
        """
        rows, columns = _whole(self.rows, size[0]), _whole(self.columns, size[1])
        beyond = (
            self.columns.start - columns.start,
            columns.stop - self.columns.stop,
            self.rows.start - rows.start,
            rows.stop - self.rows.stop,
        )
        alpha, color = F.pad(self.alpha, beyond), F.pad(self.color, beyond)
        return Layer(rows, columns, alpha, F.pad(self.keep, beyond, value=1), color, quality)


def _whole(pixels: slice, end: int) -> slice:
    """Return the rows or columns of the blocks that some lie in, up to the picture's end."""
    start, stop = pixels.start // BLOCK * BLOCK, -(-pixels.stop // BLOCK) * BLOCK
    return slice(start, min(stop, end))
