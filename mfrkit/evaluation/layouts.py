"""Where the published data sets keep their pair list and their pictures.

The names are those of the archives as they unpack; nothing is downloaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from mfrkit.errors import InputError


@dataclass(frozen=True)
class Layout:
    """One data set's folder.

    Attributes:
        title: of the data set.
        pairs: names the pair list may have, the usual one first.
        images: folders the pictures may lie in, the usual one first; `.` is the folder itself.
        detector: how faces are found: `none` where they are aligned already.
        masks: whether masks are drawn; off where people wear them.
    """

    title: str
    pairs: tuple[str, ...]
    images: tuple[str, ...]
    detector: str = "yunet"
    masks: bool = True


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "lfw": Layout(
            "LFW, View 2",
            ("pairs.txt",),
            ("lfw", "lfw-deepfunneled", "lfw_funneled"),
        ),
        "calfw": Layout(
            "CALFW, cross-age",
            ("pairs_CALFW.txt", "pairs.txt"),
            ("images&landmarks/images", "images", "aligned images"),
        ),
        "cplfw": Layout(
            "CPLFW, cross-pose",
            ("pairs_CPLFW.txt", "pairs.txt"),
            ("images", "aligned images"),
        ),
        "agedb-30": Layout("AgeDB-30", ("agedb_30.bin",), ("agedb_30.bin",), "none"),
        "cfp-fp": Layout("CFP-FP, frontal to profile", ("cfp_fp.bin",), ("cfp_fp.bin",), "none"),
        "mfr2": Layout("MFR2, real masks", ("pairs.txt",), ("mfr2", "."), masks=False),
        "mlfw": Layout(
            "MLFW, drawn masks",
            ("pairs.txt", "pairs_MLFW.txt"),
            ("origin", "original", "aligned"),
            masks=False,
        ),
        "rmfvd": Layout(
            "RMFVD, real masks", ("pairs.txt", "pairs.csv"), ("images", "."), masks=False
        ),
    }
)


class BenchmarkInputs(NamedTuple):
    """Where a benchmark's input is, and what it is.

    Attributes:
        pairs: the pair list.
        images: SRC of the pictures.
        detector: how faces are found in them.
        masks: whether masks are drawn.
    """

    pairs: Path
    images: str
    detector: str
    masks: bool


def place(
    layout: str | None, pairs: Path, images: str | None, detector: str, masks: bool
) -> BenchmarkInputs:
    """Find a benchmark's input from what the command line says.

    Args:
        layout: of `pairs`, which is a folder then; None if both are named.
        pairs: the pair list, or the data set's folder.
        images: SRC of the pictures; None with a layout.
        detector: used without a layout, or with one whose pictures are photos.
        masks: whether masks are wanted.

    Raises:
        InputError: too little or too much named, or a data set that is not there.
    """
    if layout is None:
        if images is None:
            raise InputError(f"{pairs}: which pictures? name their folder, or the --layout of both")
        return BenchmarkInputs(pairs, images, detector, masks)
    if images is not None:
        raise InputError(f"{images}: --layout finds the pictures itself; name the folder alone")
    known, found_pairs, found_images = find_layout(layout, pairs)
    detector = "none" if known.detector == "none" else detector
    return BenchmarkInputs(found_pairs, str(found_images), detector, masks and known.masks)


def find_layout(name: str, folder: Path) -> tuple[Layout, Path, Path]:
    """Find a data set's pair list and pictures.

    Args:
        name: key of `LAYOUTS`.
        folder: where its archives were unpacked.

    Returns:
        The layout, the pair list, and the folder of the pictures.

    Raises:
        InputError: an unknown data set, or one that is not there, with where its files go.
    """
    layout = LAYOUTS.get(name)
    if layout is None:
        raise InputError(f"--layout {name!r}: expected {', '.join(LAYOUTS)}")
    pairs = _first(folder, layout.pairs)
    images = _first(folder, layout.images)
    if pairs is None or images is None:
        lacking = layout.pairs if pairs is None else layout.images
        raise InputError(
            f"{folder}: no {' or '.join(lacking)}; unpack {layout.title} so that the pair list is "
            f"{folder / layout.pairs[0]} and the pictures are in {folder / layout.images[0]}"
        )
    return layout, pairs, images


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)
