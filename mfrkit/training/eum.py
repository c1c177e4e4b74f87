"""EUM for `mfrkit distill`: templates in, an unmasking network out.

DATA is crops, which the teacher embeds once as they are and a few times masked into files of the
run's folder; or such files themselves, of a recogniser nobody has at hand.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.methods.eum import Eum, EumOptions, TemplateBatch
from mfrkit.methods.method import ModelOptions, Preset
from mfrkit.models.cards import ModelCard
from mfrkit.models.loading import load_recogniser
from mfrkit.models.registry import build_network
from mfrkit.training.data import Drawn, open_train_set, told
from mfrkit.training.distill_settings import TemplateMethod
from mfrkit.training.eum_templates import (
    InOrder,
    TemplateBatches,
    TemplateSet,
    are_template_files,
    read_templates,
    stand_in,
    template_files,
    write_templates,
)
from mfrkit.training.run import Built
from mfrkit.training.run_folder import run_folder
from mfrkit.training.world import World

if TYPE_CHECKING:
    from mfrkit.training.distill_settings import Settings
from mfrkit.training.options import DistillRequest

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


def _build(
    request: "DistillRequest",
    settings: "Settings",
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    """Embed what is to be embedded, read the templates, and build the network.

    Raises:
        InputError: unusable data, models or options.
        WeightsError: a teacher that does not load.
    """
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
        batches=_deal_out(data, request, settings, world),
        show=show,
        device=device,
        check=None,
        measure="",
    )


def _refuse_unused(request: "DistillRequest", settings: "Settings") -> None:
    """Refuse options that mean nothing here, rather than let them seem to work."""
    if len(request.teachers) > 1:
        raise InputError("--method eum unmasks the templates of one recogniser, name one --teacher")
    if settings.model != ModelOptions():
        raise InputError("--method eum leaves the recogniser as it is: no --student, no --init")
    if request.teacher_cache is not None:
        raise InputError("--method eum keeps templates in the run's folder: no --teacher-cache")
    if request.pairs is not None:
        raise InputError("--method eum takes no --pairs: measure with mfrkit unmask, mfrkit eval")


def _embedded(
    request: "DistillRequest",
    settings: "Settings",
    device: torch.device,
    world: World,
    console: Console,
) -> TemplateSet:
    """Embed the crops, unless an earlier part of the run has done so, and read the templates."""
    data = told(open_train_set(request.data), console)
    recogniser = load_recogniser(request.teachers[0], device)
    versions: int = settings.method.versions
    if request.run.dry_run:
        console.info(f"first {len(data)} crops are embedded {1 + versions} times, then:")
        return stand_in(data, recogniser.card.embedding_dim or 0, versions)
    paths = template_files(run_folder(request.output), versions)
    if world.writes:
        size = recogniser.card.input_size or (112, 112)
        masks = replace(settings.masks.parsed(), probability=1.0)
        renderer = settings.masks.renderer()
        faces = InOrder(data, size, settings.views, masks, request.seed, renderer)
        write_templates(paths, recogniser, faces, request.run.threads, console)
    world.wait()
    return read_templates(paths)


def _deal_out(
    data: TemplateSet, request: "DistillRequest", settings: "Settings", world: World
) -> TemplateBatches:
    return TemplateBatches(
        data,
        seed=request.seed,
        batch_size=settings.fit.batch_size,
        rank=world.rank,
        world=world.size,
    )


METHOD = TemplateMethod(options=EumOptions, build=_build, paper=_PAPER, presets=_PRESETS)
