"""Embed the crops of a run once without masks and some times with, each time into a file.

The files are embedding files like any other, so that they can be trained on again by name.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfrkit.console import Console, Progress
from mfrkit.io.embedding_rows import Rows, write_embeddings
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.models.engine import Embedded, EmbedEngine
from mfrkit.models.recogniser import Recogniser
from mfrkit.stages.embed import origin
from mfrkit.stages.train_data import Batches, RawBatch, TrainSet
from mfrkit.stages.train_parts import paired_views

_BATCH = 64


class InOrder(Batches):
    """Show all faces in the order they have, once an epoch; each epoch draws views of its own.

    Args:
        data: the crops.
        size: (height, width) they must have.
        views: how far masked views may vary.
        masks: what is drawn on them.
        seed: of everything drawn.
        renderer: draws the masks; None for one without masks of the user's own.
    """

    def __init__(
        self,
        data: TrainSet,
        size: tuple[int, int],
        views: ViewOptions,
        masks: MaskOptions,
        seed: int,
        renderer: MaskRenderer | None = None,
    ) -> None:
        self.renderer = renderer
        super().__init__(data, size=size, views=views, masks=masks, seed=seed, batch_size=_BATCH)
        self.steps_per_epoch = -(-len(data) // _BATCH)

    def indices(self, step: int) -> NDArray[np.int64]:
        """Return the places of a step's faces; all steps have about as many."""
        pieces = np.array_split(np.arange(len(self.data)), self.steps_per_epoch)
        return pieces[step % self.steps_per_epoch]

    def epoch(self, number: int, workers: int) -> Iterator[RawBatch]:
        """Yield the batches of an epoch."""
        first = number * self.steps_per_epoch
        return self.stream(first, first + self.steps_per_epoch, workers)


def template_files(folder: Path, versions: int) -> list[Path]:
    """Return the files of a run: first that without masks, then each with."""
    return [folder / f"templates-{version}.h5" for version in range(versions + 1)]


def write_templates(
    paths: Sequence[Path], recogniser: Recogniser, faces: InOrder, workers: int, console: Console
) -> None:
    """Embed every crop, for the first file as it is, for each other with a mask of its own.

    Files that are there already are kept. Each appears when it is complete.

    Args:
        paths: files to write.
        recogniser: on the device it runs on.
        faces: the crops.
        workers: threads.
        console: narration.

    Raises:
        InputError: no crop of a batch is usable.
        WeightsError: the recogniser gives nonsense.
    """
    pending = [version for version, path in enumerate(paths) if not path.exists()]
    attributes = origin(recogniser.card, flip=True)
    with (
        EmbedEngine(recogniser, workers=workers) as engine,
        console.progress("templates", len(faces.data) * len(pending)) as bar,
    ):
        for version in pending:
            blocks = _embed(engine, faces, version, workers, console, bar)
            write_embeddings(paths[version], blocks, recogniser.card.embedding_dim or 0, attributes)


def _embed(
    engine: EmbedEngine,
    faces: InOrder,
    version: int,
    workers: int,
    console: Console,
    bar: Progress,
) -> Iterator[Rows]:
    views = paired_views(faces.views, engine.device, faces.renderer)
    under_way: deque[RawBatch] = deque()

    def crops() -> Iterator[NDArray[np.uint8]]:
        for raw in faces.epoch(version, workers):
            under_way.append(raw)
            shown = raw.crops if version == 0 else to_uint8(views(raw).masked).cpu()
            yield shown.permute(0, 2, 3, 1).contiguous().numpy()

    for found in engine.map(crops()):
        raw = under_way.popleft()
        for line in raw.broken if version == 0 else ():
            console.warn(f"left out {line}")
        bar.update(len(raw.index) + len(raw.broken))
        yield _to_rows(faces.data, raw, found, worn=version > 0)


def _to_rows(data: TrainSet, raw: RawBatch, found: Embedded, *, worn: bool) -> Rows:
    places = raw.index.tolist()
    return replace(
        Rows.empty(),
        embeddings=found.vectors,
        # The place makes keys differ that two sources share.
        keys=[f"{data.faces[place].record.key}#{place}" for place in places],
        identities=[data.identities[n] if n >= 0 else "" for n in raw.label.tolist()],
        norms=found.norms,
        masked=np.full(len(places), worn, np.int8),
        mask_type=[draw.spec.kind if worn else "" for draw in raw.draws],
        positions=raw.index.numpy(),
    )
