"""Manifest records: one JSON object per input, including the inputs that gave nothing.

A record keeps every field it does not know, so that later stages and other tools can add theirs.
Which mask a face wears is told by the record of its picture.
"""

import math
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

from mfrkit.errors import InputError, ItemError
from mfrkit.io.documents import parse_json
from mfrkit.io.files import canonical, composed, is_plain, key_of

SCHEMA = 1
MANIFEST = "manifest.jsonl"
_MOST_BYTES = 1 << 26  # of a line
END = {"schema": SCHEMA, "status": "end"}  # closes a stream of records
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # of characters; the others are bytes of names
_FIELDS = ("key", "path", "source", "status", "reason", "identity")
_OWN_FIELDS = ("schema", *_FIELDS, "root", "more")


@dataclass(frozen=True)
class Record:
    """What happened to one input."""

    key: str  # name of the picture in pair lists and embeddings: relative path without suffix
    # the result, relative to the manifest's folder, `/` between parts; None if skipped
    path: str | None
    source: str  # the file the stage read, relative to the folder it was given
    status: Literal["ok", "skipped"] = "ok"
    reason: str | None = None
    identity: str | None = None  # first folder below the root, if any
    # one object per stage (`align`, `mask`, ...) and all unknown fields
    blocks: dict[str, Any] = field(default_factory=dict)

    def skipped(self, reason: str) -> "Record":
        """Return the record of the same input as one that gave nothing."""
        return replace(self, path=None, status="skipped", reason=reason)

    def files(self) -> list[str]:
        """Return the files that belong to the record, relative to the manifest's folder."""
        blocks = [b for b in self.blocks.values() if isinstance(b, dict)]
        regions = [b.get(name) for b in blocks for name in ("region", "region_exact")]
        return [name for name in (self.path, *regions) if isinstance(name, str)]

    def to_json(self) -> dict[str, Any]:
        """Return the fields in the order in which people read them."""
        known: dict[str, Any] = {"schema": SCHEMA} | {name: getattr(self, name) for name in _FIELDS}
        optional = ("reason", "identity")
        return {k: v for k, v in known.items() if k not in optional or v is not None} | self.blocks

    def to_stream(self, root: str | None) -> dict[str, Any]:
        """Return the fields for the next command of a pipeline, to which another record follows.

        `root` is the folder `path` is relative to, if there is one.
        """
        return ({} if root is None else {"root": root}) | {"more": True} | self.to_json()

    @classmethod
    def from_json(cls, fields: dict[str, Any], where: str) -> "Record":
        """Read a record; only `path` (or `status: skipped` and a key) is needed.

        Raises:
            InputError: a newer schema, a wrong type, or a path that leaves its root.
            ItemError: a name no file can have.
        """
        if fields.get("schema", SCHEMA) != SCHEMA:
            raise InputError(f"{where}: schema {fields['schema']!r}, this version reads {SCHEMA}")
        path = _text(fields, "path", where)
        key = _text(fields, "key", where)
        key = canonical(key) if key else key_of(path or "")
        if not key:
            raise InputError(f"{where}: a record needs a path or a key")
        for name in (path, key):
            if name is not None:
                check_inside(name, where)
        status = fields.get("status", "ok")
        if status not in ("ok", "skipped") or (status == "ok" and path is None):
            raise InputError(f"{where}: status {status!r} with path {path!r} makes no sense")
        return cls(
            key=key,
            path=path if status == "ok" else None,
            source=_text(fields, "source", where) or path or key,
            status=status,
            reason=_text(fields, "reason", where),
            identity=composed(_text(fields, "identity", where) or "") or identity_of(key),
            blocks={k: v for k, v in fields.items() if k not in _OWN_FIELDS},
        )


def next_line(file: BinaryIO, where: str) -> bytes:
    """Read a line of NDJSON, empty at the end; longer than any record, it is an InputError."""
    line = file.readline(_MOST_BYTES + 1)
    if len(line) > _MOST_BYTES:
        raise InputError(f"{where}: longer than any record ({_MOST_BYTES >> 20} MB)")
    return line


def parse_line(line: str | bytes, where: str) -> dict[str, Any]:
    """Parse one line of NDJSON, an object; errors are those of `mfrkit.io.documents.parse_json`."""
    fields = parse_json(line, where)
    if not isinstance(fields, dict):
        raise InputError(f"{where}: expected a JSON object, got {type(fields).__name__}")
    return fields


def identity_of(key: str) -> str | None:
    """Return the first folder of a key, which names the person by convention."""
    parts = key.split("/", 1) if is_plain(key) else PurePosixPath(key).parts
    return parts[0] if len(parts) > 1 else None


def check_inside(path: str, where: str) -> None:
    """Refuse a path that could reach files outside the folder it is relative to.

    Every path that comes out of a file passes here before it is used: an absolute one, a drive
    letter or a `..` part is an InputError, a NUL, which no name of a file can hold, an ItemError.
    """
    if "\0" in path:
        raise ItemError(f"{where}: path {path!r} is none: it holds a NUL")
    pure = PurePosixPath(path)
    leaves = pure.is_absolute() or ".." in pure.parts
    if os.name == "nt":  # elsewhere a backslash and a colon are letters like any other
        leaves = leaves or "\\" in path or ":" in path
    if leaves:
        raise InputError(f"{where}: path {path!r} leaves its folder; refused")


def below(folder: Path, path: str) -> Path:
    """Return a file of a manifest's folder that is to be changed, wherever links on the way lead.

    Raises:
        InputError: the path leaves the folder, by itself or through a link.
    """
    check_inside(path, str(folder))
    if not (folder / path).parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: a link takes {path!r} out of the folder; refused")
    return folder / path


def _text(fields: dict[str, Any], name: str, where: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{where}: {name} must be text, got {value!r}")
    return value if value is None or value.isascii() else _HALVES.sub("\ufffd", value)


def manifest_path(folder: Path, suffix: str = "") -> Path:
    """Return the name of a folder's manifest, or with `-1-of-4` of one shard's manifest."""
    return folder / f"manifest{suffix}.jsonl"


_BARE: dict[str, Any] = {"type": "none"}


def worn_mask(record: Record) -> dict[str, Any] | None:
    """Return the block on a face's mask: its kind is `type`, `none` if nothing was drawn on it.

    Masks drawn on a photo are a list of faces; a crop that was cut from the photo later shows one
    of them, the one whose points are nearest. A photo that gave no crop counts as its largest face.

    Args:
        record: of a crop, or of a masked photo; None is returned if it tells of no mask.
    """
    block = record.blocks.get("mask")
    if not isinstance(block, dict):
        return None
    listed = block.get("faces")
    if not isinstance(listed, list):
        return block
    align = record.blocks.get("align")
    faces = [(face, at) for face in listed if isinstance(face, dict) and (at := _place(face))]
    if not faces or not isinstance(align, dict):
        return max(faces, key=lambda each: each[1][2], default=(block, None))[0]
    cut = _place(align)
    if cut is None:
        return block
    nearest, place = min(faces, key=lambda each: math.dist(each[1][:2], cut[:2]))
    return nearest if math.dist(place[:2], cut[:2]) < place[2] else _BARE


def _place(face: dict[str, Any]) -> tuple[float, float, float] | None:
    """Return x and y between a face's eyes, which no mask moves, and its size, in pixels.

    None without points that make sense.
    """
    try:
        (ax, ay), (bx, by), _, *mouth = ((float(x), float(y)) for x, y in face["points"])
        (cx, cy), (dx, dy) = mouth
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    x, y = (ax + bx) / 2, (ay + by) / 2
    # A turn shortens one of two lengths, not both.
    return x, y, max(math.hypot(bx - ax, by - ay), math.hypot((cx + dx) / 2 - x, (cy + dy) / 2 - y))
