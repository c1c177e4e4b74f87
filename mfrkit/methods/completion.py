"""Face completion: a generator draws what a mask hides, critics tell its faces from true ones.

Paper:
    Li, Ge, Zhang, Li, "Look Through Masks: Towards Masked Face Recognition with De-Occlusion
    Distillation", ACM MM 2020, arXiv:2409.12385, section 3.2: an inpainting generator with a global
    and a local critic; losses and layers the paper does not give are those of its baseline, Yu et
    al., CVPR 2018, arXiv:1801.07892.

Idea:
    The generator sees a masked face and the mask's region, and is held to the face without mask:
    by its pixels, by what a frozen recogniser sees in it, and by whom it recognises. Critics, which
    see composites, join late: they sharpen what the other losses have put in place.

Differs:
    Faces that wear no mask get a free-form hole. Gated convolution instead of contextual attention
    in the small preset. Hinge loss and spectral normalisation beside the Wasserstein loss. The
    critics' extra steps look at the same faces again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.losses.adversarial import Game, critic_loss, generator_loss, gradient_penalty
from mfrkit.losses.identity import identity_distance
from mfrkit.losses.perceptual import feature_distance, style_distance
from mfrkit.losses.reconstruction import border_weight, masked_l1, total_variation
from mfrkit.masks.freeform import draw_strokes
from mfrkit.methods.base import Frozen, Losses, Task, check_finite
from mfrkit.methods.batch import FaceBatch
from mfrkit.models.completion import Completion, composite
from mfrkit.models.critics import Critics
from mfrkit.models.features import Seen


@dataclass(frozen=True)
class CompletionOptions:
    """What pulls the generator, and how hard.

    Attributes:
        hole: weight of the pixels' absolute differences inside the hole.
        known: the same outside.
        sketch: factor on both for a first, coarse picture, where the network draws one.
        border: discount of the hole's pixels, per pixel from its border; 1 for none.
        features: weight of the distance between feature maps.
        style: weight of the distance between their Gram matrices.
        identity: weight of 1 - cosine between the recogniser's embeddings.
        variation: weight of the differences between neighbouring pixels of the hole.
        looked: share of each batch that the recogniser looks at, (0, 1]: it costs as much as the
            generator.
        adversarial: weight of the critics' opinion, 0 to do without critics.
        game: `hinge` with spectral normalisation, or `wasserstein` with a gradient penalty.
        penalty: weight of the gradient penalty.
        critic_steps: steps of the critics for each one of the generator.
        critic_from: share of the run after which the critics join, [0, 1).
        critic_width: channels of the critics' first layers.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    hole: float = 6.0
    known: float = 1.0
    sketch: float = 1.2
    border: float = 1.0
    features: float = 2.0
    style: float = 0.0
    identity: float = 1.0
    variation: float = 0.0
    looked: float = 0.5
    adversarial: float = 0.03
    game: Game = "hinge"
    penalty: float = 10.0
    critic_steps: int = 1
    critic_from: float = 0.6
    critic_width: int = 24

    def __post_init__(self) -> None:
        if self.game not in get_args(Game):
            raise InputError(f"method.game {self.game!r}: expected {' or '.join(get_args(Game))}")
        weights = ("hole", "known", "sketch", "features", "style", "identity", "variation")
        for name in (*weights, "adversarial", "penalty"):
            if getattr(self, name) < 0:
                raise InputError(f"method.{name} must not be negative, not {getattr(self, name)}")
        if not self.hole:
            raise InputError("method.hole must be positive: nothing else says what was there")
        for name in ("border", "looked"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"method.{name} must be above 0 and at most 1")
        if not 0 <= self.critic_from < 1:
            raise InputError("method.critic_from is a share of the run, from 0 to below 1")
        if min(self.critic_steps, self.critic_width) < 1:
            raise InputError("method.critic_steps and method.critic_width must be at least 1")

    @property
    def looks(self) -> bool:
        """Whether any loss needs the recogniser."""
        return self.features + self.style + self.identity > 0


class FaceCompletion(Task):
    """A generator, the critics it plays against, and the recogniser that looks on.

    Args:
        generator: trained and exported.
        critics: None to do without.
        looker: maps faces to a `Seen`; frozen here. None where no loss needs it.
        options: weights.
        critic_start: steps of the generator before the critics join.
    """

    done: Tensor

    def __init__(
        self,
        *,
        generator: Completion,
        critics: Critics | None,
        looker: nn.Module | None,
        options: CompletionOptions,
        critic_start: int = 0,
    ) -> None:
        super().__init__()
        self.student: Completion = generator
        self.critics = critics
        self.looker = None if looker is None else Frozen(looker)
        self.options = options
        self.critic_start = critic_start
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def steps(self, batch: FaceBatch) -> Iterator[tuple[str, Losses]]:
        """Yield the critics' steps once they have joined, then the generator's.

        The critics judge the picture the generator is about to be corrected for: it is drawn once.
        """
        batch = with_holes(batch)
        hole = self.student.hole(batch.region)
        pictures = self.student.pictures(batch.masked, hole)
        made = composite(pictures[-1], batch.masked, hole)
        playing = self.critics is not None and int(self.done) >= self.critic_start
        if playing:
            for _ in range(self.options.critic_steps):
                yield "critic", self._critic(batch.clean, made.detach(), hole)
        yield "main", self._generator(batch, hole, pictures, made, playing=playing)
        self.done += 1

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Return the generator's parameters, and the critics'."""
        groups = {"main": [*self.student.parameters()]}
        return groups if self.critics is None else groups | {"critic": [*self.critics.parameters()]}

    def _critic(self, true: Tensor, made: Tensor, hole: Tensor) -> Losses:
        critics, options = self._critics(), self.options
        scores = critics(true, hole).float(), critics(made, hole).float()
        loss = critic_loss(*scores, options.game)
        losses = {"true": scores[0].mean(), "made": scores[1].mean()}
        if options.game == "wasserstein":
            losses["penalty"] = _penalty(critics, true, made, hole)
            loss = loss + options.penalty * losses["penalty"]
        return {"loss": loss, **losses}

    def _critics(self) -> Critics:
        if self.critics is None:
            raise RuntimeError("there are no critics in this run")
        return self.critics

    def _generator(
        self,
        batch: FaceBatch,
        hole: Tensor,
        pictures: list[Tensor],
        made: Tensor,
        *,
        playing: bool,
    ) -> Losses:
        options = self.options
        weight = border_weight(hole, options.border)
        terms: Losses = {}
        for place, picture in enumerate(reversed(pictures)):
            factor = options.sketch if place else 1.0
            for name, where in (("hole", weight), ("known", 1 - hole)):
                difference = factor * masked_l1(picture, batch.clean, where)
                terms[name] = terms.get(name, 0) + difference
        if options.variation:
            terms["variation"] = total_variation(pictures[-1], hole)
        if self.looker is not None:
            terms |= self._looks(self.looker, batch.clean, made)
        if playing:
            with resting(self._critics()) as critics:
                terms["adversarial"] = generator_loss(critics(made, hole).float())
        total = sum(getattr(options, name) * value for name, value in terms.items())
        return {"loss": torch.as_tensor(total), **terms}

    def _looks(self, looker: nn.Module, clean: Tensor, made: Tensor) -> Losses:
        """Compare what the recogniser sees in some of the faces."""
        options = self.options
        count = max(1, round(options.looked * len(clean)))
        with torch.no_grad():
            true: Seen = looker(clean[:count])
        check_finite(true.embedding)
        seen: Seen = looker(made[:count])
        terms = {}
        if options.identity:
            terms["identity"] = identity_distance(seen.embedding, true.embedding).mean()
        if options.features:
            terms["features"] = feature_distance(seen.maps, true.maps).mean()
        if options.style:
            terms["style"] = style_distance(seen.maps, true.maps).mean()
        return terms


def with_holes(batch: FaceBatch) -> FaceBatch:
    """Give every face that wears no mask a free-form hole, drawn from torch's default generator."""
    bare = (~batch.worn).nonzero().flatten().tolist()
    if not bare:
        return batch
    seeds = torch.randint(2**62, (len(bare),)).tolist()
    size = (batch.region.shape[2], batch.region.shape[3])
    strokes = [draw_strokes(np.random.default_rng(seed), size) for seed in seeds]
    region = batch.region.clone()
    region[bare, 0] = torch.from_numpy(np.stack(strokes)).to(region)
    return replace(batch, region=region)


def _penalty(critics: Critics, true: Tensor, made: Tensor, hole: Tensor) -> Tensor:
    """Return the sum of both critics' gradient penalties, in full precision."""
    mix = torch.rand(len(true), device=true.device)
    with torch.autocast(true.device.type, enabled=False):
        penalties = [
            gradient_penalty(partial(_score, critics, hole, place), true, made, hole, mix)
            for place in range(2)
        ]
    return penalties[0] + penalties[1]


def _score(critics: Critics, hole: Tensor, place: int, faces: Tensor) -> Tensor:
    scores: Tensor = critics(faces, hole)[:, place]
    return scores


@contextmanager
def resting(critics: Critics) -> Iterator[Critics]:
    """Let gradients through the critics without computing their own."""
    critics.requires_grad_(False)
    try:
        yield critics
    finally:
        critics.requires_grad_(True)
