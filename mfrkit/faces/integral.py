"""Photos as running sums, so that any rectangle is averaged with four look-ups per output pixel.

Area resampling is what MTCNN's pyramid and crops are made of. On running sums its price does not
depend on how much is averaged, all crops of all photos become one gather, and integer sums make
the result exact, whatever shares the batch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class IntegralPhotos:
    """Running sums of several photos in one flat buffer, on one device.

    Convention:
        Pixel rectangles are half-open, (x0, y0, x1, y1) covers columns x0..x1-1 and rows y0..y1-1.
        An output pixel is the mean of all input pixels its footprint touches (the rule of
        `torch.nn.functional.interpolate(mode="area")`).

    Attributes:
        sizes: (B, 2) int64, height and width of each photo, pixels.

    Args:
        photos: RGB uint8 arrays (H, W, 3) of any sizes, none of them empty.
        device: where the sums live and every result is computed.
    """

    def __init__(self, photos: Sequence[np.ndarray], device: torch.device) -> None:
        self._device = device
        self.sizes = np.array([photo.shape[:2] for photo in photos], dtype=np.int64).reshape(-1, 2)
        lengths = (self.sizes + 1).prod(1)
        starts = np.cumsum(lengths) - lengths
        self._starts = torch.from_numpy(starts).to(device)
        self._strides = torch.from_numpy(self.sizes[:, 1] + 1).to(device)
        # int32 may wrap around in photos above 8 megapixels; differences still come out right.
        self._sums = torch.zeros(int(lengths.sum()), 3, dtype=torch.int32, device=device)
        tables = self._sums.split(lengths.tolist())
        for photo, table, (height, width) in zip(photos, tables, self.sizes.tolist(), strict=True):
            inner = table.view(height + 1, width + 1, 3)[1:, 1:]
            inner.copy_(torch.from_numpy(np.ascontiguousarray(photo)))
            inner.cumsum_(1).cumsum_(0)

    def resample(
        self,
        photo: np.ndarray,
        rectangles: np.ndarray,
        grids: np.ndarray,
        *,
        first_row: np.ndarray | int = 0,
        canvas: tuple[int, int],
    ) -> Tensor:
        """Average rectangles of the photos onto pixel grids, all in one batch.

        Args:
            photo: (N,) int64, which photo each rectangle is in.
            rectangles: (N, 4) int64 (x0, y0, x1, y1) pixels, inside the photo, not empty.
            grids: (N, 2) int64, height and width to which each rectangle is averaged.
            first_row: (N,) int64, the first row of the grid to compute.
            canvas: (H, W) of the result; where a grid ends earlier its last pixels are repeated.

        Returns:
            (N, 3, H, W) float32, RGB in [0, 1], channels last in memory.
        """
        inside, boxes, cells, first = (
            torch.as_tensor(values, device=self._device)
            for values in (photo, rectangles, grids, first_row)
        )
        rows = first.view(-1, 1) + torch.arange(canvas[0], device=self._device)
        columns = torch.arange(canvas[1], device=self._device)
        top, bottom = _footprints(rows, cells[:, :1], boxes[:, 1:2], boxes[:, 3:4])
        left, right = _footprints(columns, cells[:, 1:], boxes[:, 0:1], boxes[:, 2:3])
        area = (bottom - top)[:, :, None] * (right - left)[:, None, :]
        start, stride = self._starts[inside, None], self._strides[inside, None]
        top, bottom = start + top * stride, start + bottom * stride
        sums = self._look_up(bottom, right) - self._look_up(top, right)
        sums -= self._look_up(bottom, left) - self._look_up(top, left)
        return (sums / (area * 255.0).unsqueeze(-1)).permute(0, 3, 1, 2)

    def _look_up(self, rows: Tensor, columns: Tensor) -> Tensor:
        index = rows[:, :, None] + columns[:, None, :]
        return self._sums.index_select(0, index.view(-1)).view(*index.shape, 3)


def _footprints(cell: Tensor, count: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Where the input pixels that an output cell touches begin and end, (N, H) each."""
    cell = torch.minimum(cell, count - 1)
    extent = high - low
    return low + cell * extent // count, low - (-(cell + 1) * extent // count)
