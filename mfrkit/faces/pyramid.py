"""What MTCNN's networks look at: photos at all scales, cut and grouped into even batches.

Area resampling is done on running sums: its price does not depend on how much is averaged, all
crops of all photos become one gather, and integer sums make the result exact, whatever shares the
batch. Large levels are cut into strips, so that memory does not grow with the photo; strips of
about the same size share a batch whatever photo or level they come from. Padding to a common
size costs at most `_SLACK` squared, and nothing when all photos have one size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


WINDOW, STRIDE = 12, 2  # P-Net looks at 12x12 pixels, every second pixel
STEP = 0.709  # from one level to the next; half the area
_SLACK = 1.25
_BATCH_PIXELS = 1 << 18  # P-Net's activations for as many pixels take about 50 MB


@dataclass(frozen=True)
class Strips:
    """Strips of pyramid levels that P-Net sees together.

    `photo` (N,) index of the photo; `level` (N,) number that is unique to photo and level; `scale`
    (N,) float64, level pixels per photo pixel; `grids` (N, 2) height and width of the whole level;
    `first_row` (N,) and `rows` (N,) what the strip covers of it. int64 unless said otherwise.
    """

    photo: np.ndarray
    level: np.ndarray
    scale: np.ndarray
    grids: np.ndarray
    first_row: np.ndarray
    rows: np.ndarray

    @property
    def extents(self) -> np.ndarray:
        """(N, 2) int64, height and width of each strip."""
        return np.stack([self.rows, self.grids[:, 1]], axis=1)

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width that hold every strip."""
        height, width = self.extents.max(0).tolist()
        return height, width


def pyramid(height: int, width: int, min_size: int) -> Iterator[tuple[float, tuple[int, int]]]:
    """List the levels at which a 12-pixel window covers faces of `min_size` pixels and more.

    Yields:
        Scale and (height, width) of each level; none when the photo is smaller than the face.

    Example:
        >>> [size for scale, size in pyramid(100, 60, min_size=40)]
        [(31, 19), (22, 13)]
    """
    scale = WINDOW / min_size
    shorter = min(height, width) * scale
    while shorter >= WINDOW:
        yield scale, (int(height * scale + 1), int(width * scale + 1))
        scale *= STEP
        shorter *= STEP


def plan(sizes: np.ndarray, min_size: int) -> list[Strips]:
    """Cut and group the pyramid levels of photos of (B, 2) heights and widths.

    Returns:
        Batches that together cover every level of every photo exactly once.
    """
    rows = [
        (photo, scale, *grid, *strip)
        for photo, (height, width) in enumerate(sizes.tolist())
        for scale, grid in pyramid(height, width, min_size)
        for strip in _strips(*grid)
    ]
    if not rows:
        return []
    photo, scale, height, width, first, count = (np.array(c) for c in zip(*rows, strict=True))
    level = np.cumsum(first == 0)  # a level's strips follow one another, top to bottom
    strips = Strips(photo, level, scale, np.stack([height, width], 1), first, count)
    return [_take(strips, index) for index in _group(strips.extents)]


def _strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield first row and number of rows of each strip of a level.

    Strips overlap by ten rows, a window less a stride: P-Net's answers for them, put together, are
    exactly its answers for the whole level.
    """
    overlap = WINDOW - STRIDE
    fresh = max(1, (_BATCH_PIXELS // width - overlap) // STRIDE) * STRIDE
    for first in range(0, height - overlap, fresh):
        yield first, min(fresh + overlap, height - first)


def _group(extents: np.ndarray) -> Iterator[np.ndarray]:
    """Yield indices of strips alike in height and width, few enough for one batch."""
    alike = np.ceil(np.log(extents) / np.log(_SLACK))
    order = np.lexsort(alike.T)
    changes = np.flatnonzero(np.diff(alike[order], axis=0).any(1)) + 1
    for group in np.split(order, changes):
        together = max(1, _BATCH_PIXELS // int(extents[group].max(0).prod()))
        yield from np.split(group, range(together, len(group), together))


def _take(strips: Strips, index: np.ndarray) -> Strips:
    return Strips(**{name: column[index] for name, column in vars(strips).items()})
