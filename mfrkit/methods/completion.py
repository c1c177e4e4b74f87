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
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit.losses.adversarial import critic_loss, generator_loss, gradient_penalty
from mfrkit.losses.identity import identity_distance
from mfrkit.losses.perceptual import feature_distance, style_distance
from mfrkit.losses.reconstruction import border_weight, masked_l1, total_variation
from mfrkit.masks.freeform import draw_strokes
from mfrkit.methods.base import Frozen, Losses, Task, check_finite
from mfrkit.methods.batch import FaceBatch
from mfrkit.methods.completion_options import CompletionOptions
from mfrkit.models.completion import Completion, composite
from mfrkit.models.critics import Critics
from mfrkit.models.features import Seen

_SHIFT = 2  # pixels, up to which what the recogniser looks at is shifted


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
        critics = self.critics if int(self.done) >= self.critic_start else None
        if critics is not None:
            for _ in range(self.options.critic_steps):
                yield "critic", self._judge(critics, batch.clean, made.detach(), hole)
        losses = self._pixels(batch, hole, pictures)
        if self.looker is not None:
            losses |= self._look(self.looker, batch.clean, made)
        if critics is not None:
            with resting(critics):
                losses["adversarial"] = generator_loss(critics(made, hole).float())
        total = sum(getattr(self.options, name) * value for name, value in losses.items())
        yield "main", {"loss": torch.as_tensor(total), **losses}
        self.done += 1

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Return the generator's parameters, and the critics'."""
        groups = {"main": [*self.student.parameters()]}
        return groups if self.critics is None else groups | {"critic": [*self.critics.parameters()]}

    def _judge(self, critics: Critics, true: Tensor, made: Tensor, hole: Tensor) -> Losses:
        """Return the critics' losses."""
        options = self.options
        scores = critics(true, hole).float(), critics(made, hole).float()
        loss = critic_loss(*scores, options.game)
        losses = {"true": scores[0].mean(), "made": scores[1].mean()}
        if options.game == "wasserstein":
            losses["penalty"] = _penalty(critics, true, made, hole)
            loss = loss + options.penalty * losses["penalty"]
        return {"loss": loss, **losses}

    def _pixels(self, batch: FaceBatch, hole: Tensor, pictures: list[Tensor]) -> Losses:
        """Compare all pictures with the true ones; those before the last count as sketches."""
        options, factors = self.options, [self.options.sketch] * (len(pictures) - 1) + [1.0]

        def difference(weight: Tensor) -> Tensor:
            terms = [
                factor * masked_l1(picture, batch.clean, weight)
                for factor, picture in zip(factors, pictures, strict=True)
            ]
            return torch.stack(terms).sum()

        losses = {"hole": difference(border_weight(hole, options.border))}
        losses["known"] = difference(1 - hole)
        if options.variation:
            losses["variation"] = total_variation(pictures[-1], hole)
        return losses

    def _look(self, looker: nn.Module, clean: Tensor, made: Tensor) -> Losses:
        """Compare what the recogniser sees in some of the faces."""
        options = self.options
        count = max(1, round(options.looked * len(clean)))
        clean, made = shifted_alike(clean[:count], made[:count])
        with torch.no_grad():
            true: Seen = looker(clean)
        check_finite(true.embedding)
        seen: Seen = looker(made)
        losses = {}
        if options.identity:
            losses["identity"] = identity_distance(seen.embedding, true.embedding).mean()
        if options.features:
            losses["features"] = feature_distance(seen.maps, true.maps).mean()
        if options.style:
            losses["style"] = style_distance(seen.maps, true.maps).mean()
        return losses


def shifted_alike(*pictures: Tensor) -> list[Tensor]:
    """Shift pictures (B, C, H, W) by the same few pixels, drawn from torch's default generator.

    A network with strides sees some rows and columns better than others; looked at from the same
    place every time, it would have the generator draw them as a grid.
    """
    edge = _SHIFT
    down, right = torch.randint(2 * edge + 1, (2,)).tolist()
    shifted = []
    for each in pictures:
        height, width = each.shape[2:]
        padded = F.pad(each, (edge, edge, edge, edge), mode="replicate")
        shifted.append(padded[:, :, down : down + height, right : right + width])
    return shifted


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
def resting(critics: Critics) -> Iterator[None]:
    """Let gradients through the critics without computing their own."""
    critics.requires_grad_(False)
    try:
        yield
    finally:
        critics.requires_grad_(True)
