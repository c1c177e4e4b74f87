"""Between verification files (`.bin`) and what every command reads: crops and a pair list."""

from pathlib import Path

import numpy as np

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import ImageError, InputError
from mfrkit.io.files import refuse_existing, write_held, write_whole
from mfrkit.io.images import decode_image, read_content
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.io.packed import Packed
from mfrkit.io.pairs import read_pairs
from mfrkit.io.verification_bin import read_bin, write_bin
from mfrkit.stages.find_crops import require_crops
from mfrkit.stages.run import check_skipped
from mfrkit.stages.sink import RecordSink, Tally

PAIRS = "pairs.txt"
_KINDS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"))
_USUAL = (112, 112)  # what readers of verification files expect


def unpack_bin(
    path: Path, output: Path, console: Console, *, force: bool = False, resume: bool = False
) -> Tally:
    """Write the crops of a verification file, a manifest and its pair list.

    Convention:
        Pair i, from 1, becomes `000001_a` and `000001_b` in one flat folder, because the file
        does not tell who is shown. Pictures keep their bytes. `pairs.txt` holds `a b 0|1` in the
        file's order, of which `mfrkit eval` makes ten contiguous folds, as InsightFace does.

    Args:
        path: the verification file.
        output: folder to write.
        console: receives the records.
        force: replace an earlier result.
        resume: continue an unfinished run.

    Returns:
        What was written and what was skipped.

    Raises:
        InputError: not a verification file, or a folder that must not be touched.
        PartialError: no picture can be read.
    """
    contents = read_bin(path)
    names = [f"{pair:06d}_{side}" for pair in range(1, len(contents.same) + 1) for side in "ab"]
    options = RunOptions(force=force, resume=resume)
    items = (
        Item(place, Record(name, None, f"{path.name}#{place}"), None)
        for place, name in enumerate(names)
    )
    recipe = {"file": path.name, "pictures": len(names)}
    with RecordSink(output, "unpack", recipe, options, console) as sink:
        for item in sink.pending(items):
            sink.add([_write_picture(item.record, contents.pictures[item.position], output)])
        rows = zip(names[::2], names[1::2], contents.same.astype(int).tolist(), strict=True)
        write_whole(output / PAIRS, "".join(f"{a} {b} {same}\n" for a, b, same in rows).encode())
        sink.finish()
    console.info(f"unpack: {sink.tally}, {len(contents.same)} pairs -> {output / PAIRS}")
    check_skipped(sink.tally, options)
    return sink.tally


def _write_picture(record: Record, picture: bytes, output: Path) -> Record:
    try:
        decode_image(picture)
    except ImageError as error:
        return record.skipped(str(error))
    suffix = _suffix_of(picture)
    if suffix is None:
        return record.skipped("neither JPEG nor PNG")
    path = f"{record.key}{suffix}"
    write_held(output / path, picture)
    return Record(record.key, path, record.source)


def pack_bin(pairs: Path, crops: str, output: Path, console: Console, *, force: bool) -> int:
    """Write a verification file with the crops of a pair list.

    Convention:
        Pairs are written fold by fold, because readers of such files cut them into ten
        contiguous folds. Pictures keep their bytes.

    Args:
        pairs: the pair list, see `mfrkit.io.pairs`.
        crops: folder or manifest with the crops it names.
        output: the file to write.
        console: narration.
        force: replace an earlier result.

    Returns:
        The number of pairs written.

    Raises:
        InputError: an unusable list, crops that are missing, unreadable or neither JPEG nor PNG,
            or an output that exists.
    """
    refuse_existing(output, force=force)
    listed = read_pairs(pairs)
    order = np.argsort(listed.fold, kind="stable").tolist()
    keys = [key for place in order for key in (listed.a[place], listed.b[place])]
    paths = require_crops(crops, dict.fromkeys(keys), pairs)
    pictures = {key: _read_picture(path) for key, path in paths.items()}
    odd = [key for key, (_, size) in pictures.items() if size != _USUAL]
    if odd:
        height, width = pictures[odd[0]][1]
        console.warn(
            f"not 112x112: {len(odd)} of {len(pictures)} pictures ({odd[0]}: {width}x{height}); "
            "other readers scale them without alignment"
        )
    write_bin(output, [pictures[key][0] for key in keys], listed.same[order].tolist())
    console.info(f"pack-bin: {len(listed)} pairs of {len(pictures)} pictures -> {output}")
    return len(listed)


def _read_picture(path: Path | Packed) -> tuple[bytes, tuple[int, int]]:
    """Return the bytes of a crop and its height and width."""
    try:
        content = read_content(path)
        size = decode_image(content).shape
    except ImageError as error:
        raise InputError(f"{path}: {error}") from error
    if _suffix_of(content) is None:
        raise InputError(
            f"{path}: neither JPEG nor PNG; convert the crops with "
            "`mfrkit align --detector none --format jpg`"
        )
    return content, (size[0], size[1])


def _suffix_of(content: bytes) -> str | None:
    return next((suffix for start, suffix in _KINDS if content.startswith(start)), None)
