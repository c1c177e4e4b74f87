"""EUM for `mfrkit distill`: templates of masked faces in, an unmasking network out.

DATA is embedding files, whoever wrote them: rows marked as masked are paired with the others by key
(`a.mask2` is a version of `a`), and where there is no such key with the mean of the person's
unmasked templates. Or it is crops, which the teacher embeds once as they are and a few times masked
into such files in the run's folder, so that they can be trained on again by name.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfrkit import __version__
from mfrkit.console import Console, Progress
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.io.people import photo_name
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.eum import Eum, EumOptions, TemplateBatch
from mfrkit.methods.method import ModelOptions, Preset
from mfrkit.metrics.all_pairs import unit_rows
from mfrkit.models.cards import ModelCard
from mfrkit.models.engine import EmbeddedFaces, EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.registry import build_network
from mfrkit.stages.embed import origin
from mfrkit.stages.sink import Tally
from mfrkit.stages.vectors import check_alike, concatenate
from mfrkit.training.data import (
    Batches,
    DataSet,
    Deal,
    Drawn,
    RawBatch,
    TrainSet,
    open_train_set,
    told,
)
from mfrkit.training.distill import Settings, TemplateMethod, are_template_files
from mfrkit.training.options import DistillRequest
from mfrkit.training.run import Built, paired_views
from mfrkit.training.run_folder import run_folder
from mfrkit.training.world import World

_PAPER = (
    "Boutros et al., Self-restrained Triplet Loss for Accurate Masked Face Recognition, "
    "Pattern Recognition 124, 2022, arXiv:2103.01716"
)
_PRESETS: Mapping[str, Preset] = {
    "small": {
        "fit": {"epochs": 20.0, "batch_size": 512, "lr": 1e-3},
    },
    # The configuration published with the paper; unmasked faces are not trained on.
    "paper": {
        "method": {"unmasked": 0.0},
        "fit": {
            "epochs": 10.0,
            "batch_size": 512,
            "optimiser": "sgd",
            "lr": 0.1,
            "weight_decay": 0.0,
            "schedule": "step",
            "milestones": (3.0, 6.0, 9.0),
            "warmup": 0,
            "clip": 0.0,
        },
    },
}
_BATCH = 64


def _build(
    request: DistillRequest,
    settings: Settings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    """Embed what is to be embedded, read the templates, and build the network."""
    _refuse_unused(request, settings)
    if are_template_files(request.data):
        data = read_templates([Path(source) for source in request.data])
    else:
        data = _embedded(request, settings, device, world, console)
    if data.skipped:
        console.info(f"data: {len(data)} templates, {data.tally.losses}")
    dim, options = data.templates.shape[1], settings.method
    arguments = {"dim": dim, "width": options.width or dim, "layers": options.layers}
    network = build_network("eum", arguments)
    card = ModelCard(
        name="eum",
        task="unmasking",
        architecture="eum",
        arguments=arguments,
        input_size=None,
        embedding_dim=dim,
        base={key: data.attributes.get(key, "") for key in ("model", "weights_sha256", "flip")},
        licence="not stated; depends on the data and the recogniser",
        source=f"mfrkit {__version__}, on templates of {data.attributes.get('model', 'no name')}",
        paper=_PAPER,
    )

    def show(drawn: Drawn) -> TemplateBatch:
        return data.batch(drawn.index, device)

    return Built(
        task=Eum(network, options).to(device),
        network=network,
        card=card,
        batches=TemplateBatches(
            data,
            seed=request.seed,
            batch_size=settings.fit.batch_size,
            rank=world.rank,
            world=world.size,
        ),
        show=show,
        device=device,
    )


def _refuse_unused(request: DistillRequest, settings: Settings) -> None:
    """Refuse options that mean nothing here, rather than let them seem to work."""
    if len(request.teachers) > 1:
        raise InputError("--method eum unmasks the templates of one recogniser, name one --teacher")
    if settings.model != ModelOptions():
        raise InputError("--method eum leaves the recogniser as it is: no --student, no --init")
    if request.teacher_cache is not None:
        raise InputError("--method eum keeps templates in the run's folder: no --teacher-cache")
    if request.real or request.unnamed:
        raise InputError("--method eum trains on templates: no --real, no --unnamed")
    if request.pairs is not None:
        raise InputError("--method eum takes no --pairs: measure with mfrkit unmask, mfrkit eval")


@dataclass(frozen=True, eq=False)
class TemplateSet(DataSet):
    """M templates and what each should become.

    Attributes:
        templates: (M, D) float32, unit norm.
        targets: (T, D) float32, unit norm: unmasked templates, and means over those of a person.
        target: (M,) int64, row of `targets`; of a face without mask its own.
        worn: (M,) bool, whether the face wears a mask.
        label: (M,) int64 identity, -1 where unknown.
        attributes: what the files say of the recogniser.
    """

    templates: Tensor
    targets: Tensor
    target: Tensor
    worn: Tensor
    label: Tensor
    attributes: dict[str, Any]

    def __len__(self) -> int:
        return len(self.templates)

    def batch(self, index: Tensor, device: torch.device) -> TemplateBatch:
        """Return the (B,) templates asked for, on a device."""
        return TemplateBatch(
            template=self.templates[index].to(device),
            target=self.targets[self.target[index]].to(device),
            worn=self.worn[index].to(device),
            label=self.label[index].to(device),
        )


class TemplateBatches(Deal):
    """Deal out templates, which are in memory already."""

    data: TemplateSet

    def load(self, step: int) -> Drawn:
        """Return the places of a step."""
        index = torch.from_numpy(self.indices(step))
        return Drawn(self.data.label[index], index, broken=[])


def read_templates(paths: Sequence[Path]) -> TemplateSet:
    """Read embedding files and pair their masked rows with the unmasked ones.

    Raises:
        InputError: unusable files, files of different recognisers, no row marked as masked, or
            none with a counterpart.
    """
    rows, attributes = _read(paths)
    unit, usable = unit_rows(rows.embeddings)
    worn = rows.masked == 1
    if not worn.any():
        raise InputError(
            f"{', '.join(map(str, paths))}: no row is marked as masked (masked = 1); "
            "mfrkit embed marks those of faces from synth-mask, or with --detect-mask"
        )
    bare = np.flatnonzero(usable & ~worn)
    labels = {name: n for n, name in enumerate(dict.fromkeys(filter(None, rows.identities)))}
    label = np.array([labels.get(name, -1) for name in rows.identities], np.int64)
    target, targets = _pair_up(rows, unit, label, worn, bare)
    alone = "masked, without an unmasked template of the photo or person"
    lost = {"no vector": int((~usable).sum()), alone: int((usable & (target < 0)).sum())}
    kept = np.flatnonzero(usable & (target >= 0))
    kept = np.concatenate([kept[worn[kept]], kept[~worn[kept]]])
    if not worn[kept].any():
        raise InputError(
            f"{', '.join(map(str, paths))}: no masked row has the key or the identity of an "
            "unmasked one; embed the same crops with and without masks"
        )
    return TemplateSet(
        identities=list(labels),
        tally=Tally(reasons=+Counter(lost)),
        templates=torch.from_numpy(unit[kept]),
        targets=torch.from_numpy(targets),
        target=torch.from_numpy(target[kept]),
        worn=torch.from_numpy(worn[kept]),
        label=torch.from_numpy(label[kept]),
        attributes=attributes,
    )


def _read(paths: Sequence[Path]) -> tuple[Rows, dict[str, Any]]:
    found, attributes = [], []
    for path in paths:
        with EmbeddingReader(path) as reader:
            attributes.append({**reader.attributes, "dim": reader.dim})
            found.append(reader.block(0, reader.count))
    check_alike(paths, attributes)
    total = sum(len(block.keys) for block in found)
    return concatenate(found, np.arange(total)), attributes[0]


def _pair_up(
    rows: Rows,
    unit: NDArray[np.float32],
    label: NDArray[np.int64],
    worn: NDArray[np.bool_],
    bare: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find what each row should become.

    Returns:
        (N,) int64 places among the targets, -1 for none; and the targets: the rows of `bare`, then
        the mean direction of each person among them.
    """
    place = {rows.keys[row]: at for at, row in enumerate(bare.tolist())}
    if len(place) < len(bare):
        raise InputError("two unmasked rows have the same key; name each file once")
    known = bare[label[bare] >= 0]
    people, person = np.unique(label[known], return_inverse=True)
    sums = np.zeros((len(people), unit.shape[1]))
    np.add.at(sums, person, unit[known])
    means = {int(who): len(bare) + at for at, who in enumerate(people)}
    target = np.full(len(worn), -1, np.int64)
    target[bare] = np.arange(len(bare))
    for row in np.flatnonzero(worn).tolist():
        key = rows.keys[row]
        by_key = place.get(key, place.get(photo_name(key)))
        target[row] = means.get(int(label[row]), -1) if by_key is None else by_key
    return target, np.concatenate([unit[bare], unit_rows(sums)[0]])


def _embedded(
    request: DistillRequest,
    settings: Settings,
    device: torch.device,
    world: World,
    console: Console,
) -> TemplateSet:
    """Embed the crops, unless an earlier part of the run has done so, and read the templates."""
    crops = told(open_train_set(request.data), console)
    recogniser = load_recogniser(request.teachers[0], device)
    versions: int = settings.method.versions
    if request.run.dry_run:
        console.info(f"first {len(crops)} crops are embedded {1 + versions} times, then:")
        return _stand_in(crops, recogniser.card.embedding_dim or 0, versions)
    folder = run_folder(request.output)
    paths = [folder / f"templates-{version}.h5" for version in range(versions + 1)]
    if world.writes:
        faces = _InOrder(
            crops,
            size=recogniser.card.input_size or (112, 112),
            views=settings.views,
            masks=settings.masks.always(),
            seed=request.seed,
            batch_size=_BATCH,
        )
        renderer = settings.masks.renderer()
        _write_templates(paths, recogniser, faces, renderer, request.run.threads, console)
    world.wait()
    return read_templates(paths)


def _stand_in(crops: TrainSet, dim: int, versions: int) -> TemplateSet:
    """Return as many templates as the crops would give, made up, for a run that embeds nothing."""
    count = len(crops)
    bare = torch.nn.functional.normalize(torch.randn(count, dim))
    return TemplateSet(
        identities=crops.identities,
        tally=crops.tally,
        templates=bare.repeat(1 + versions, 1),
        targets=bare,
        target=torch.arange(count).repeat(1 + versions),
        worn=torch.arange((1 + versions) * count) < versions * count,
        label=torch.full(((1 + versions) * count,), -1),
        attributes={},
    )


class _InOrder(Batches):
    """Show all faces in the order they have, once an epoch; each epoch draws views of its own."""

    def __init__(self, data: TrainSet, **others: Any) -> None:
        super().__init__(data, **others)
        self.steps_per_epoch = -(-len(data) // _BATCH)

    def indices(self, step: int) -> NDArray[np.int64]:
        """Return the places of a step's faces; all steps have about as many."""
        pieces = np.array_split(np.arange(len(self.data)), self.steps_per_epoch)
        return pieces[step % self.steps_per_epoch]


def _write_templates(
    paths: Sequence[Path],
    recogniser: Recogniser,
    faces: _InOrder,
    renderer: MaskRenderer,
    workers: int,
    console: Console,
) -> None:
    """Embed every crop, for the first file as it is, for each other with a mask of its own.

    Files that are there already are kept. Each appears when it is complete.
    """
    pending = [version for version, path in enumerate(paths) if not path.exists()]
    attributes, dim = origin(recogniser.card, flip=True), recogniser.card.embedding_dim or 0
    with (
        EmbedEngine(recogniser, workers=workers) as engine,
        console.progress("templates", len(faces.data) * len(pending)) as bar,
    ):
        views = paired_views(faces.views, engine.device, renderer)
        for version in pending:
            shown = views if version else None
            blocks = _embed(engine, faces, version, shown, workers, console, bar)
            write_embeddings(paths[version], blocks, dim, attributes)


def _embed(
    engine: EmbedEngine,
    faces: _InOrder,
    version: int,
    views: Callable[[RawBatch], FaceBatch] | None,
    workers: int,
    console: Console,
    bar: Progress,
) -> Iterator[Rows]:
    """Yield the rows of a file: of the masked views, or of the crops as they are."""
    under_way: deque[RawBatch] = deque()

    def crops() -> Iterator[NDArray[np.uint8]]:
        first = version * faces.steps_per_epoch
        for raw in faces.stream(first, first + faces.steps_per_epoch, workers):
            under_way.append(raw)
            shown = raw.crops if views is None else to_uint8(views(raw).masked).cpu()
            yield shown.permute(0, 2, 3, 1).contiguous().numpy()

    for found in engine.map(crops()):
        raw = under_way.popleft()
        for line in raw.broken if views is None else ():
            console.warn(f"left out {line}")
        bar.update(len(raw.index) + len(raw.broken))
        yield _to_rows(faces.data, raw, found, worn=views is not None)


def _to_rows(data: TrainSet, raw: RawBatch, found: EmbeddedFaces, *, worn: bool) -> Rows:
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


METHOD = TemplateMethod(options=EumOptions, build=_build, presets=_PRESETS)
