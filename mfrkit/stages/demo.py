"""The whole chain on the bundled portraits: what to run, and the picture at its end."""

import itertools
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.images import read_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import identity_of
from mfrkit.io.source import FolderSource, open_source
from mfrkit.pages.contact_sheet import Cell, write_contact_sheet

PHOTOS = Path(__file__).parent.parent / "data" / "photos"
FOLDS = 3  # as many as there are pairs of one person
_OURS = ("photos", "crops", "masked", "clean.h5", "masked.h5", "pairs.csv", "sheet.png",
         "report.html", "scores.tsv")  # fmt: skip


def prepare(folder: Path, *, force: bool) -> None:
    """Copy the portraits and write every pair of them; `force` replaces an earlier demo."""
    earlier = [folder / name for name in _OURS if (folder / name).exists()]
    if earlier and not force:
        raise InputError(f"{folder}: holds an earlier demo; --force replaces it")
    for path in earlier:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(PHOTOS, folder / "photos", ignore=shutil.ignore_patterns("*.md"))
    (folder / "pairs.csv").write_text("".join(_pairs()))


def _pairs() -> Iterator[str]:
    """Yield all pairs as lines of CSV, dealt into folds that each hold both kinds of pair."""
    yield "a,b,same,fold\n"
    keys = [item.record.key for item in FolderSource(PHOTOS)]
    seen = Counter[bool]()
    for a, b in itertools.combinations(keys, 2):
        same = identity_of(a) == identity_of(b)
        yield f"{a},{b},{int(same)},{seen[same] % FOLDS}\n"
        seen[same] += 1


def commands(folder: Path) -> list[list[str]]:
    """Return the commands of the demo, in order, as argument lists without `mfrkit`."""
    at = {name: str(folder / name) for name in _OURS}
    clean, masked = at["clean.h5"], at["masked.h5"]
    conditions = [(clean, clean, "unmasked"), (clean, masked, "probe masked"),
                  (masked, masked, "both masked")]  # fmt: skip
    return [
        ["align", at["photos"], "-o", at["crops"]],
        ["synth-mask", at["crops"], "-o", at["masked"], "--seed", "2"],
        ["embed", at["crops"], "-o", clean],
        ["embed", at["masked"], "-o", masked],
        [
            "eval", at["pairs.csv"], *(first for first, _, _ in conditions),
            *(word for _, second, _ in conditions for word in ("--probes", second)),
            "--names", ",".join(name for _, _, name in conditions),
            "--scores", at["scores.tsv"], "--report", at["report.html"],
            "--picture", at["sheet.png"],
        ],
    ]  # fmt: skip


def as_typed(arguments: list[str]) -> str:
    """Return a command as a user would type it."""
    return shlex.join(["mfrkit", *arguments])


def draw_sheet(folder: Path) -> Path:
    """Lay out photo, crop and masked crop of every portrait; returns the sheet's path."""
    photos, crops, masked = (
        {item.record.key: item for item in open_source(str(folder / name))}
        for name in ("photos", "crops", "masked")
    )
    cells = [Cell(_pixels(item), key.split("/")[-1]) for key, item in photos.items()]
    cells += [Cell(_pixels(crops[key]), "aligned") for key in photos]
    for key in photos:
        block = masked[key].record.blocks["mask"]
        cells.append(Cell(_pixels(masked[key]), f"{block['type']}, {block['texture']}"))
    path = folder / "sheet.png"
    write_contact_sheet(path, cells, columns=len(photos), side=180)
    return path


def _pixels(item: Item) -> NDArray[np.uint8]:
    if item.path is None:
        raise InputError(f"{item.record.key}: {item.record.reason}; is the installation damaged?")
    return read_image(item.path)


def show_pairs(folder: Path, console: Console) -> None:
    """Print the score of every pair under each condition."""
    text = (folder / "scores.tsv").read_text(encoding="utf-8")
    header, *lines = (line.split("\t") for line in text.splitlines())
    rows = [
        [a.split("/")[-1], b.split("/")[-1], "same" if same == "1" else "different",
         *(f"{float(score):.3f}" for score in scores)]
        for a, b, same, _, *scores in lines
    ]  # fmt: skip
    console.table("cosine similarity of each pair", ["a", "b", "person", *header[4:]], rows)
