"""Compare templates instead of pictures: several pictures of a person, pooled into one vector."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console
from mfrkit.io.embeddings import EmbeddingReader, Vectors
from mfrkit.io.template_lists import TemplateList

_BLOCK = 8192  # pictures read at a time


class PooledTemplates:
    """The templates of a list as vectors of their own.

    Convention:
        As the IJB protocols pool: the mean of the unit vectors of each medium (a video counts
        like one photo), the sum over media, scaled to unit length.

    Args:
        reader: embeddings of the pictures.
        templates: which pictures belong together.

    Attributes:
        path: the embedding file.
        dim: D.
        index: template -> row, for the templates with at least one vector.
        skipped: template -> why it has no vector.
        missing: pictures of the list without a usable vector; the others still make a template.
    """

    def __init__(self, reader: EmbeddingReader, templates: TemplateList) -> None:
        self.path: Path = reader.path
        self.dim: int = reader.dim
        sums, used = np.zeros((len(templates.names), reader.dim)), 0
        for template, means, pictures in _by_media(reader, templates):
            np.add.at(sums, template, means)
            used += pictures
        self.missing = len(templates.keys) - used
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        usable = lengths[:, 0] > 0
        self._vectors = (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        self.index = {name: row for row, name in enumerate(templates.names) if usable[row]}
        counts = np.bincount(templates.template, minlength=len(templates.names))
        self.skipped = {
            templates.names[row]: f"none of its {counts[row]} pictures has one"
            for row in np.flatnonzero(~usable).tolist()
        }

    def rows(self, indices: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return (M, D) float32, the vectors of some templates, in the order asked."""
        return self._vectors[indices]


def _by_media(
    reader: EmbeddingReader, templates: TemplateList
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], int]]:
    """Yield, some media at a time, their templates, mean unit vectors, and pictures used."""
    index = reader.index
    rows = np.array([index.get(key, -1) for key in templates.keys], dtype=np.int64)
    present = rows >= 0
    rows, media = rows[present], templates.media[present]
    template = templates.template[present]
    for block in _whole_media(media):
        vectors = reader.rows(rows[block]).astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        _, first, place = np.unique(media[block][usable], return_index=True, return_inverse=True)
        means = np.zeros((first.size, reader.dim))
        np.add.at(means, place, vectors[usable] / lengths[usable, None])
        means /= np.bincount(place, minlength=first.size)[:, None]
        yield template[block][usable][first], means, int(np.count_nonzero(usable))


def _whole_media(media: NDArray[np.int64]) -> Iterator[slice]:
    """Cut pictures into blocks that part no medium; a medium larger than a block is one alone."""
    ends = np.append(np.flatnonzero(np.diff(media)) + 1, media.size)
    start = 0
    while start < media.size:
        following = np.searchsorted(ends, start, side="right")
        fitting = np.searchsorted(ends, start + _BLOCK, side="right") - 1
        stop = int(ends[max(following, fitting)])
        yield slice(start, stop)
        start = stop


def as_templates(
    first: EmbeddingReader,
    second: EmbeddingReader,
    templates: TemplateList | None,
    console: Console,
) -> tuple[Vectors, Vectors]:
    """Pool the pictures of both embedding files, which may be one, if there is a template list."""
    if templates is None:
        return first, second
    pooled = [PooledTemplates(reader, templates) for reader in dict.fromkeys((first, second))]
    for one in pooled:
        if one.missing:
            console.warn(
                f"{one.path}: no embedding for {one.missing} of the {len(templates.keys)} pictures "
                f"of {templates.path}; their templates are pooled from the others"
            )
    return pooled[0], pooled[-1]
