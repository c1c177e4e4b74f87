"""De-occlusion distillation for `mfrkit distill`: how it is put together, and its presets."""

from collections.abc import Mapping

from mfrkit.errors import InputError
from mfrkit.methods.deocclusion import DeOcclusion, DeOcclusionOptions
from mfrkit.models.completing import CompletingRecogniser, completing_card, load_generator
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.region import load_region
from mfrkit.stages.margin_heads import build_head
from mfrkit.stages.method import Method, MethodParts
from mfrkit.stages.presets import SMALL_VIEWS, Preset
from mfrkit.stages.students import ModelOptions, build_student

_PRESETS: Mapping[str, Preset] = {
    "small": {
        "model": {"student": "mobilefacenet"},
        "views": SMALL_VIEWS,
        "masks": {"probability": 0.75},
        "fit": {"epochs": 3.0, "batch_size": 48, "lr": 4e-4, "warmup": 30, "ema": 0.98},
    },
    # What the paper says: soft targets and a classifier. Its weights, rates and networks were not
    # found; those of MaskInv's paper stand in for the latter two.
    "paper": {
        "model": {"student": "iresnet50"},
        "method": {"target": "soft", "identity": 1.0},
        "masks": {"probability": 0.5},
        "fit": {
            "epochs": 26.0,
            "batch_size": 512,
            "optimiser": "sgd",
            "lr": 0.1,
            "weight_decay": 5e-4,
            "schedule": "step",
            "milestones": (7.0, 13.0, 19.0, 24.0),
            "warmup": 0,
        },
    },
}


def _student(model: ModelOptions, options: DeOcclusionOptions, teacher: Recogniser) -> Recogniser:
    """Put region predictor, generator and a recogniser into one student.

    Raises:
        InputError: models for other tasks, or for crops of different sizes.
        WeightsError: a file is damaged.
    """
    region = load_region(options.region)
    generator, card = load_generator(options.generator)
    inner = build_student(model, teacher)
    network = CompletingRecogniser(region, generator, inner)
    return Recogniser(network, completing_card(region.card, card, inner.card)).train()


def _build(parts: MethodParts, options: DeOcclusionOptions) -> DeOcclusion:
    """Build de-occlusion distillation.

    Raises:
        InputError: soft targets without the templates they are means of, a classifier without
            labels, or a student of another width than the teachers'.
    """
    if options.target == "soft" and not parts.templates_known:
        raise InputError(
            "method.target soft needs the templates of all faces; add --teacher-cache FILE, which "
            "is made if it is not there"
        )
    dim = parts.student.card.embedding_dim
    if options.weight("instance") and dim != parts.teachers.dim:
        raise InputError(
            f"the student gives {dim} values, the teachers {parts.teachers.dim}; "
            "choose model.embedding alike, or leave instance out of method.relation"
        )
    return DeOcclusion(
        student=parts.student,
        teacher=parts.teachers,
        head=build_head(parts, options.margin, options.scale) if options.identity else None,
        options=options,
    )


METHOD = Method(
    options=DeOcclusionOptions,
    build=_build,
    paper="Li et al., Look Through Masks: Towards Masked Face Recognition with De-Occlusion "
    "Distillation, ACM MM 2020, arXiv:2409.12385",
    presets=_PRESETS,
    student=_student,
)
