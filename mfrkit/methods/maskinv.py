"""MaskInv: teach a student to see through masks by showing its teacher the face without one.

Paper:
    Huber, Boutros, Kirchbuchner, Damer, "Mask-invariant Face Recognition through Template-level
    Knowledge Distillation", FG 2021, arXiv:2112.05646.
    Attention transfer: Zagoruyko, Komodakis, "Paying More Attention to Attention: Improving the
    Performance of Convolutional Neural Networks via Attention Transfer", ICLR 2017,
    arXiv:1612.03928, eq. 2.

Idea:
    The student sees a face that wears a mask with probability p, the frozen teacher the same face
    without. The student's unit vector is pulled to the teacher's, and a margin classifier keeps
    people apart. One phase.

Differs:
    The teacher's view is never masked and shares mirroring and light with the student's (the
    published code paints into the teacher's picture and mirrors the two independently). Faces
    without label take part in the distillation and sit out the classifier. Distance as a cosine,
    weights on unmasked faces, relations between faces, attention transfer and targets averaged
    over mirror images are additions, off in the paper presets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.losses.margin import MarginHead
from mfrkit.losses.relation import pair_loss, template_distance, triplet_loss
from mfrkit.methods.base import FaceBatch, Frozen, Losses, Task, check_finite, full_precision
from mfrkit.methods.method import LONG_FIT, SMALL_VIEWS, Method, MethodParts, Preset, build_head
from mfrkit.methods.real_masks import WornLosses
from mfrkit.models.recogniser import Recogniser

_TINY = 1e-12  # of a squared distance: the root's slope is infinite at 0


def attention_map(features: Tensor) -> Tensor:
    """Return the energy of every place, summed over channels, as a vector of unit length.

    Args:
        features: (B, C, H, W) float.

    Returns:
        (B, H * W) float, at least 0, unit norm.
    """
    return F.normalize(features.square().sum(1).flatten(1))


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Measure, face by face, how far the student's attention is from the teacher's.

    Args:
        student: (B, C, H, W) float.
        teacher: (B, E, H, W) float; gets no gradient.

    Returns:
        (B,) float in [0, sqrt(2)], the length of the difference of the two attention maps.

    Raises:
        ShapeError: maps of different batch or size.
    """
    a, b = attention_map(student), attention_map(teacher.detach())
    if a.shape != b.shape:
        raise ShapeError(
            f"feature maps differ in size: {tuple(student.shape)} vs {tuple(teacher.shape)}"
        )
    return (a - b).square().sum(1).clamp_min(_TINY).sqrt()


class Tap:
    """Keep what a stage of a network gave at its last call.

    Args:
        network: that holds the stage, at any depth.
        stage: end of a module's name, such as `block.11` of MobileFaceNet, `layer3` of iResNet.

    Raises:
        InputError: no stage, or more than one, of this name.
    """

    def __init__(self, network: nn.Module, stage: str) -> None:
        found = [
            module
            for name, module in network.named_modules()
            if name == stage or name.endswith(f".{stage}")
        ]
        if len(found) != 1:
            raise InputError(
                f"method.stage {stage!r}: {len(found)} modules are named so, expected one in the "
                "student and one in the teacher; block.11 of mobilefacenet, layer3 of iresnet, "
                "stages.2 of edgeface"
            )
        self._map: Tensor | None = None
        found[0].register_forward_hook(self._note)

    def take(self) -> Tensor:
        """Return the (B, C, H, W) map of the last call, once: it is not held any longer.

        Raises:
            RuntimeError: the network was not called since.
        """
        taken, self._map = self._map, None
        if taken is None:
            raise RuntimeError("the tapped network was not called")
        return taken

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._map = output.to_dense() if output.is_mkldnn else output


Distance = Literal["cosine", "mse"]


@dataclass(frozen=True)
class MaskInvOptions:
    """What pulls the student, and how hard.

    Attributes:
        distance: between templates: `mse` as in the paper, or `cosine`.
        template: weight of the template distance (lambda); with `mse` the paper's low guidance
            has 100, its high guidance 3000.
        unmasked: weight of a face without mask in the template distance, a masked one has 1.
        identity: weight of the margin classifier, 0 for none.
        margin: name of its margin.
        scale: its scale s.
        pairs: weight of the pairwise distances.
        triplets: weight of the triplet angles.
        attention: weight of the distance between attention maps (beta / 2 of its paper); student
            and teacher of one family of architectures.
        stage: where the maps come from: the end of a module's name, of the same size in both.
        flip_target: average the teacher's template with that of the mirror image, as a teacher
            cache always does; the teacher then computes twice.

    Raises:
        InputError: on construction, for a negative weight, or none at all.
    """

    distance: Distance = "cosine"
    template: float = 1.0
    unmasked: float = 1.0
    identity: float = 0.0
    margin: str = "elastic-arc"
    scale: float = 64.0
    pairs: float = 0.0
    triplets: float = 0.0
    attention: float = 0.0
    stage: str = "block.11"
    flip_target: bool = False

    def __post_init__(self) -> None:
        weights = [self.template, self.identity, self.pairs, self.triplets, self.attention]
        if min(*weights, self.unmasked) < 0 or not any(weights):
            raise InputError("method weights must not be negative, and not all 0")


class MaskInv(Task):
    """Template distillation plus a margin classifier on the student.

    Args:
        student: trained and exported.
        teacher: maps clean faces to templates; frozen here.
        head: the classifier, None to go without.
        projection: maps the student's features to the width of the templates where they differ;
            trained, and left behind at export.
        options: weights.
        taps: where the student's and the teacher's feature maps are taken; None to leave attention
            out.
        really_worn: what faces that really wear masks add.
    """

    def __init__(
        self,
        *,
        student: Recogniser,
        teacher: nn.Module,
        head: MarginHead | None,
        projection: nn.Module | None,
        options: MaskInvOptions,
        taps: tuple[Tap, Tap] | None = None,
        really_worn: WornLosses | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = Frozen(teacher)
        self.head = head
        self.projection = projection
        self.options = options
        self.taps = taps
        self.really_worn = really_worn or WornLosses()

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, `template`, `masked`, and those of the other terms that count.

        Raises:
            WeightsError: the teacher's output is not finite.
        """
        template = self._template(batch)
        features = self.embed(batch.shown)
        with full_precision(features):
            return self._losses(features.float(), template, batch)

    def embed(self, faces: Tensor) -> Tensor:
        """Return the student's (B, D) features."""
        features: Tensor = self.student.features(faces)  # type: ignore[operator]
        return features

    def compiled(self) -> list[nn.Module]:
        """Return the student's network."""
        network: nn.Module = self.student.network  # type: ignore[assignment]
        return [network]

    @torch.no_grad()
    def _template(self, batch: FaceBatch) -> Tensor:
        """Return what the student is pulled to, (B, E) of unit norm."""
        if batch.template is not None or not self.options.flip_target:
            return self.teacher.template(batch)
        # The mirror image first: a tap keeps the map of the last call, the view the student shares.
        mirrored = self.teacher(batch.clean.flip(3))
        return check_finite(F.normalize(self.teacher(batch.clean) + mirrored)).float()

    def _losses(self, features: Tensor, template: Tensor, batch: FaceBatch) -> Losses:
        options, worn = self.options, batch.worn
        projected = features if self.projection is None else self.projection(features)
        features, (projected, real, unnamed) = features[: len(batch)], batch.parts(projected)
        distance = template_distance(projected, template, options.distance)
        weight = torch.where(worn, 1.0, options.unmasked)
        terms = {"template": (distance * weight).sum() / weight.sum().clamp_min(1e-9)}
        if options.identity and self.head is not None:
            terms["identity"] = self.head(features, batch.label)
        if options.pairs:
            terms["pairs"] = pair_loss(features, template)
        if options.triplets:
            terms["triplets"] = triplet_loss(features, template)
        if self.taps is not None:
            student, teacher = (tap.take().float()[: len(batch)] for tap in self.taps)
            terms["attention"] = attention_distance(student, teacher).mean()
        total = sum(getattr(options, name) * value for name, value in terms.items())
        added, really = self.really_worn(real, unnamed, batch)
        return {"loss": total + added, **terms, **really, **batch.by_view(distance.detach())}


# Huber et al., arXiv:2112.05646, and the configuration published with it.
_PAPER: Preset = {
    "model": {"student": "iresnet100", "init": "scratch"},
    "method": {"distance": "mse", "template": 100.0, "identity": 1.0, "margin": "elastic-arc"},
    "views": {"flip": 0.5},
    "masks": {"types": "surgical", "probability": 0.5},
    "fit": LONG_FIT,
}

_PRESETS: Mapping[str, Preset] = {
    "small": {
        "model": {"student": "mobilefacenet"},
        "method": {"distance": "cosine", "template": 1.0},
        "views": SMALL_VIEWS,
        "masks": {"probability": 0.75},
        "fit": {"epochs": 3.0, "batch_size": 48, "lr": 4e-4, "warmup": 30},
    },
    "paper": _PAPER,
    # High guidance is applied to the low-guidance student of epoch 20 (give it as --init).
    "paper-hg": {
        **_PAPER,
        "method": {**_PAPER["method"], "template": 3000.0},
        "fit": {**LONG_FIT, "epochs": 6.0, "lr": 1e-3, "milestones": (4.0,)},
    },
}


def _build(parts: MethodParts, options: MaskInvOptions) -> MaskInv:
    return MaskInv(**recognition_parts(parts, options))


def recognition_parts(parts: MethodParts, options: MaskInvOptions) -> dict[str, Any]:
    """Return the arguments of MaskInv: the classifier, projection and taps its options ask for.

    Raises:
        InputError: the data or the teachers do not allow what the options ask for.
    """
    dim, teachers = parts.student.card.embedding_dim or 0, parts.teachers
    return {
        "student": parts.student,
        "teacher": teachers,
        "head": build_head(parts, options.margin, options.scale) if options.identity else None,
        "projection": None if dim == teachers.dim else nn.Linear(dim, teachers.dim, bias=False),
        "taps": _taps(parts, options.stage) if options.attention else None,
        "options": options,
        "really_worn": parts.really_worn,
    }


def _taps(parts: MethodParts, stage: str) -> tuple[Tap, Tap]:
    if parts.templates_known:
        raise InputError(
            "method.attention needs the teacher at every step, --teacher-cache leaves it out; "
            "choose one of them"
        )
    return Tap(parts.student, stage), Tap(parts.teachers, stage)


METHOD = Method(
    options=MaskInvOptions,
    build=_build,
    paper="Huber et al., Mask-invariant Face Recognition through Template-level Knowledge "
    "Distillation, FG 2021, arXiv:2112.05646",
    presets=_PRESETS,
    takes_real=True,
)
