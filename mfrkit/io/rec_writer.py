"""Write pictures into a RecordIO file in InsightFace's form, readable by MXNet's programs too.

Record 0 tells how many pictures there are; they follow as records 1 to N - 1. If the pictures of
each person follow each other, a record for each person comes behind them, with where they begin
and end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mfrkit.io.files import naming, replacing_together
from mfrkit.io.recordio import index_path, listing_path, pack_entry, pack_record, property_path

UNKNOWN = -1  # label of a picture of nobody known


class RecWriter:
    """Append pictures; memory holds one range for each person.

    Args:
        records: the `.rec` file.
        index: the `.idx` file.
        listing: the `.lst` file: number, label and name of each picture.
    """

    def __init__(self, records: BinaryIO, index: BinaryIO, listing: BinaryIO) -> None:
        self._records, self._index, self._listing = records, index, listing
        self._number = 1
        self._ranges: dict[int, tuple[int, int]] = {}
        self._grouped = True
        self._write(0, pack_entry((0, 0), 0))  # written again when the numbers are known

    def add(self, label: int, name: str, picture: bytes) -> None:
        """Append a picture.

        Args:
            label: of the person, or `UNKNOWN`.
            name: for the listing.
            picture: content of a picture file.
        """
        number = self._number
        self._write(number, pack_entry(float(label), number, picture))
        line = f"{number}\t{label}\t{name}\n"
        self._listing.write(line.encode("utf-8", "surrogateescape"))
        first, end = self._ranges.get(label, (number, number))
        self._grouped &= end == number and label != UNKNOWN
        self._ranges[label] = first, number + 1
        self._number += 1

    def finish(self) -> None:
        """Append the people's ranges and complete record 0."""
        pictures = self._number
        people = pictures
        if self._grouped:
            for label in sorted(self._ranges):
                self._write(people, pack_entry(self._ranges[label], people))
                people += 1
        self._records.seek(0)
        self._records.write(pack_record(pack_entry((pictures, people), 0)))

    def _write(self, number: int, payload: bytes) -> None:
        self._index.write(f"{number}\t{self._records.tell()}\n".encode())
        self._records.write(pack_record(payload))


@contextmanager
def writing_records(path: Path, about: Callable[[], bytes]) -> Iterator[RecWriter]:
    """Write a `.rec` file with what belongs to it; all of it appears when the block succeeds.

    Without its index the file is not read, so that is what is withdrawn first and comes last.

    Args:
        path: the `.rec` file; index, listing and `property` lie beside it.
        about: returns the content of `property` when all pictures are written.
    """
    paths = [listing_path(path), property_path(path), path, index_path(path)]
    with replacing_together(paths) as (listing_part, property_part, records_part, index_part):
        with (
            naming(path),
            listing_part.open("wb") as listing,
            index_part.open("wb") as index,
            records_part.open("wb") as records,
        ):
            writer = RecWriter(records, index, listing)
            yield writer
            writer.finish()
        property_part.write_bytes(about())
