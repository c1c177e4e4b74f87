"""What lies where in a WebDataset shard: a plain tar file whose members form samples.

Source:
    The WebDataset format: consecutive members whose names agree up to the first dot of their last
    part are one sample. Here that is a picture (`key.jpg`, `key.png`, ...) and what is known of
    it: `key.json` or `key.cls`.

Damage costs the members it hits: the search for the next intact one goes on behind it.
"""

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mfrkit.errors import InputError
from mfrkit.io.names import is_picture

FACTS = (".json", ".cls")  # what is known of a picture
_DAMAGED = "damaged tar archive: a stretch that cannot be read"
_LOOK = 1 << 20  # bytes of an unreadable stretch that are searched for anything but zeros


class Member(NamedTuple):
    """One file of a tar archive.

    Attributes:
        name: without a leading `./`.
        offset: where its content begins, bytes.
        size: its length, bytes.
        fault: why it cannot be used; empty where it can.
    """

    name: str
    offset: int
    size: int
    fault: str = ""


@dataclass
class Sample:
    """What belongs to one picture.

    Attributes:
        name: of the picture, or of the sample if there is none.
        picture: the first picture, if there is one.
        facts: what is known of it: members by suffix, of `FACTS`.
        fault: why it cannot be used; empty where it can.
    """

    name: str
    picture: Member | None = None
    facts: Mapping[str, Member] = field(default_factory=dict)
    fault: str = ""


def sample_key(name: str) -> str:
    """Return the key of the sample a member belongs to.

    Example:
        >>> sample_key("a.b/0001.left.jpg"), sample_key("0001.json")
        ('a.b/0001', '0001')
    """
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of a shard; what tells of no picture at all is left out.

    Raises:
        InputError: no such file, or not a plain tar archive.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such tar file")
    for key, members in groupby(read_members(path), lambda member: sample_key(member.name)):
        yield from _samples(key, members)


def _samples(key: str, members: Iterable[Member]) -> Iterator[Sample]:
    """Sort out the members of one sample."""
    pictures: list[Member] = []
    facts: dict[str, Member] = {}
    for member in members:
        suffix = "." + member.name.rpartition(".")[2].lower()
        if member.fault and not is_picture(member.name):
            yield Sample(member.name, fault=member.fault)
        elif is_picture(member.name):
            pictures.append(member)
        elif suffix in FACTS:
            facts.setdefault(suffix, member)
    if pictures:
        yield Sample(pictures[0].name, pictures[0], facts, pictures[0].fault)
    elif facts:
        yield Sample(key, fault="no picture in the sample")
    for extra in pictures[1:]:
        yield Sample(extra.name, extra, fault=extra.fault or "second picture of a sample")


def read_members(path: Path) -> Iterator[Member]:
    """Yield the files of a tar archive, and a faulty one for each unreadable stretch.

    Raises:
        InputError: not a plain tar archive.
    """
    size, end = path.stat().st_size, 0
    try:
        with tarfile.open(path, "r:", ignore_zeros=True) as archive:
            while (found := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all
                if _holds_something(path, end, found.offset):
                    yield Member(f"byte {end}", end, 0, _DAMAGED)
                end = found.offset_data + -(-found.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                name = found.name.removeprefix("./")
                if not found.isdir() and not name.rpartition("/")[2].startswith("."):
                    yield Member(name, found.offset_data, found.size, _fault(found, size))
    except (tarfile.TarError, OSError, EOFError) as error:
        if end == 0:
            raise InputError(f"{path}: not a plain tar archive ({error})") from error
    if end == 0:
        raise InputError(f"{path}: not a plain tar archive; unpack a compressed one first")
    if _holds_something(path, end, size):
        yield Member(f"byte {end}", end, 0, _DAMAGED)


def _fault(found: tarfile.TarInfo, size: int) -> str:
    if not found.isreg():
        return "not a plain file"
    return "truncated: its archive ends too early" if found.offset_data + found.size > size else ""


def _holds_something(path: Path, start: int, stop: int) -> bool:
    """Whether a stretch of an archive is more than padding."""
    if stop <= start:
        return False
    with path.open("rb") as file:
        file.seek(start)
        return bool(file.read(min(stop - start, _LOOK)).strip(b"\0"))
