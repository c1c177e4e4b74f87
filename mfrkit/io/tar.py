"""WebDataset shards: plain tar files whose members form samples, read in any order, and written.

Source:
    The WebDataset format: consecutive members whose names agree up to the first dot of their last
    part are one sample. Here that is a picture (`key.jpg`, `key.png`, ...) and what is known of
    it: `key.json` or `key.cls`.

Opening shards reads the head of every member and the small ones that name people; what is kept
of a picture are its name and six numbers. Damage costs the members it hits: the search for the
next intact one goes on behind it.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import to_line
from mfrkit.errors import ImageError, InputError
from mfrkit.io.files import is_picture, naming, replacing_together
from mfrkit.io.images import Packed, picture_suffix
from mfrkit.io.item import ArchiveSource
from mfrkit.io.manifest import Record, parse_line

_FACTS = (".json", ".cls")  # what is known of a picture
_DAMAGED = "damaged tar archive: a stretch that cannot be read"
_LOOK = 1 << 20  # bytes of an unreadable stretch that are searched for anything but zeros


class _Member(NamedTuple):
    """One file of a tar archive; `fault` says why it cannot be used, empty where it can."""

    name: str  # without a leading `./`
    offset: int  # of its content, bytes
    size: int
    fault: str = ""


@dataclass
class _Sample:
    """What belongs to one picture: the first of its name, and members by suffix, of `_FACTS`."""

    name: str  # of the picture, or of the sample if there is none
    picture: _Member | None = None
    facts: Mapping[str, _Member] = field(default_factory=dict)
    fault: str = ""


def _sample_key(name: str) -> str:
    """Return the key of the sample a member belongs to: `a.b/0001` for `a.b/0001.left.jpg`."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _read_samples(path: Path) -> Iterator[_Sample]:
    """Yield the samples of a shard; what tells of no picture at all is left out."""
    if not path.is_file():
        raise InputError(f"{path}: no such tar file")
    for key, members in groupby(read_members(path), lambda member: _sample_key(member.name)):
        yield from _samples(key, members)


def _samples(key: str, members: Iterable[_Member]) -> Iterator[_Sample]:
    pictures: list[_Member] = []
    facts: dict[str, _Member] = {}
    for member in members:
        suffix = "." + member.name.rpartition(".")[2].lower()
        if member.fault and not is_picture(member.name):
            yield _Sample(member.name, fault=member.fault)
        elif is_picture(member.name):
            pictures.append(member)
        elif suffix in _FACTS:
            facts.setdefault(suffix, member)
    if pictures:
        yield _Sample(pictures[0].name, pictures[0], facts, pictures[0].fault)
    elif facts:
        yield _Sample(key, fault="no picture in the sample")
    for extra in pictures[1:]:
        yield _Sample(extra.name, extra, fault=extra.fault or "second picture of a sample")


def read_members(path: Path) -> Iterator[_Member]:
    """Yield the files of a tar archive, and a faulty one for each unreadable stretch."""
    size, end = path.stat().st_size, 0
    try:
        with tarfile.open(path, "r:", ignore_zeros=True) as archive:
            while (found := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all
                if _holds_something(path, end, found.offset):
                    yield _Member(f"byte {end}", end, 0, _DAMAGED)
                if found.size < 0:  # the next would lie before it, and so on for ever
                    end = found.offset
                    break
                end = found.offset_data + -(-found.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                name = found.name.removeprefix("./")
                if not found.isdir() and not name.rpartition("/")[2].startswith("."):
                    yield _Member(name, found.offset_data, found.size, _fault(found, size))
    except Exception as error:  # heads of many kinds, and numbers and texts of any kind in them
        if end == 0:
            raise InputError(f"{path}: not a plain tar archive ({error})") from error
    if end == 0:
        raise InputError(f"{path}: not a plain tar archive; unpack a compressed one first")
    if _holds_something(path, end, size):
        yield _Member(f"byte {end}", end, 0, _DAMAGED)


def _fault(found: tarfile.TarInfo, size: int) -> str:
    if not found.isreg() or found.issparse():
        return "not a plain file"
    return "truncated: its archive ends too early" if found.offset_data + found.size > size else ""


def _holds_something(path: Path, start: int, stop: int) -> bool:
    """Whether a stretch of an archive is more than padding."""
    if stop <= start:
        return False
    with path.open("rb") as file:
        file.seek(start)
        return bool(file.read(min(stop - start, _LOOK)).strip(b"\0"))


_NOWHERE = _Member("", 0, 0)


class _Shard(NamedTuple):
    """Where the pictures of one file lie."""

    path: Path
    names: NDArray[np.bytes_]  # (N,) of the pictures, UTF-8
    places: NDArray[np.int64]  # (N, 3, 2): offset and size of the picture and each of its facts


class TarSource(ArchiveSource):
    """The pictures of tar shards, shard by shard in the order of their members.

    A record is what `key.json` says: a manifest record, or as much of one as `identity` and
    `points` (pixels of the crop). Else the person is what `key.cls` says, number or name, or else
    the first folder of the name. The same name in two shards is one person.

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
            for sample in _read_samples(path):
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

    def _find(self, position: int) -> tuple[Path, _Sample]:
        """Return a sample's shard, and the sample as the index had it."""
        at = int(np.searchsorted(self._ends, position, side="right"))
        shard = self._shards[at]
        row = position - int(self._ends[at])  # counted from the end: negative
        name = shard.names[row].decode("utf-8", "surrogateescape")
        picture, *facts = (_Member(name, *place) for place in shard.places[row].tolist())
        known = {suffix: fact for suffix, fact in zip(_FACTS, facts, strict=True) if fact.size}
        return shard.path, _Sample(name, picture, known)


def _places(sample: _Sample) -> list[tuple[int, int]]:
    facts = [sample.facts.get(suffix) for suffix in _FACTS]
    return [(m.offset, m.size) for m in (each or _NOWHERE for each in [sample.picture, *facts])]


def _identify(path: Path, sample: _Sample) -> tuple[str | None, str]:
    """Return who is on a sample's picture, and why it cannot be used, if so."""
    if sample.fault:
        return None, sample.fault
    try:
        return _read_record(path, sample).identity, ""
    except (ImageError, InputError) as error:
        return None, f"damaged sample: {error}"


def _read_record(path: Path, sample: _Sample) -> Record:
    where = f"{path}: {sample.name}"
    fields: dict[str, Any] = {"key": _sample_key(sample.name)}
    for suffix in reversed(_FACTS):  # the first of them has the last word
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


class TarWriter:
    """Deals samples out to shards in turn, so that each gets as many and of all people."""

    def __init__(self, shards: Sequence[tarfile.TarFile]) -> None:
        self._shards = shards
        self._count = 0

    def add(self, label: int, record: Record, picture: bytes) -> None:
        """Append a sample: its record, its picture file, and its label unless that is negative."""
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
