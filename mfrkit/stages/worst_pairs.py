"""The pairs a system gets most wrong, as pictures to look at: often they explain a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from mfrkit.errors import ImageError
from mfrkit.io.images import encode_image, read_image
from mfrkit.io.packed import Packed
from mfrkit.io.pairs import PairList
from mfrkit.stages.contact_sheet import fit
from mfrkit.stages.find_crops import find_crops
from mfrkit.stages.html_page import inline_picture
from mfrkit.stages.results import SystemResult

_SHOWN = 6  # pairs of each kind
_KINDS = ((True, "one person, lowest scores"), (False, "two people, highest scores"))
_SIDE, _QUALITY = 112, 85


@dataclass(frozen=True)
class CropFolders:
    """Where the pictures of one system's pairs are.

    Attributes:
        first: folder or manifest of each pair's first picture, None for no pictures.
        second: of the second picture.
    """

    first: str | None = None
    second: str | None = None


def worst_places(pairs: PairList, result: SystemResult, *, same: bool) -> list[int]:
    """Return the pairs of one kind that a system gets most wrong, the worst first.

    Failed comparisons are left out: they have no score that could be wrong.

    Args:
        pairs: the pair list.
        result: scores of the system.
        same: True for the lowest scores of one person, False for the highest of two.
    """
    chosen = np.flatnonzero((pairs.same == same) & result.counted & np.isfinite(result.scores))
    scores = result.scores[chosen] if same else -result.scores[chosen]
    return chosen[np.argsort(scores, kind="stable")[:_SHOWN]].tolist()


def worst_pairs(
    pairs: PairList, results: Sequence[SystemResult], folders: Sequence[CropFolders]
) -> list[str]:
    """Lay out the worst pairs of every system as HTML.

    Args:
        pairs: the pair list.
        results: the systems.
        folders: of each system; pictures that are not there leave an empty frame.

    Raises:
        InputError: a folder that does not exist, or has a damaged manifest.
    """
    places = [
        {same: worst_places(pairs, result, same=same) for same in (True, False)}
        for result in results
    ]
    keys = {
        key
        for kinds in places
        for chosen in kinds.values()
        for place in chosen
        for key in (pairs.a[place], pairs.b[place])
    }
    sources = {source for folder in folders for source in (folder.first, folder.second) if source}
    paths = {source: find_crops(source, keys) for source in sorted(sources)}
    html = []
    for result, kinds, folder in zip(results, places, folders, strict=True):
        first, second = (paths.get(source or "", {}) for source in (folder.first, folder.second))
        for same, heading in _KINDS:
            if not kinds[same]:
                continue
            html.append(f"<h3>{escape(result.label)}: {heading}</h3>")
            shown = [_pair(pairs, result, place, first, second) for place in kinds[same]]
            html.append('<div class="pairs">\n' + "\n".join(shown) + "\n</div>")
    return html


def _pair(
    pairs: PairList,
    result: SystemResult,
    place: int,
    first: Mapping[str, Path | Packed],
    second: Mapping[str, Path | Packed],
) -> str:
    a, b = pairs.a[place], pairs.b[place]
    faces = ""
    if first or second:
        faces = f'<div class="faces">{_face(first.get(a), a)}{_face(second.get(b), b)}</div>'
    names = f"{escape(_name(a))}<br>{escape(_name(b))}"
    hint = escape(f"{a} and {b}, line {pairs.line[place]}")
    score = f"{result.scores[place]:.3f}"
    return f'<figure title="{hint}">{faces}<figcaption><b>{score}</b> {names}</figcaption></figure>'


def _face(path: Path | Packed | None, key: str) -> str:
    if path is None:
        return "<span>no picture</span>"
    try:
        picture = fit(read_image(path), _SIDE)
    except ImageError as error:
        return f"<span>{escape(str(error))}</span>"
    return inline_picture(encode_image(picture, ".jpg", quality=_QUALITY), "jpeg", key)


def _name(key: str) -> str:
    return key.rpartition("/")[2]
