"""Read the pictures of WebDataset shards in any order.

Opening shards reads the head of every member and the small ones that name people; what is kept of
a picture are its name and six numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ImageError, InputError
from mfrkit.io.archive import ArchiveSource
from mfrkit.io.manifest import Record, parse_line
from mfrkit.io.packed import Packed
from mfrkit.io.tar_index import FACTS, Member, Sample, read_samples, sample_key

_NOWHERE = Member("", 0, 0)


class _Shard(NamedTuple):
    """Where the pictures of one file lie.

    Attributes:
        path: the file.
        names: (N,) of the pictures, UTF-8.
        places: (N, 3, 2) int64, offset and size of the picture and of what is known of it.
    """

    path: Path
    names: NDArray[np.bytes_]
    places: NDArray[np.int64]


class TarSource(ArchiveSource):
    """The pictures of tar shards, shard by shard in the order of their members.

    A record is what `key.json` says: a manifest record, or as much of one as `identity` and
    `points` (pixels of the crop). Else the person is what `key.cls` says, number or name, or else
    the first folder of the name.

    Args:
        shards: files; the same name in two of them is one person.

    Raises:
        InputError: a shard that is not there, or no tar file.
    """

    def __init__(self, shards: Sequence[str]) -> None:
        people: dict[str, int] = {}
        faults: dict[int, str] = {}
        labels: list[int] = []
        self._shards: list[_Shard] = []
        for path in map(Path, shards):
            names, places = [], []
            for sample in read_samples(path):
                who, reason = _identify(path, sample)
                if reason:
                    faults[len(labels)] = reason
                labels.append(-1 if who is None else people.setdefault(who, len(people)))
                names.append(sample.name.encode("utf-8", "surrogateescape"))
                places.append(_places(sample))
            self._shards.append(
                _Shard(path, np.array(names, bytes), np.array(places, np.int64).reshape(-1, 3, 2))
            )
        self._ends = np.cumsum([len(shard.names) for shard in self._shards])
        super().__init__(np.array(labels, np.int32), list(people), faults)

    def _record(self, position: int) -> Record:
        path, sample = self._find(position)
        if position in self.faults:
            name = f"{path.name}/{sample.name.lstrip('/').replace('..', '_')}"
            return Record(name, None, name)
        return _read_record(path, sample)

    def _picture(self, position: int, record: Record) -> Packed:
        path, sample = self._find(position)
        picture = sample.picture or _NOWHERE
        return Packed(path, sample.name, picture.offset, picture.size)

    def _find(self, position: int) -> tuple[Path, Sample]:
        """Return a sample's shard, and the sample as the index had it."""
        at = int(np.searchsorted(self._ends, position, side="right"))
        shard = self._shards[at]
        row = position - int(self._ends[at])  # counted from the end: negative
        name = shard.names[row].decode("utf-8", "surrogateescape")
        picture, *facts = (Member(name, *place) for place in shard.places[row].tolist())
        known = {suffix: fact for suffix, fact in zip(FACTS, facts, strict=True) if fact.size}
        return shard.path, Sample(name, picture, known)


def _places(sample: Sample) -> list[tuple[int, int]]:
    facts = [sample.facts.get(suffix) for suffix in FACTS]
    return [(m.offset, m.size) for m in (each or _NOWHERE for each in [sample.picture, *facts])]


def _identify(path: Path, sample: Sample) -> tuple[str | None, str]:
    """Return who is on a sample's picture, and why it cannot be used, if so."""
    if sample.fault:
        return None, sample.fault
    try:
        return _read_record(path, sample).identity, ""
    except (ImageError, InputError) as error:
        return None, f"damaged sample: {error}"


def _read_record(path: Path, sample: Sample) -> Record:
    """Read what is known of a picture."""
    where = f"{path}: {sample.name}"
    fields: dict[str, Any] = {"key": sample_key(sample.name)}
    for suffix in reversed(FACTS):  # the first of them has the last word
        member = sample.facts.get(suffix)
        if member is not None:
            content = Packed(path, member.name, member.offset, member.size).read_bytes()
            fields |= _read_facts(suffix, content, where)
    fields |= {"path": sample.name, "source": sample.name, "status": "ok"}
    return Record.from_json(fields, where)


def _read_facts(suffix: str, content: bytes, where: str) -> dict[str, Any]:
    if suffix == ".cls":
        return {"identity": content.decode("utf-8", "replace").strip()}
    fields = parse_line(content, where)
    if isinstance(fields.get("identity"), int):
        fields["identity"] = str(fields["identity"])
    if "points" in fields:
        fields.setdefault("align", {"points": fields.pop("points")})
    return {name: value for name, value in fields.items() if value is not None}
