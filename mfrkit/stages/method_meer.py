"""MEER for `mfrkit distill`: how it is put together, and its presets."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from mfrkit.errors import InputError
from mfrkit.methods.meer import Meer
from mfrkit.methods.meer_options import MeerOptions
from mfrkit.models.critics import Critics
from mfrkit.models.features import FaceFeatures
from mfrkit.models.meer import MeerNet
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.recognisers import load_recogniser
from mfrkit.stages.method import Method, MethodParts
from mfrkit.stages.method_maskinv import recognition_parts
from mfrkit.stages.presets import Preset
from mfrkit.stages.students import OTHER_STARTS, ModelOptions, bare, build_student

_PRESETS: Mapping[str, Preset] = {
    "small": {
        "model": {"student": "mobilefacenet"},
        "views": {"gain": 0.15, "offset": 0.1},
        "masks": {"probability": 0.75},
        "fit": {"epochs": 4.0, "batch_size": 48, "lr": 4e-4, "warmup": 30, "ema": 0.998},
    },
    # The paper's weights and schedule were not found. Backbone, classifier, epochs and milestones
    # are those of FROM (arXiv:2108.09468), which it is nearest to; the rate is usual from scratch.
    "paper": {
        "model": {"student": "iresnet50", "init": "scratch"},
        "method": {
            "template": 0.0,
            "identity": 1.0,
            "margin": "cosface",
            "mask": 1.0,
            "parting": 1.0,
            "decorrelation": 0.1,
            "hole": 10.0,
            "known": 10.0,
            "features": 0.1,
            "preserving": 1.0,
            "adversarial": 0.1,
            "joint_rate": 0.1,
            "critic_width": 64,
        },
        "masks": {"probability": 0.5},
        "fit": {
            "epochs": 40.0,
            "batch_size": 512,
            "optimiser": "sgd",
            "lr": 0.1,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (10.0, 25.0),
            "warmup": 0,
        },
    },
}


def _student(model: ModelOptions, options: MeerOptions, teacher: Recogniser) -> Recogniser:
    """Build MEER's branches round a recogniser, whose embeddings they leave as they are at first.

    A start that has all branches already is gone on with as it is.

    Raises:
        InputError: a start of another architecture or with other branches, or one that cannot be
            cut in the middle.
    """
    switches = {"decouple": options.decouple, "synthesise": options.synthesise}
    if model.init not in OTHER_STARTS:
        whole = load_recogniser(model.init)
        if isinstance(whole.network, MeerNet):
            return _continued(whole, model.init, switches)
    plain = build_student(model, teacher)
    arguments = {
        "backbone": plain.card.architecture,
        "arguments": dict(plain.card.arguments),
        **switches,
    }
    network = MeerNet(plain.card.architecture, plain.card.arguments, **switches)
    network.identity.backbone.load_state_dict(plain.network.state_dict())
    card = replace(
        plain.card,
        also=("completion", "region") if options.synthesise else ("region",),
        architecture="meer",
        arguments=arguments,
    )
    return Recogniser(network, card).train()


def _continued(whole: Recogniser, name: str, switches: Mapping[str, bool]) -> Recogniser:
    """Return a MEER network to be trained on.

    Raises:
        InputError: it has other branches than are asked for.
    """
    for option, wanted in switches.items():
        if whole.card.arguments[option] != wanted:
            raise InputError(f"--init {name}: was made with method.{option} = {not wanted}")
    return Recogniser(whole.network, bare(whole.card)).train()


def _build(parts: MethodParts, options: MeerOptions) -> Meer:
    """Build MEER.

    Raises:
        InputError: the views, the data or the teachers do not allow what the options ask for.
    """
    for name in ("rotation", "scale", "shift", "blur") if options.synthesise else ():
        if getattr(parts.views, name):
            raise InputError(f"views.{name} must be 0: the pixels of both views are compared")
    looker = critics = None
    if options.synthesise and options.features:
        looker = FaceFeatures(parts.recognisers[0])
    if options.synthesise and options.adversarial:
        critics = Critics(
            (parts.student.card.input_size or (112, 112))[0], options.critic_width, spectral=True
        )
    for network in (looker, critics):
        if network is not None:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Meer(
        looker=looker,
        critics=critics,
        steps=parts.steps,
        **recognition_parts(parts, options),
    )


METHOD = Method(
    options=MeerOptions,
    build=_build,
    paper="Wang et al., Seeing through the Mask: Multi-task Generative Mask Decoupling Face "
    "Recognition, arXiv:2311.11512",
    presets=_PRESETS,
    student=_student,
)
