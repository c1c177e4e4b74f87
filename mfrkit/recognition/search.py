"""The command `mfrkit search`: who is on these photos?

Answers go to a terminal, a table, CSV, NDJSON, or one HTML page with each face beside the person
it is taken for.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mfrkit.config import RECOGNISER
from mfrkit.console import Console, to_line
from mfrkit.errors import InputError, PartialError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import replacing, write_whole
from mfrkit.io.images import encode_image
from mfrkit.io.source import open_source
from mfrkit.models.cards import ModelCard
from mfrkit.models.loading import recogniser_card
from mfrkit.pages.html_page import InlinePicture, html_page, inline_picture
from mfrkit.recognition.decision import given_threshold
from mfrkit.recognition.gallery import (
    UNKNOWN,
    Answer,
    Gallery,
    Probe,
    answer_all,
    check_made_by,
    probes_in,
    probes_seen,
    search_decider,
)
from mfrkit.recognition.gallery_index import enrol
from mfrkit.recognition.look import look, read_items
from mfrkit.recognition.options import DEFAULT_FMR, SearchOptions, is_embedding_file
from mfrkit.recognition.recogniser import Recogniser

_SHOWN = 500  # faces; a page of more is too heavy to open
_QUALITY = 85
_NO_PHOTO = InlinePicture("no photo")
_GROUPS = ((True, "Recognised"), (False, "Unknown"), (None, "Not decided"))


class _SearchPage:
    """Collects answers and writes the page when closed; use as a context manager.

    The faces of the known people are shown if `gallery`, their source, holds photos.
    """

    def __init__(self, path: Path, gallery: str, recogniser: Recogniser | None) -> None:
        self._path, self._gallery, self._recogniser = path, gallery, recogniser
        self._shown: list[tuple[Answer, InlinePicture]] = []
        self._left_out = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            write_whole(self._path, self._page().encode("utf-8", "replace"))

    def add(self, answer: Answer) -> None:
        if answer.best is None:
            return
        if len(self._shown) == _SHOWN:
            self._left_out += 1
            return
        face = answer.probe.face
        crop = _NO_PHOTO if face is None else _picture(face.crop, answer.probe.shot)
        self._shown.append((answer, crop))

    def _page(self) -> str:
        people = self._faces_of_people({answer.photo or "" for answer, _ in self._shown})
        groups: dict[str, list[tuple[Answer, InlinePicture, InlinePicture]]] = {
            title: [
                (answer, crop, people.get(answer.photo or "", _NO_PHOTO))
                for answer, crop in self._shown
                if answer.known is known
            ]
            for known, title in _GROUPS
        }
        return html_page(
            "search.html",
            name=Path(self._gallery).name,
            gallery=self._gallery,
            groups=groups,
            left_out=self._left_out,
        )

    def _faces_of_people(self, photos: set[str]) -> dict[str, InlinePicture]:
        """Cut the faces of some photos of the gallery out again; an index keeps none."""
        recogniser = self._recogniser
        if recogniser is None or is_embedding_file(self._gallery):
            return {}
        items = (item for item in open_source(self._gallery) if item.record.key in photos)
        return {
            seen.key: _picture(seen.faces[0].crop, seen.key)
            for seen in look(read_items(items, recogniser), recogniser)
            if seen.faces
        }


def _picture(crop: NDArray[np.uint8], label: str) -> InlinePicture:
    return inline_picture(encode_image(crop, ".jpg", quality=_QUALITY), "jpeg", label)


_COLUMNS = ("shot", "face", "person", "score", "runner-up", "its score", "masked")
_IN_CSV = (
    "shot", "face", "person", "score", "best", "runner_up", "runner_up_score", "threshold",
    "masked", "photo", "reason",
)  # fmt: skip
Take = Callable[[Answer], object]


@dataclass
class Counts:
    """How many faces are whose."""

    known: int = 0
    unknown: int = 0
    undecided: int = 0
    without: int = 0
    shots: set[str] = field(default_factory=set)

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.shots.add(answer.probe.shot)
        if answer.best is None:
            self.without += 1
        elif answer.known is None:
            self.undecided += 1
        else:
            self.known += answer.known
            self.unknown += not answer.known

    def __str__(self) -> str:
        undecided = f", {self.undecided} undecided" if self.undecided else ""
        faces = "face" if self.known == 1 else "faces"
        return (
            f"{len(self.shots)} shots: {self.known} {faces} of known people, {self.unknown} of "
            f"others{undecided}; {self.without} shots without a face"
        )


def search(options: SearchOptions, console: Console) -> Counts:
    """Say who is on each shot; print a table or records, and write the files asked for.

    Raises:
        InputError: unusable options, model, gallery or shots.
        PartialError: no shot shows a face.
    """
    model, card = _model_of(options)
    _check_sources(options, card)
    given = given_threshold(options.threshold, card, options.fmr or DEFAULT_FMR, console)
    recogniser = None
    if len(options.files) < 2:
        recogniser = Recogniser(
            model, device=options.device, region_model=options.region_model, feeding=options.fed
        )
    people = enrol(
        options.gallery,
        card,
        recogniser,
        console,
        index=options.index,
        approximate=options.approximate,
    )
    _tell_of(people, console)
    decider, remark = search_decider(
        card, len(people), fpir=options.fpir, fmr=options.fmr, threshold=given
    )
    if remark is not None:
        console.warn(remark)
    counts, started = Counts(), perf_counter()
    with ExitStack() as stack:
        takers = [counts.add, *_outputs(options, recogniser, console, stack)]
        for answer in answer_all(people, _probes(options, recogniser, console, stack), decider):
            for take in takers:
                take(answer)
    console.info(f"{counts}; {len(people)} people, {perf_counter() - started:.1f} s")
    for file in (options.output, options.report):
        if file is not None:
            console.info(f"wrote {file}")
    if not counts.shots:
        raise InputError(f"{options.shots}: no pictures found")
    if counts.without == len(counts.shots):
        raise PartialError("no shot shows a face")
    return counts


def _check_sources(options: SearchOptions, card: ModelCard) -> None:
    """Refuse what is not there, or made by another model, before anything is loaded."""
    for side in (options.gallery, options.shots):
        if is_embedding_file(side):
            check_made_by(Path(side), card)
        else:
            open_source(side)


def _tell_of(people: Gallery, console: Console) -> None:
    """Say what of a gallery is not searched, or not known."""
    for key, reason in people.skipped.items():
        console.detail(f"skipped {key!r}: {reason}")
    if people.skipped:
        first, why = next(iter(people.skipped.items()))
        such = f"{len(people.skipped)} photos of the gallery are left out, such as {first!r}: {why}"
        console.warn(such)
    doubtful = int((people.masked < 0).sum())
    if doubtful:
        console.warn(
            f"nobody looked whether {doubtful} people of the gallery wear masks (embed "
            "--detect-mask); the higher threshold counts for them"
        )


def _model_of(options: SearchOptions) -> tuple[str, ModelCard]:
    """Find the model: the one asked for, else the one behind an embedding file."""
    if options.model is not None or not options.files:
        model = options.model or RECOGNISER
        return model, recogniser_card(model, options.fed)
    card = _card_behind(options.files[0])
    try:
        return card.name, recogniser_card(card.name, options.fed)
    except InputError as error:
        if len(options.files) == 2:  # no photos: there is nothing the model itself would do
            return card.name, card
        raise InputError(
            f"{options.files[0]}: made by {card.name}; name its model file with --model"
        ) from error


def _card_behind(path: Path) -> ModelCard:
    """Say of the model what its embeddings say of it."""
    with EmbeddingReader(path) as reader:
        return ModelCard(
            name=str(reader.attributes.get("model") or "an unnamed model"),
            task="recognition",
            architecture="",
            embedding_dim=reader.dim,
            sha256=str(reader.attributes.get("weights_sha256") or ""),
        )


def _probes(
    options: SearchOptions, recogniser: Recogniser | None, console: Console, stack: ExitStack
) -> Iterator[Probe]:
    total: int | None
    groups: Iterable[Iterable[Probe]]
    if recogniser is None or is_embedding_file(options.shots):
        reader = stack.enter_context(EmbeddingReader(Path(options.shots)))
        total, groups = reader.count, ([probe] for probe in probes_in(reader))
    else:
        shots = open_source(options.shots)
        total = shots.count() if console.shows_progress else None
        seen = look(read_items(shots, recogniser), recogniser)
        groups = (probes_seen([each]) for each in seen)
    with console.progress("search", total) as bar:
        for probes in groups:
            bar.update()
            yield from probes


def _outputs(
    options: SearchOptions, recogniser: Recogniser | None, console: Console, stack: ExitStack
) -> Iterator[Take]:
    """Yield what takes the answers; files are whole when the stack is closed."""
    if options.report is not None:
        yield stack.enter_context(_SearchPage(options.report, options.gallery, recogniser)).add
    if options.output is not None:
        temporary = stack.enter_context(replacing(options.output))
        file = stack.enter_context(
            temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        )
        if options.output.suffix == ".csv":
            yield _csv_writer(file)
        else:
            yield lambda answer: file.write(to_line(answer.to_json()) + "\n")
    elif console.is_terminal_out:
        rows: list[list[str]] = []
        stack.callback(lambda: console.table(f"among {options.gallery}", _COLUMNS, rows))
        yield lambda answer: rows.append(_row(answer))
    else:
        yield lambda answer: console.data(to_line(answer.to_json()))


def _csv_writer(file: Any) -> Take:
    writer = csv.DictWriter(file, _IN_CSV, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    return lambda answer: writer.writerow(answer.to_json())


def _row(answer: Answer) -> list[str]:
    probe = answer.probe
    if answer.best is None:
        return [probe.shot, "", probe.reason or "", "", "", "", ""]
    nearest = f"{answer.best}?" if answer.known is None else answer.person or ""
    if answer.known is False:
        nearest = f"{UNKNOWN} (nearest: {answer.best})"
    second = ["", ""]
    if answer.runner_up is not None:
        second = [answer.runner_up, f"{answer.runner_up_score:.3f}"]
    masked = {None: "", True: "yes", False: "no"}[probe.masked]
    return [probe.shot, str(probe.number), nearest, f"{answer.score:.3f}", *second, masked]
