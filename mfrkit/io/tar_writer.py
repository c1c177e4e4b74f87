"""Write pictures into WebDataset shards: numbered samples of picture, record and label."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mfrkit.console import to_line
from mfrkit.io.files import naming, replacing_together
from mfrkit.io.images import picture_suffix
from mfrkit.io.manifest import Record


class TarWriter:
    """Deal samples out to shards in turn, so that each gets as many and of all people.

    Args:
        shards: open for writing.
    """

    def __init__(self, shards: Sequence[tarfile.TarFile]) -> None:
        self._shards = shards
        self._count = 0

    def add(self, label: int, record: Record, picture: bytes) -> None:
        """Append a sample.

        Args:
            label: of the person; none is written if negative.
            record: what is known of the picture.
            picture: content of a picture file.

        Raises:
            ImageError: it is no picture.
        """
        shard, name = self._shards[self._count % len(self._shards)], f"{self._count:09d}"
        facts = {field: value for field, value in record.to_json().items() if field != "path"}
        _append(shard, name + picture_suffix(picture), picture)
        _append(shard, name + ".json", to_line(facts).encode())
        if label >= 0:
            _append(shard, name + ".cls", str(label).encode())
        shard.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
        self._count += 1


def _append(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no times, no owners: the same inputs give the same bytes
    member.size, member.mode = len(content), 0o644
    shard.addfile(member, io.BytesIO(content))


@contextmanager
def writing_shards(paths: Sequence[Path]) -> Iterator[TarWriter]:
    """Write tar files; they appear when the block succeeds."""
    with replacing_together(paths) as parts, naming(paths[0]), ExitStack() as stack:
        yield TarWriter([stack.enter_context(tarfile.open(part, "w")) for part in parts])
