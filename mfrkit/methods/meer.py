"""MEER: recognise, find the mask and draw the face without it, and let each help the others.

Paper:
    Wang, Zhang, Peng, Wang, Guo, "Seeing through the Mask: Multi-task Generative Mask Decoupling
    Face Recognition", arXiv:2311.11512.

Idea:
    A module parts features into identity and mask, so that identity comes from what is visible. A
    decoder draws the unmasked face from the identity part, and what the recogniser sees in that
    drawing refines the recogniser (id-preserving loss). Three phases in one run: recognition and
    mask; the decoder alone; everything.

Differs:
    Layers, formulas, weights and schedule were not found. Chosen here: attention over the features
    at an eighth of the resolution (as in FROM, Qiu et al., IEEE TPAMI 2021, arXiv:2108.09468,
    which parts the last map), its mean held to what is visible; cross-entropy and soft Dice of
    every pixel as mask supervision; identity and mask part decorrelated; a decoder whose finer
    inputs are weakened as much as the attention does, so that what it takes for mask does not leak
    into the drawing; a smooth filling under the drawing; hinge loss with spectral normalisation;
    feature maps of the teacher as the perceptual loss. Recognition is held to a teacher's templates
    as in MaskInv, since data with few people do not carry a classifier; the margin classifier is an
    option.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.losses.image import (
    critic_loss,
    dice_loss,
    feature_distance,
    generator_loss,
    identity_distance,
    masked_l1,
    pixel_loss,
)
from mfrkit.methods.base import FaceBatch, Frozen, Losses, full_precision
from mfrkit.methods.completion import resting, shifted_alike
from mfrkit.methods.maskinv import MaskInv, MaskInvOptions, recognition_parts
from mfrkit.methods.method import (
    OTHER_STARTS,
    Method,
    MethodParts,
    ModelOptions,
    Preset,
    bare,
    build_student,
)
from mfrkit.models.completion import composite, grown
from mfrkit.models.contextual import Critics
from mfrkit.models.loading import load_recogniser
from mfrkit.models.meer import MARGIN, Decoupled, MeerNet
from mfrkit.models.recogniser import FaceFeatures, Recogniser, Seen


def decorrelation(one: Tensor, other: Tensor) -> Tensor:
    """Measure, face by face, how far two parts of a feature map point the same way.

    Each is averaged over its places first, so that what counts is which channels are at work.

    Args:
        one: (B, C, H, W) float.
        other: (B, C, H, W) float.

    Returns:
        (B,) float32 in [0, 1]: the absolute cosine, 0 where the parts share nothing.

    Raises:
        ShapeError: different shapes.
    """
    if one.shape != other.shape:
        raise ShapeError(f"parts differ: {tuple(one.shape)} and {tuple(other.shape)}")
    return F.cosine_similarity(one.float().mean((2, 3)), other.float().mean((2, 3))).abs()


# Losses beyond those of recognition, and the options that weigh them.
WEIGHTS = (
    *("mask", "parting", "decorrelation"),
    *("hole", "known", "features", "preserving", "adversarial"),
)


@dataclass(frozen=True)
class MeerOptions(MaskInvOptions):
    """The losses of `Meer`; those of recognition are MaskInv's.

    Attributes:
        decouple: part features into identity and mask; without it, both branches see all.
        synthesise: train a decoder that draws the face without mask.
        mask: weight of the predicted region's cross-entropy and soft Dice loss.
        parting: weight of how far the attention, averaged over channels, is from what is visible.
        decorrelation: weight of what identity and mask part of masked faces have in common.
        hole: weight of the drawn pixels' absolute differences inside the hole.
        known: the same outside.
        features: weight of the distance between feature maps of the first teacher.
        preserving: weight of 1 - cosine between the student's embeddings of the drawn and the true
            face.
        adversarial: weight of the critics' opinion, 0 to do without critics.
        looked: share of each batch that teacher and student look at once it is drawn, (0, 1].
        decoder_from: share of the run after which the decoder is trained, the rest being frozen.
        joint_from: share of the run after which everything is trained together.
        critic_from: share of the run after which the critics join.
        joint_rate: factor on the learning rate of that last part.
        critic_width: channels of the critics' first layers.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    decouple: bool = True
    synthesise: bool = True
    mask: float = 0.2
    parting: float = 0.05
    decorrelation: float = 0.02
    hole: float = 0.6
    known: float = 0.1
    features: float = 0.2
    preserving: float = 0.1
    adversarial: float = 0.003
    looked: float = 0.25
    decoder_from: float = 0.4
    joint_from: float = 0.65
    critic_from: float = 0.8
    joint_rate: float = 0.5
    critic_width: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in WEIGHTS:
            if getattr(self, name) < 0:
                raise InputError(f"method.{name} must not be negative, not {getattr(self, name)}")
        if self.synthesise and not self.hole:
            raise InputError("method.hole must be positive: nothing else says what was there")
        if not 0 <= self.decoder_from <= min(self.joint_from, self.critic_from) <= 1:
            raise InputError(
                "method.decoder_from, joint_from and critic_from are shares of the run, and the "
                "decoder comes first"
            )
        if not 0 < self.looked <= 1 or self.joint_rate <= 0 or self.critic_width < 1:
            raise InputError(
                "method.looked is a share above 0 and up to 1, joint_rate and critic_width are "
                "positive"
            )


class Meer(MaskInv):
    """The three branches of a `MeerNet`, and who looks on.

    Args:
        looker: maps faces to a `Seen`; frozen here. None where nothing is drawn or looked at.
        critics: None to do without.
        steps: of the run, of which the options name shares.
        recognition: arguments of `MaskInv`; its student is a recogniser around a `MeerNet`, its
            options are `MeerOptions`.
    """

    options: MeerOptions
    done: Tensor

    def __init__(
        self,
        *,
        looker: nn.Module | None,
        critics: Critics | None,
        steps: int,
        **recognition: Any,
    ) -> None:
        super().__init__(**recognition)
        self.looker = None if looker is None else Frozen(looker)
        self.main = [p for p in self.parameters() if p.requires_grad]
        self.critics = critics
        options = self.options
        shares = options.decoder_from, options.joint_from, options.critic_from
        self.decoder_start, self.joint_start, self.critic_start = (round(s * steps) for s in shares)
        decoder = self.network.decoder
        drawn_with = set() if decoder is None else set(decoder.parameters())
        self._resting = [p for p in self.main if p not in drawn_with]
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    @property
    def network(self) -> MeerNet:
        """Return the student's network."""
        return cast(MeerNet, self.student.network)

    def steps(self, batch: FaceBatch) -> Iterator[tuple[str, Losses]]:
        """Yield the critics' step once they have joined, then that of all that is trained.

        The critics judge the picture the decoder is about to be corrected for: it is drawn once.
        """
        done = int(self.done)
        drawing = self.options.synthesise and done >= self.decoder_start
        recognising = not drawing or done >= self.joint_start
        self._rest(resting=not recognising)
        embedding, parts = self._see(
            batch.shown if recognising else batch.masked, whole=recognising
        )
        parts = parts.first(len(batch))
        losses: Losses = {}
        if recognising:
            losses |= self._recognise(embedding, parts, batch)
        if drawing:
            hole = grown(batch.region, MARGIN)
            picture = self.network.draw(parts, batch.masked, hole)
            made = composite(picture, batch.masked, hole)
            critics = self.critics if done >= self.critic_start else None
            if critics is not None:
                yield "critic", _judge(critics, batch.clean, made.detach(), hole)
            losses["hole"] = masked_l1(picture, batch.clean, hole)
            losses["known"] = masked_l1(picture, batch.clean, 1 - hole)
            losses |= self._look(made, batch.clean)
            if critics is not None:
                with resting(critics):
                    losses["adversarial"] = generator_loss(critics(made, hole).float())
        # Those of recognition are in `loss` already, weighed.
        extra = sum(getattr(self.options, n) * losses[n] for n in WEIGHTS if n in losses)
        yield "main", losses | {"loss": losses.get("loss", 0) + torch.as_tensor(extra)}
        self.done += 1

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Return the parameters of all branches and heads, and the critics'."""
        groups = {"main": self.main}
        return groups if self.critics is None else groups | {"critic": [*self.critics.parameters()]}

    def rate(self) -> float:
        """Return the factor on the learning rate: lower once everything is trained together."""
        joint = self.options.synthesise and int(self.done) >= self.joint_start
        return self.options.joint_rate if joint else 1.0

    def compiled(self) -> list[nn.Module]:
        """Return the recogniser and the region head; the decoder's convolutions gain nothing."""
        return [self.network.identity, self.network.region]

    def _rest(self, *, resting: bool) -> None:
        """Freeze all but the decoder, or let it learn again."""
        for parameter in self._resting:
            parameter.requires_grad_(not resting)
        self.network.identity.train(self.training and not resting)

    def _see(self, faces: Tensor, *, whole: bool) -> tuple[Tensor, Decoupled]:
        """Return embeddings and parts; without embeddings where only the parts are needed."""
        prepared = self.student.prepare(faces)  # type: ignore[operator]
        if whole:
            seen: tuple[Tensor, Decoupled] = self.network.identity(prepared)
            return seen
        return prepared.new_empty(0), self.network.identity.decouple(prepared)

    def _recognise(self, embedding: Tensor, parts: Decoupled, batch: FaceBatch) -> Losses:
        """Return the losses of recognition, whose sum is `loss`, and those of the mask."""
        template = self._template(batch)
        logits = self.network.region(parts)
        with full_precision(embedding):
            losses = self._losses(embedding.float(), template, batch)
            logits = logits.float()
            losses["mask"] = pixel_loss(logits, batch.region) + dice_loss(logits, batch.region)
            if parts.attention is not None:
                shared = decorrelation(parts.identity()[-1], parts.mask()[-1])
                losses["decorrelation"] = _mean(shared, batch.worn.float())
                losses |= _parting(parts.attention, batch.region)
        return losses

    def _look(self, made: Tensor, clean: Tensor) -> Losses:
        """Compare what teacher and student see in some of the faces."""
        options = self.options
        losses: Losses = {}
        count = max(1, round(options.looked * len(clean)))
        clean, made = shifted_alike(clean[:count], made[:count])
        if options.features and self.looker is not None:
            with torch.no_grad():
                true: Seen = self.looker(clean)
            losses["features"] = feature_distance(self.looker(made).maps, true.maps).mean()
        if options.preserving:
            with torch.no_grad():
                known = self.embed(clean)
            losses["preserving"] = identity_distance(self.embed(made), known).mean()
        return losses


def _judge(critics: Critics, true: Tensor, made: Tensor, hole: Tensor) -> Losses:
    """Return the critics' losses."""
    scores = critics(true, hole).float(), critics(made, hole).float()
    loss = critic_loss(*scores, "hinge")
    return {"loss": loss, "true": scores[0].mean(), "made": scores[1].mean()}


def _parting(attention: Tensor, region: Tensor) -> Losses:
    """Hold the attention's mean over channels to the share of each place that is visible.

    Returns:
        `parting`, and that mean where faces are covered and where they are visible.
    """
    mean = attention.mean(1, keepdim=True)
    visible = 1 - F.adaptive_avg_pool2d(region, (mean.shape[2], mean.shape[3]))
    shown = mean.detach()
    return {
        "parting": F.binary_cross_entropy(mean, visible),
        "covered": _mean(shown, 1 - visible),
        "visible": _mean(shown, visible),
    }


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return a weighted mean, 0 without any weight."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


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
            for option, wanted in switches.items():
                if whole.card.arguments[option] != wanted:
                    raise InputError(
                        f"--init {model.init}: was made with method.{option} = {not wanted}"
                    )
            return Recogniser(whole.network, bare(whole.card)).train()
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
    takes_real=True,
)
