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
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.losses.adversarial import critic_loss, generator_loss
from mfrkit.losses.decorrelation import decorrelation
from mfrkit.losses.identity import identity_distance
from mfrkit.losses.perceptual import feature_distance
from mfrkit.losses.reconstruction import masked_l1
from mfrkit.losses.segmentation import dice_loss, pixel_loss
from mfrkit.methods.base import Frozen, Losses, check_finite
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.completion import resting, shifted_alike
from mfrkit.methods.maskinv import MaskInv
from mfrkit.methods.meer_options import WEIGHTS, MeerOptions
from mfrkit.models.completion import composite, grown
from mfrkit.models.critics import Critics
from mfrkit.models.decoupling import Decoupled
from mfrkit.models.features import Seen
from mfrkit.models.meer import MARGIN, MeerNet


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
        embedding, parts = self._see(batch.masked, whole=recognising)
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
            losses |= self._compare(picture, batch.clean, hole) | self._look(made, batch.clean)
            if critics is not None:
                with resting(critics):
                    losses["adversarial"] = generator_loss(critics(made, hole).float())
        yield "main", self._weighed(losses)
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
        template = self._template(batch).float()
        check_finite(template)
        logits = self.network.region(parts)
        # The losses ask for more digits than half precision has.
        with torch.autocast(embedding.device.type, enabled=False):
            losses = self._losses(embedding.float(), template, batch)
            logits = logits.float()
            losses["mask"] = pixel_loss(logits, batch.region) + dice_loss(logits, batch.region)
            if parts.attention is not None:
                shared = decorrelation(parts.identity()[-1], parts.mask()[-1])
                losses["decorrelation"] = _mean(shared, batch.worn.float())
                losses |= _parting(parts.attention, batch.region)
        return losses

    def _compare(self, picture: Tensor, clean: Tensor, hole: Tensor) -> Losses:
        """Compare pixels."""
        return {
            "hole": masked_l1(picture, clean, hole),
            "known": masked_l1(picture, clean, 1 - hole),
        }

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

    def _weighed(self, losses: Losses) -> Losses:
        """Add what the losses beyond those of recognition weigh."""
        extra = sum(getattr(self.options, n) * losses[n] for n in WEIGHTS if n in losses)
        return losses | {"loss": losses.get("loss", 0) + torch.as_tensor(extra)}


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
