"""Teach the mesh network what lies under a mask: crops in, one model file out.

Idea:
    The network as it was before, frozen, looks twice at each bare face; what it finds is the target
    for the same face with a mask drawn on it, the hidden vertices included. The student looks once,
    at the region a detector would give or at one near the face's own, so that one look may do.
    Faces that are really masked have no bare twin: the upper part of what the frozen network finds
    holds the student's in place. The face score of all of them is held to the frozen network's on
    the bare face, and on squares without a face to what it says there.

    Where a crop is cut follows from the upper vertices together, so their joint error has a term of
    its own. One phase.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.geometry import ARCFACE_SIZE
from mfrkit.faces.mesh import SIDE, eye_distance, upper_part
from mfrkit.masks.kinds import BARE
from mfrkit.methods.base import FaceBatch, Frozen, Losses, Task
from mfrkit.methods.method import Preset
from mfrkit.methods.realign import (
    WIDE,
    Jitter,
    cut,
    from_square,
    regions_of,
    to_square,
    usual_region,
)
from mfrkit.methods.views import PairedViews, ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.detectors import FaceMesh
from mfrkit.models.device import compile_in_place
from mfrkit.models.registry import load_network
from mfrkit.training.checks import CHECK_SEED, MaskCheck, copied
from mfrkit.training.crops import Faces, JoinedFaces, read_wide
from mfrkit.training.data import RawBatch, TrainSet, hold_out, open_train_set, told
from mfrkit.training.options import TrainRequest
from mfrkit.training.region import PRESETS as REGION
from mfrkit.training.run import Built, Trained, deal_out, run
from mfrkit.training.settings import (
    CardOptions,
    CheckOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
    resolve_settings,
)
from mfrkit.training.world import World

_SURE = 0.5  # least score of a target
# Sides of the squares without a face, in sides of the face's own region.
_LEAST_PART, _MOST_PART = 0.15, 0.4


@dataclass(frozen=True)
class LandmarkOptions:
    """Weights of the losses, and what the student is shown.

    Attributes:
        upper: of a vertex above the tip of the nose, where one below counts 1.
        depth: of z, where x and y count 1.
        fit: of the place of the crop.
        score: of the face score.
        real: of a really masked face, where another one counts 1.
        first: share of the faces that are shown as a detector would; the others as a second look.
        elsewhere: squares without a face, for each face.
        right, down, larger, shift, scale, turn: of the detector's regions, see `Jitter`.
        again_shift, again_scale, again_turn: of second looks.

    Raises:
        InputError: on construction, for a negative weight or a share beyond [0, 1].
    """

    upper: float = 2.0
    depth: float = 0.25
    fit: float = 1.0
    score: float = 0.02
    real: float = 0.5
    first: float = 0.7
    elsewhere: float = 0.125
    right: float = 0.0
    down: float = -0.04
    larger: float = 0.075
    shift: float = 0.025
    scale: float = 0.08
    turn: float = 4.0
    again_shift: float = 0.015
    again_scale: float = 0.03
    again_turn: float = 2.0

    def __post_init__(self) -> None:
        signed = ("right", "down", "larger")
        if min(value for name, value in vars(self).items() if name not in signed) < 0:
            raise InputError("method weights and deviations must not be negative")
        if max(self.first, self.elsewhere) > 1:
            raise InputError("method.first and method.elsewhere are shares, from 0 to 1")

    @property
    def detector(self) -> Jitter:
        """Return how a detector's regions lie."""
        return Jitter(self.right, self.down, self.larger, self.shift, self.scale, self.turn)

    @property
    def again(self) -> Jitter:
        """Return how the regions of second looks lie."""
        return Jitter(shift=self.again_shift, scale=self.again_scale, turn=self.again_turn)


class Teacher(Frozen):
    """The mesh network before the change, two looks at each face."""

    def __init__(self, network: FaceMesh) -> None:
        super().__init__(network)
        self.usual = usual_region(network.mean)

    @torch.no_grad()
    def targets(self, wide: Tensor) -> tuple[Tensor, Tensor]:
        """Find the meshes of bare faces, (B, 3, 224, 224) float RGB in [0, 1]."""
        regions = self.usual.to(wide).expand(len(wide), 2, 3)
        meshes, _ = look(self.network, wide, regions)
        return look(self.network, wide, regions_of(meshes, self.usual))


def look(network: torch.nn.Module, wide: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Show regions, (B, 2, 3), of wide crops, (B, 3, 224, 224) RGB in [0, 1], to a `FaceMesh`.

    Returns:
        (B, 468, 3) vertices in pixels of the wide crop, and (B,) scores in [0, 1].
    """
    meshes, logits = network(cut(wide, regions))
    return from_square(meshes, regions), logits.sigmoid()


class LandmarkTask(Task):
    """Training of the mesh network on masked faces.

    Args:
        student: is trained; begins as the teacher.
        teacher: gives the targets.
        options: weights, and what is shown.
        real_from: place in the data set from which on faces are really masked.
    """

    student: FaceMesh
    upper: Tensor
    goal: Tensor
    corners: Tensor

    def __init__(
        self, *, student: FaceMesh, teacher: Teacher, options: LandmarkOptions, real_from: int
    ) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self.options, self.real_from = options, real_from
        upper = torch.from_numpy(upper_part(student.mean.cpu().numpy()))
        goal = student.mean[upper, :2]
        corners = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]) * (ARCFACE_SIZE - 1)
        self.register_buffer("upper", upper, persistent=False)
        self.register_buffer("goal", goal - goal.mean(0), persistent=False)
        self.register_buffer("corners", corners - goal.mean(0), persistent=False)

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, `upper`, `hidden`, `depth` and `fit` in sizes of the face, and `score`."""
        options, teacher = self.options, self.teacher
        true, score = teacher.targets(batch.clean)
        regions = self._shown(regions_of(true, teacher.usual))
        nothing = self._elsewhere(batch.clean, regions)
        with torch.no_grad():
            wanted = torch.cat([score, teacher.network(nothing)[1].sigmoid()])
        meshes, logits = self.student(torch.cat([cut(batch.masked, regions), nothing]))
        target = to_square(true, regions)
        terms = self._errors(meshes[: len(batch)], target, score > _SURE, batch.index)
        terms["score"] = F.binary_cross_entropy_with_logits(logits, wanted)
        plane = (options.upper * terms["upper"] + terms["hidden"]) / (options.upper + 1)
        total = plane + options.depth * terms["depth"] + options.fit * terms["fit"]
        return {"loss": total + options.score * terms["score"], **terms}

    def _shown(self, regions: Tensor) -> Tensor:
        """Move the faces' own regions to where the student sees them."""
        first = torch.rand(len(regions)) < self.options.first
        chosen = first.to(regions.device)[:, None, None]
        detector, again = self.options.detector, self.options.again
        return torch.where(chosen, detector.draw(regions), again.draw(regions))

    def _elsewhere(self, wide: Tensor, regions: Tensor) -> Tensor:
        """Cut small squares out of some of the wide crops, anywhere."""
        count = math.ceil(self.options.elsewhere * len(wide))
        chance = torch.rand(count, 3).to(wide)
        part = _LEAST_PART + (_MOST_PART - _LEAST_PART) * chance[:, :1, None]
        linear = regions[:count, :, :2] / part
        shift = (SIDE - 1) / 2 - linear @ (WIDE * chance[:, 1:, None])
        return cut(wide[:count], torch.cat([linear, shift], 2))

    def _errors(self, found: Tensor, target: Tensor, sure: Tensor, index: Tensor) -> Losses:
        """Compare (B, 468, 3) vertices, both in pixels of the squares."""
        real = index >= self.real_from
        weight = sure * torch.where(real, self.options.real, 1.0)
        plane = target[..., :2]
        size = (plane - plane.mean(1, keepdim=True)).square().sum(2).mean(1).sqrt()[:, None]
        apart = torch.linalg.vector_norm(found[..., :2] - plane, dim=2) / size
        deep = (found[..., 2] - target[..., 2]).abs() / size
        corners = self._corners(found[..., :2]) - self._corners(plane)
        fit = torch.linalg.vector_norm(corners, dim=2) / size
        upper = self.upper
        return {
            "upper": _mean(apart[:, upper], weight),
            "hidden": _mean(apart[:, ~upper], weight * ~real),
            "depth": _mean(deep[:, upper], weight),
            "fit": _mean(fit, weight),
        }

    def _corners(self, plane: Tensor) -> Tensor:
        """Return where the corners of the crop are that (B, 468, 2) vertices are fitted to."""
        upper = plane[:, self.upper]
        middle = upper.mean(1, keepdim=True)
        across = (upper - middle).transpose(1, 2) @ self.goal / self.goal.square().sum()
        along, turned = across[:, 0, 0] + across[:, 1, 1], across[:, 1, 0] - across[:, 0, 1]
        turn = torch.stack([along, turned, -turned, along], 1).view(-1, 2, 2)
        return self.corners @ turn + middle


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of (B, N) values over the faces, weighted by (B,)."""
    return (values.mean(1) * weight).sum() / weight.sum().clamp_min(1e-6)


class LandmarkCheck(MaskCheck):
    """Measure mesh networks at the same places of wide crops.

    Args:
        faces: held out of the training; unreadable ones are left out.
        teacher: what it says of the bare faces is taken for true.
        jitter: of the detector's regions.
        shown: masks, device and renderer, as `MaskCheck`.
    """

    def __init__(self, faces: Faces, *, teacher: Teacher, jitter: Jitter, **shown: Any) -> None:
        super().__init__(faces, size=(WIDE, WIDE), read=read_wide, **shown)
        self._teacher, self._jitter = teacher, jitter

    def __call__(self, student: FaceMesh, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure a network with these weights.

        Returns:
            Mean distances between vertices, as shares of the distance between the eyes, each with
            `check_` before it: `upper` and `hidden` vertices after one look, `upper_twice` and
            `hidden_twice` after two, after the name of every sort of mask, bare faces as `none`;
            `error`, the mean of all `upper`.
        """
        figures: dict[str, list[Tensor]] = {}
        for name, errors in self._errors(copied(student, weights)):
            figures.setdefault(f"check_{name}", []).append(errors)
        means = {name: float(torch.cat(parts).mean()) for name, parts in figures.items()}
        once = [value for name, value in means.items() if name.endswith("_upper")]
        return {**means, "check_error": sum(once) / len(once)}

    @torch.inference_mode()
    def _errors(self, network: FaceMesh) -> Iterator[tuple[str, Tensor]]:
        """Yield names of figures and (B,) errors."""
        generator = torch.Generator().manual_seed(CHECK_SEED)
        upper = torch.from_numpy(upper_part(network.mean.cpu().numpy()))
        for shown in self.shown():
            true, _ = self._teacher.targets(shown[BARE].masked)
            unit = torch.from_numpy(eye_distance(true.cpu().numpy())).to(true)
            around = self._jitter.draw(regions_of(true, self._teacher.usual), generator)
            for name, drawn in shown.items():
                regions = around
                for suffix in ("", "_twice"):
                    meshes, _ = look(network, drawn.masked, regions)
                    apart = torch.linalg.vector_norm((meshes - true)[..., :2], dim=2)
                    apart = apart / unit[:, None]
                    yield f"{name}_upper{suffix}", apart[:, upper].mean(1)
                    yield f"{name}_hidden{suffix}", apart[:, ~upper].mean(1)
                    regions = regions_of(meshes, self._teacher.usual)


PRESETS: Mapping[str, Preset] = {
    "small": {
        "views": {"gain": 0.15, "offset": 0.08, "blur": 0.2},
        "masks": REGION["small"]["masks"],  # not those of the check; a quarter of the faces bare
        "fit": {
            "epochs": 6.0,
            "batch_size": 48,
            "lr": 4e-4,
            "warmup": 50,
            "ema": 0.998,
            "check_every": 250,
        },
    }
}


@dataclass(frozen=True)
class LandmarkModelOptions:
    """The bundled name or file of the network the trained one begins as, which teaches it too."""

    start: str = "facemesh"


@dataclass(frozen=True)
class RealFaceSources:
    """Sources of crops of faces that are really masked."""

    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class LandmarkCheckOptions(CheckOptions):
    """What the network is measured on while it trains."""

    faces: int = 192


@dataclass(frozen=True)
class LandmarkSettings(RunSettings):
    """Every setting of a run, checked.

    Raises:
        InputError: on construction, for views that would move the masked face off its bare twin.
    """

    model: LandmarkModelOptions
    real: RealFaceSources
    method: LandmarkOptions
    views: ViewOptions
    masks: MaskSettings
    check: LandmarkCheckOptions
    fit: FitOptions
    card: CardOptions

    def __post_init__(self) -> None:
        if self.views.rotation or self.views.scale or self.views.shift:
            raise InputError(
                "views.rotation, scale and shift must be 0: the mesh of a masked face is that of "
                "its bare twin; method.turn, scale and shift move what the network is shown"
            )


resolve = partial(resolve_settings, kind=LandmarkSettings, presets=PRESETS)


def train_landmarks(request: TrainRequest, console: Console) -> Trained:
    """Train a mesh network and write it; errors as those of `run`."""
    settings = resolve(request)
    what = "teach a mesh network about masks"
    return run(request, settings, _build, "train-landmarks", what, console)


def _build(
    request: TrainRequest,
    settings: LandmarkSettings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    bare, held = hold_out(open_train_set(request.data), settings.check.faces)
    data = told(_with_real(bare, settings.real.data), console)
    student, card = _network(settings.model.start, device)
    teacher = Teacher(_network(settings.model.start, device)[0])
    if settings.fit.compile:
        compile_in_place([student])
    views = PairedViews(renderer=settings.masks.renderer()).to(device)

    def show(raw: RawBatch) -> FaceBatch:
        crops, points, label = (each.to(device) for each in (raw.crops, raw.points, raw.label))
        draws = [
            draw if place < len(bare) else replace(draw, spec=replace(draw.spec, kind=BARE))
            for draw, place in zip(raw.draws, raw.index.tolist(), strict=True)
        ]
        return views(crops, points, label, raw.index.to(device), draws)

    check = None
    if len(held) and world.writes:
        measured = LandmarkCheck(
            held.faces,
            teacher=teacher,
            masks=settings.check.masks(settings.masks),
            jitter=settings.method.detector,
            device=device,
            renderer=settings.masks.renderer(),
        )
        check = partial(measured, student)
    return Built(
        task=LandmarkTask(
            student=student, teacher=teacher, options=settings.method, real_from=len(bare)
        ).to(device),
        network=student,
        card=card,
        batches=deal_out(data, (WIDE, WIDE), settings, request.seed, world, read_wide),
        show=show,
        device=device,
        check=check,
        measure="upper vertices, of the distance between the eyes",
    )


def _with_real(bare: TrainSet, sources: tuple[str, ...]) -> TrainSet:
    """Append really masked faces."""
    if not sources:
        return bare
    real = open_train_set(sources)
    bare.tally.reasons.update(real.tally.reasons)
    return replace(bare, faces=JoinedFaces([bare.faces, real.faces]))


def _network(model: str, device: torch.device) -> tuple[FaceMesh, ModelCard]:
    network, card = load_network(model, device)
    if not isinstance(network, FaceMesh):
        raise InputError(f"{model}: is a {card.architecture}, no mesh network to begin with")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, card
