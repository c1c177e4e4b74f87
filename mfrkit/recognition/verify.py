"""The command `mfrkit verify`: does a photo show the person of another one?"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, to_line
from mfrkit.errors import InputError, PartialError
from mfrkit.models.loading import recogniser_card
from mfrkit.recognition.decision import Decider, given_threshold
from mfrkit.recognition.look import PhotoFace
from mfrkit.recognition.options import VerifyOptions
from mfrkit.recognition.recogniser import Comparison, Recogniser, compare_faces

SCHEMA = 1
_COLUMNS = ("photo", "similarity", "person", "masked", "threshold", "FMR", "FNMR")


@dataclass(frozen=True)
class PhotoPair:
    """Two photos, and what came of them."""

    photos: tuple[Path, Path]
    faces: tuple[int, int]  # how many faces were found in each
    # which face of each, from 1; None where one photo has none
    compared: tuple[int, int] | None = None
    result: Comparison | None = None  # the comparison; None where one photo has no face
    reason: str | None = None  # why there is no comparison

    def to_json(self) -> dict[str, Any]:
        """Return it as one record; what was not decided is None."""
        first, second = self.photos
        record: dict[str, Any] = {
            "photo_a": str(first),
            "photo_b": str(second),
            "faces": list(self.faces),
            "compared": None if self.compared is None else list(self.compared),
            "same": None,
            "similarity": None,
        }
        if self.result is None:
            return record | {"reason": self.reason}
        both, threshold = self.result, self.result.threshold
        return record | {
            "same": both.same,
            "similarity": round(both.similarity, 6),
            "masked": [both.first.masked, both.second.masked],
            "boxes": [[round(float(x), 1) for x in f.box] for f in (both.first, both.second)],
            "threshold": None if threshold is None else round(threshold.value, 6),
            "fmr": None if threshold is None else threshold.fmr,
            "fnmr": None if threshold is None else threshold.fnmr,
        }

    def verdict(self) -> str:
        """Say what was decided, in words."""
        if self.result is None or self.result.same is None:
            return "no decision"
        return "same" if self.result.same else "different"


def verify(options: VerifyOptions, console: Console) -> list[PhotoPair]:
    """Compare the first photo with each other one; print what was found.

    Raises:
        InputError: unusable options or model, or a first photo without a face.
        PartialError: no pair could be compared.
    """
    card = recogniser_card(options.model, options.fed)
    given = given_threshold(options.threshold, card, options.fmr, console)
    decider = Decider(card, options.fmr, given)
    if decider.why_not is not None:
        console.warn(decider.why_not)
    recogniser = Recogniser(
        options.model, device=options.device, region_model=options.region_model, feeding=options.fed
    )
    streams = not options.json and not console.is_terminal_out
    pairs = []
    for pair in _compare(options, recogniser, decider, console):
        pairs.append(pair)
        if streams:
            console.data(to_line(pair.to_json()))
    if options.json:
        document = {"schema": SCHEMA, "model": card.name, "weights_sha256": card.sha256}
        records = [pair.to_json() for pair in pairs]
        console.data(json.dumps({**document, "pairs": records}, ensure_ascii=False))
    elif not streams:
        title = f"compared with {options.photos[0]}, by {card.name}"
        console.table(title, _COLUMNS, [_row(pair) for pair in pairs])
    if options.preview is not None:
        _write_preview(options.preview, pairs, console)
    if all(pair.result is None for pair in pairs):
        raise PartialError("no pair could be compared")
    return pairs


def _compare(
    options: VerifyOptions, recogniser: Recogniser, decider: Decider, console: Console
) -> Iterator[PhotoPair]:
    reference, *others = options.photos
    known = recogniser.faces(reference)
    if not known:
        raise InputError(f"{reference}: no face found")
    _tell_of_others(reference, known, options, console)
    for photo in others:
        try:
            faces = recogniser.faces(photo)
            reason = None if faces else "no face found"
        except InputError as error:
            faces, reason = [], str(error).removeprefix(f"{photo}: ")
        photos, counts = (reference, photo), (len(known), len(faces))
        if reason is not None:
            console.warn(f"{photo}: {reason}")
            yield PhotoPair(photos, counts, reason=reason)
            continue
        _tell_of_others(photo, faces, options, console)
        some = slice(None) if options.all_faces else slice(1)
        for (i, one), (j, other) in product(
            enumerate(known[some], start=1), enumerate(faces[some], start=1)
        ):
            yield PhotoPair(photos, counts, (i, j), compare_faces(one, other, decider))


def _tell_of_others(
    photo: Path, faces: Sequence[PhotoFace], options: VerifyOptions, console: Console
) -> None:
    if len(faces) > 1 and not options.all_faces:
        console.info(
            f"{photo}: {len(faces)} faces; takes the large one near the middle, "
            "--all-faces compares each"
        )


def _row(pair: PhotoPair) -> list[str]:
    name = str(pair.photos[1])
    if pair.result is None or pair.compared is None:
        return [name, "", pair.reason or "", "", "", "", ""]
    if max(pair.faces) > 1:
        name += " face {1}, with face {0}".format(*pair.compared)
    result, threshold = pair.result, pair.result.threshold
    worn = {(False, False): "neither", (True, False): "first", (False, True): "second"}
    masked = worn.get((result.first.masked, result.second.masked), "both")
    rates = ["", "", ""]
    if threshold is not None:
        rates = [f"{threshold.value:.3f}", _share(threshold.fmr), _share(threshold.fnmr)]
    return [name, f"{result.similarity:.3f}", pair.verdict(), masked, *rates]


def _share(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.3g} %"


def _write_preview(path: Path, pairs: Sequence[PhotoPair], console: Console) -> None:
    from mfrkit.io.images import write_image
    from mfrkit.pages.contact_sheet import Cell, contact_sheet

    sheets = []
    for pair in pairs:
        if pair.result is None:
            continue
        cells = []
        for photo, face in zip(pair.photos, (pair.result.first, pair.result.second), strict=True):
            covered = f"{np.mean(face.cover > 127):.0%} covered"
            worn = "mask" if face.masked else "no mask"
            cells += [Cell(face.crop, photo.name), Cell(_tinted(face), f"{worn}, {covered}")]
        sheets.append(contact_sheet(cells, columns=4, side=168, heading=_heading(pair)))
    if not sheets:
        return
    write_image(path, np.vstack(sheets))
    console.info(f"wrote {path}")


def _heading(pair: PhotoPair) -> str:
    row = dict(zip(_COLUMNS, _row(pair), strict=True))
    against = f", threshold {row['threshold']}" if row["threshold"] else ""
    return f"{row['person']}: similarity {row['similarity']}{against}"


def _tinted(face: PhotoFace) -> NDArray[np.uint8]:
    """Return a face with what covers it in red."""
    strength = face.cover[..., None] / 255 * 0.55
    return (face.crop * (1 - strength) + np.array([220, 30, 30]) * strength).astype(np.uint8)
