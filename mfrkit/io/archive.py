"""Sources inside larger files, to be read in any order.

Only numbers are kept for each picture, some tens of bytes; names, landmarks and pixels are read
when they are asked for. So memory hardly grows with the number of pictures.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mfrkit.io.item import Item, Source
from mfrkit.io.manifest import Record
from mfrkit.io.packed import Packed


class ArchiveSource(Source):
    """Inputs from an archive, in order or by position.

    Args:
        labels: (N,) int32, the person on each picture, from 0; -1 where unknown.
        people: names behind the labels, the same name in two archives for the same person only.
        faults: why an input cannot be used, by position.
    """

    def __init__(
        self, labels: NDArray[np.int32], people: Sequence[str], faults: Mapping[int, str]
    ) -> None:
        self.labels, self.people, self.faults = labels, people, faults

    def __iter__(self) -> Iterator[Item]:
        """Yield all inputs; the unusable ones come as skipped records."""
        return (self[position] for position in range(len(self.labels)))

    def __getitem__(self, position: int) -> Item:
        """Return one input."""
        record = self._record(position)
        if position in self.faults:
            return Item(position, record.skipped(self.faults[position]), None)
        return Item(position, record, self._picture(position, record))

    def count(self) -> int:
        """Return the number of inputs, unusable ones among them."""
        return len(self.labels)

    def usable(self) -> NDArray[np.int64]:
        """Return the positions of the inputs without a fault, in order."""
        every = np.ones(len(self.labels), bool)
        every[list(self.faults)] = False
        return np.flatnonzero(every)

    def _record(self, position: int) -> Record:
        raise NotImplementedError

    def _picture(self, position: int, record: Record) -> Packed:
        raise NotImplementedError
