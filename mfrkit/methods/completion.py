"""Face completion: a generator draws what a mask hides, critics tell its faces from true ones.

Paper:
    Li, Ge, Zhang, Li, "Look Through Masks: Towards Masked Face Recognition with De-Occlusion
    Distillation", ACM MM 2020, arXiv:2409.12385, section 3.2: an inpainting generator with a
    global and a local critic; losses and layers the paper does not give are those of its baseline,
    Yu et al., CVPR 2018, arXiv:1801.07892.
    Free-form holes: Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019,
    arXiv:1806.03589, section 3.4: strokes that turn by bounded angles, with round joints.

Idea:
    The generator sees a masked face and the mask's region, and is held to the face without mask:
    by its pixels, by what a frozen recogniser sees in it, and by whom it recognises. Critics,
    which see composites, join late: they sharpen what the other losses have put in place.

Differs:
    Faces that wear no mask get a free-form hole, so that the generator does not learn the shapes
    of masks alone. Gated convolution instead of contextual attention in the small preset. Hinge
    loss and spectral normalisation beside the Wasserstein loss. The critics' extra steps look at
    the same faces again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.losses.image import (
    Game,
    border_weight,
    critic_loss,
    feature_distance,
    generator_loss,
    gradient_penalty,
    identity_distance,
    masked_l1,
    style_distance,
    total_variation,
)
from mfrkit.methods.base import FaceBatch, Frozen, Losses, Task, check_finite
from mfrkit.models.completion import Completion, composite
from mfrkit.models.contextual import Critics
from mfrkit.models.recogniser import Seen

_STROKES = (1, 4)  # fewest, most
_CORNERS = (3, 9)
_LENGTH = (0.06, 0.28)  # of a straight piece, in sides of the picture
_WIDTH = (0.05, 0.18)


def draw_strokes(generator: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Draw the hole of one face of this (height, width): (H, W) float32, 0 or 1."""
    height, width = size
    side = min(size)
    hole = np.zeros(size, np.uint8)
    for _ in range(generator.integers(*_STROKES, endpoint=True)):
        count = int(generator.integers(*_CORNERS, endpoint=True))
        # The pen swings to and fro about a direction, which makes blots rather than lines.
        turns = generator.uniform(0.2 * np.pi, 0.6 * np.pi, count) * (-1) ** np.arange(count)
        angles = generator.uniform(0, 2 * np.pi) + np.cumsum(turns)
        lengths = side * generator.uniform(*_LENGTH, count)
        steps = np.column_stack([np.cos(angles), np.sin(angles)]) * lengths[:, None]
        start = generator.uniform(0.1, 0.9, 2) * (width, height)
        corners = np.vstack([start, start + np.cumsum(steps, 0)])
        corners = corners.clip(0, (width - 1, height - 1)).round().astype(np.int32)
        brush = max(2, round(side * generator.uniform(*_WIDTH)))
        cv2.polylines(hole, [corners[:, None]], False, 1, brush)
        for corner in corners.tolist():
            cv2.circle(hole, corner, brush // 2, 1, -1)
    return hole.astype(np.float32)


@dataclass(frozen=True)
class CompletionOptions:
    """The losses of `FaceCompletion` and the game of its critics.

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
