"""The answers of a search as one HTML page: each face beside the person it is taken for."""

from html import escape
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mfrkit.io.files import write_whole
from mfrkit.io.images import encode_image
from mfrkit.io.source import open_source
from mfrkit.recognition.answers import Answer
from mfrkit.recognition.embedding_files import is_embedding_file
from mfrkit.recognition.look import look, read_items
from mfrkit.recognition.recogniser import Recogniser
from mfrkit.stages.html_page import html_page, inline_picture

_SHOWN = 500  # faces; a page of more is too heavy to open
_QUALITY = 85


class SearchPage:
    """Collects answers and writes the page when closed; use as a context manager.

    Args:
        path: the page.
        gallery: source of the known people; their faces are shown if it holds photos.
        recogniser: finds the faces in those photos.
    """

    def __init__(self, path: Path, gallery: str, recogniser: Recogniser | None) -> None:
        self._path, self._gallery, self._recogniser = path, gallery, recogniser
        self._shown: list[tuple[Answer, str]] = []
        self._left_out = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            write_whole(self._path, self._page().encode("utf-8", "replace"))

    def add(self, answer: Answer) -> None:
        """Take one answer."""
        if answer.best is None:
            return
        if len(self._shown) == _SHOWN:
            self._left_out += 1
            return
        face = answer.probe.face
        crop = _blank("no photo") if face is None else _picture(face.crop, answer.probe.shot)
        self._shown.append((answer, crop))

    def _page(self) -> str:
        people = self._faces_of_people({answer.photo or "" for answer, _ in self._shown})
        body = ["<h1>Who is on these photos?</h1>"]
        groups = ((True, "Known people"), (False, "Unknown"), (None, "Not decided"))
        for known, title in groups:
            figures = [
                _figure(answer, crop, people.get(answer.photo or "", _blank("no photo")))
                for answer, crop in self._shown
                if answer.known is known
            ]
            if figures:
                body += [f"<h2>{title}: {len(figures)}</h2>", '<div class="pairs">', *figures]
                body.append("</div>")
        if self._left_out:
            body.append(f'<p class="note">{self._left_out} more faces are not shown.</p>')
        body.append(
            '<p class="note">Left the face searched, right the most similar person of '
            f"{escape(self._gallery)}. Scores are cosine similarities.</p>"
        )
        return html_page(f"Search among {Path(self._gallery).name}", body)

    def _faces_of_people(self, photos: set[str]) -> dict[str, str]:
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


def _figure(answer: Answer, crop: str, person: str) -> str:
    probe = answer.probe
    name = answer.person or f"{answer.best}?"
    against = "" if answer.threshold is None else f", threshold {answer.threshold.value:.3f}"
    nearest = f" (nearest: {answer.best})" if answer.known is False else ""
    second = ""
    if answer.runner_up is not None:
        second = f"<br>then {escape(answer.runner_up)} {answer.runner_up_score:.3f}"
    return (
        f'<figure><div class="faces">{crop}{person}</div><figcaption>'
        f"<b>{escape(name)}</b>{escape(nearest)} {answer.score:.3f}{against}{second}"
        f"<br>{escape(probe.shot)}, face {probe.number}{', masked' if probe.masked else ''}"
        "</figcaption></figure>"
    )


def _picture(crop: NDArray[np.uint8], label: str) -> str:
    return inline_picture(encode_image(crop, ".jpg", quality=_QUALITY), "jpeg", label)


def _blank(why: str) -> str:
    return f"<span>{escape(why)}</span>"
