"""Embedding files from embedding files: shards joined, recognisers fused, templates unmasked.

Joined rows are put in the order of their positions among the inputs. Only the positions are held in
memory (16 bytes a row); vectors pass through in blocks.

Fused, files lie side by side as one; how, and why the cosine of two rows is the mean of the
recognisers' cosines, is told in `models/spaces.py`. Everything that reads embedding files reads
the result.

An unmasking network stays a file of its own and is never welded to its recogniser. So there is
one way to use it, whether the recogniser is open or closed, and it sees what it was trained on:
templates averaged over mirror images, which one piece with the recogniser would not.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.config import Shard
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.files import refuse_existing
from mfrkit.metrics.all_pairs import unit_rows
from mfrkit.models.cards import ModelCard
from mfrkit.models.registry import load_for_task, read_card
from mfrkit.models.spaces import shares_of, side_by_side
from mfrkit.stages.file_options import FuseOptions, MergeOptions, UnmaskOptions

BLOCK_ROWS = 8192
# Vectors made with different values of these cannot be compared with each other.
COMMON_ATTRIBUTES = ("model", "weights_sha256", "input_size", "flip")


def merge(options: MergeOptions, console: Console) -> int:
    """Join embedding files; shards must be all there, other files follow each other as given.

    Raises:
        InputError: parts of different models, a missing or repeated shard, repeated keys, or an
            output that exists.
    """
    refuse_existing(options.output, force=options.force)
    if len({part.resolve() for part in options.parts}) != len(options.parts):
        raise InputError("a part is named twice")
    attributes, shards = [], []
    for part in options.parts:
        with EmbeddingReader(part) as reader:
            attributes.append({**reader.attributes, "dim": reader.dim})
            shards.append(str(reader.attributes.get("shard", "")))
    check_alike(options.parts, attributes)
    _check_shards(options.parts, shards)
    _check_keys_differ(options.parts)
    common = {name: value for name, value in attributes[0].items() if name != "shard"}
    count = join(options.parts, options.output, common, in_turn=not any(shards))
    console.info(f"merge: {count} rows from {len(options.parts)} parts -> {options.output}")
    return count


def join(parts: Sequence[Path], output: Path, attributes: dict[str, Any], *, in_turn: bool) -> int:
    """Write the rows of all parts to one file, by position; return their number.

    Args:
        parts: embedding files whose positions ascend.
        output: the file to write.
        attributes: root attributes of the result, and its `dim`.
        in_turn: renumber positions so that each part follows the one before it.
    """
    carried = {name: value for name, value in attributes.items() if name != "dim"}
    return write_embeddings(output, _joined(parts, in_turn), int(attributes["dim"]), carried)


def _joined(parts: Sequence[Path], in_turn: bool) -> Iterator[Rows]:
    if not parts:
        return
    places = [_positions(part, "positions") for part in parts]
    lost = [_positions(part, "skipped_positions") for part in parts]
    shifts = _shifts(places, lost) if in_turn else [0] * len(parts)
    owner, row = _ordered(places, shifts)
    for start in range(0, len(owner), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        yield _gather(parts, shifts, owner[block], row[block])
    yield _skipped(parts, lost, shifts)


def _positions(part: Path, field: str) -> NDArray[np.int64]:
    with EmbeddingReader(part) as reader:
        end = reader.count if field == "positions" else reader.skipped_count
        return reader.positions(field, 0, end)


def _shifts(places: list[NDArray[np.int64]], lost: list[NDArray[np.int64]]) -> list[int]:
    ends = [max([-1, *a[-1:], *b[-1:]]) + 1 for a, b in zip(places, lost, strict=True)]
    return [int(shift) for shift in np.cumsum([0, *ends[:-1]])]


def _ordered(
    places: list[NDArray[np.int64]], shifts: list[int]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return, in position order, which part each row comes from and its row there."""
    owner = np.repeat(np.arange(len(places), dtype=np.int32), [len(p) for p in places])
    row = np.concatenate([np.arange(len(p)) for p in places])
    place = np.concatenate([p + s for p, s in zip(places, shifts, strict=True)])
    order = np.argsort(place, kind="stable")
    if np.any(np.diff(place[order]) == 0):
        raise InputError("the parts overlap: two rows have the same position among the inputs")
    return owner[order], row[order]


def _gather(
    parts: Sequence[Path], shifts: list[int], owner: NDArray[np.int32], row: NDArray[np.int64]
) -> Rows:
    """Read one output block: from each part a run of consecutive rows, then interleaved."""
    runs, places = [], []
    for index in np.unique(owner):
        mine = np.flatnonzero(owner == index)
        with EmbeddingReader(parts[index]) as reader:
            run = reader.block(int(row[mine[0]]), int(row[mine[-1]]) + 1)
        runs.append(replace(run, positions=run.positions + shifts[index]))
        places.append(mine)
    order = np.argsort(np.concatenate(places), kind="stable")
    return concatenate(runs, order)


def concatenate(runs: Sequence[Rows], order: NDArray[np.intp]) -> Rows:
    """Join rows and arrange them; skipped inputs are left out."""

    def texts(name: str) -> list[str]:
        joined = [text for run in runs for text in getattr(run, name)]
        return [joined[place] for place in order]

    def numbers(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(run, name) for run in runs])[order]

    joined: dict[str, Any] = {name: texts(name) for name in ("keys", "identities", "mask_type")}
    for name in ("embeddings", "norms", "masked", "positions"):
        joined[name] = numbers(name)
    return replace(Rows.empty(), **joined)


def _skipped(parts: Sequence[Path], lost: list[NDArray[np.int64]], shifts: list[int]) -> Rows:
    places = np.concatenate([p + s for p, s in zip(lost, shifts, strict=True)])
    keys, reasons = [], []
    for part in parts:
        with EmbeddingReader(part) as reader:
            keys += reader.texts("skipped_keys", 0, reader.skipped_count)
            reasons += reader.texts("skipped_reasons", 0, reader.skipped_count)
    order = np.argsort(places, kind="stable")
    return replace(
        Rows.empty(),
        skipped_keys=[keys[place] for place in order],
        skipped_reasons=[reasons[place] for place in order],
        skipped_positions=places[order],
    )


def check_alike(parts: Sequence[Path], attributes: Sequence[dict[str, Any]]) -> None:
    """Refuse files whose vectors cannot be compared, by the root attributes of each and its `dim`.

    Raises:
        InputError: two of them differ.
    """
    for part, found in zip(parts[1:], attributes[1:], strict=True):
        for name in (*COMMON_ATTRIBUTES, "dim"):
            if str(found.get(name)) != str(attributes[0].get(name)):
                raise InputError(
                    f"{part}: {name} is {found.get(name)}, but {attributes[0].get(name)} in "
                    f"{parts[0]}; their vectors cannot be compared"
                )


def _check_shards(parts: Sequence[Path], shards: list[str]) -> None:
    if not any(shards):
        return
    known = [_shard_of(part, text) for part, text in zip(parts, shards, strict=True)]
    for place, (part, shard) in enumerate(zip(parts, known, strict=True)):
        if shard.count != known[0].count or shard in known[:place]:
            raise InputError(
                f"{part}: is shard {shard}, which is not of this run of {known[0].count}, "
                "or given twice"
            )
    count = known[0].count
    missing = (s for i in range(1, count + 1) if (s := Shard(i, count)) not in known)
    shown = ", ".join(map(str, islice(missing, 3)))
    if shown:
        raise InputError(f"shard {shown} is missing among the parts")


def _shard_of(part: Path, text: str) -> Shard:
    try:
        return Shard.parse(text)
    except InputError as error:
        kind = f"shard {text!r}" if text else "no shard"
        raise InputError(f"{part}: is {kind}, beside shards of a run") from error


def _check_keys_differ(parts: Sequence[Path]) -> None:
    seen: set[int] = set()
    for part in parts:
        with EmbeddingReader(part) as reader:
            for key in reader.each_key():
                if hash(key) in seen:
                    raise InputError(f"{part}: key {key!r} appears twice among the parts")
                seen.add(hash(key))


_NAMED = 3  # keys named in a message


def fuse(options: FuseOptions, console: Console) -> int:
    """Write the files side by side as one; rows, and all but the vectors, are the first file's.

    Raises:
        InputError: unusable files or weights, pictures that are not in all files, or an output that
            exists.
    """
    refuse_existing(options.output, force=options.force)
    if len(options.parts) < 2:
        raise InputError(f"{options.parts[0]}: nothing to fuse it with; name two files or more")
    shares = shares_of(options.weights, len(options.parts), "files")
    with ExitStack() as stack:
        readers = [stack.enter_context(EmbeddingReader(part)) for part in options.parts]
        for other in readers[1:]:
            _check_keys_match(readers[0], other)
        dim = sum(reader.dim for reader in readers)
        attributes = _fused_attributes(readers, shares)
        count = write_embeddings(options.output, _fused(readers, shares), dim, attributes)
    console.info(f"fuse: {count} rows of {attributes['model']}, {dim} values -> {options.output}")
    return count


def _check_keys_match(first: EmbeddingReader, other: EmbeddingReader) -> None:
    """Refuse files of different pictures, rather than leave some out."""
    for one, two in ((first, other), (other, first)):
        missing = [key for key in one.index if key not in two.index]
        if missing:
            more = ", ..." if len(missing) > _NAMED else ""
            raise InputError(
                f"{two.path}: lacks {len(missing)} of the {one.count} keys of {one.path}: "
                f"{', '.join(missing[:_NAMED])}{more}; embed the same pictures"
            )


def _fused(readers: Sequence[EmbeddingReader], shares: Sequence[float]) -> Iterator[Rows]:
    for block in readers[0].blocks():
        found = [block.embeddings]
        for reader in readers[1:]:
            places = np.array([reader.index[key] for key in block.keys], np.int64)
            found.append(reader.rows(places))
        unit, usable = zip(*map(unit_rows, found), strict=True)
        fused = side_by_side(unit, shares, np.concatenate)
        fused[~np.all(usable, axis=0)] = 0  # without one part there is no comparison
        unknown = np.full(len(block.keys), np.nan, np.float32)
        yield replace(block, embeddings=fused, norms=unknown)


def _fused_attributes(
    readers: Sequence[EmbeddingReader], shares: Sequence[float]
) -> dict[str, Any]:
    """Return what the file says of its vectors; two fusions of the same parts say the same."""
    names = [str(reader.attributes.get("model", reader.path.stem)) for reader in readers]
    shares = [round(share, 6) for share in shares]
    origins = [
        (str(reader.attributes.get("weights_sha256", "")), share)
        for reader, share in zip(readers, shares, strict=True)
    ]
    flips = {reader.attributes.get("flip") for reader in readers}
    return {
        "model": " & ".join(names),
        "weights_sha256": hashlib.sha256(json.dumps(origins).encode()).hexdigest(),
        "weights": shares,
        **({"flip": flips.pop()} if len(flips) == 1 and None not in flips else {}),
    }


Unmask = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def unmask(options: UnmaskOptions, console: Console) -> int:
    """Write an embedding file again with its templates unmasked; all else stays.

    Raises:
        InputError: an unusable file or model, a model for another recogniser's templates, or an
            output that exists.
        WeightsError: the model's file is damaged.
    """
    refuse_existing(options.output, force=options.force)
    card = read_card(options.model)[0]
    changed = 0
    with EmbeddingReader(options.source) as reader:
        _check_source(reader, card, options)
        change = _load_unmasker(options.model)

        def unmasked() -> Iterator[Rows]:
            nonlocal changed
            for rows in reader.blocks():
                chosen = rows.masked == 1 if options.only_masked else np.full(len(rows.keys), True)
                vectors = rows.embeddings.copy()
                vectors[chosen] = change(vectors[chosen])
                changed += int(chosen.sum())
                yield replace(rows, embeddings=vectors)

        count = write_embeddings(
            options.output, unmasked(), reader.dim, _unmasked_attributes(reader, card)
        )
    console.info(f"unmask: {changed} of {count} rows -> {options.output}")
    return changed


def _check_source(reader: EmbeddingReader, card: ModelCard, options: UnmaskOptions) -> None:
    if card.task != "unmasking":
        raise InputError(
            f"{options.model}: is for {card.task}, not unmasking; choose another model"
        )
    found, base = reader.attributes, card.base
    if "unmasked_by" in found:
        raise InputError(f"{reader.path}: was unmasked already, by {found['unmasked_by']}")
    if reader.dim != card.embedding_dim:
        raise InputError(
            f"{reader.path}: has {reader.dim} values a row, {options.model} takes "
            f"{card.embedding_dim}, those of {base.get('model') or 'another recogniser'}"
        )
    for name in ("weights_sha256", "model"):
        if found.get(name) and base.get(name):
            if found[name] == base[name]:
                break
            raise InputError(
                f"{reader.path}: templates of {found.get('model', 'another recogniser')}, but "
                f"{options.model} unmasks those of {base.get('model')} ({name} differs)"
            )
    if options.only_masked and not np.any(reader.masked == 1):
        raise InputError(
            f"{reader.path}: no row is marked as masked; mfrkit embed marks those of faces from "
            "synth-mask, or with --detect-mask"
        )


def _load_unmasker(model: str) -> Unmask:
    import torch

    network, _ = load_for_task(model, "unmasking")

    def change(templates: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = network(torch.from_numpy(templates)).numpy()
        return result

    return change


def _unmasked_attributes(reader: EmbeddingReader, card: ModelCard) -> dict[str, Any]:
    """Return what the file says of its vectors: whose space it is, and who moved them in it."""
    model = reader.attributes.get("model", "")
    return {
        **reader.attributes,
        "model": f"{model}+{card.name}" if model else card.name,
        "unmasked_by": card.name,
        "unmasked_by_sha256": card.sha256,
    }
