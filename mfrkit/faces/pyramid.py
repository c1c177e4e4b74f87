"""What P-Net has to look at: the pyramid levels of many photos, cut and grouped into even batches.

Large levels are cut into strips, so that memory does not grow with the photo; strips of about the
same size share a batch whatever photo or level they come from. Padding to a common size costs at
most `_SLACK` squared, and nothing when all photos have one size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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

    Args:
        height: photo height, pixels.
        width: photo width, pixels.
        min_size: smallest face looked for, pixels.

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
    """Cut and group the pyramid levels of several photos.

    Args:
        sizes: (B, 2) int64, height and width of each photo, pixels.
        min_size: smallest face looked for, pixels.

    Returns:
        Batches that together cover every level of every photo exactly once.

    Example:
        >>> plan(np.array([[100, 60], [100, 60]]), min_size=40)[0].canvas
        (22, 13)
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
