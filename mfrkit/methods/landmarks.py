"""Teach the mesh network what lies under a mask: the mesh of the same face without it.

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
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mfrkit.errors import InputError
from mfrkit.faces.geometry import ARCFACE_SIZE
from mfrkit.faces.mesh import SIDE, upper_part
from mfrkit.methods.base import FaceBatch, Frozen, Losses, Task
from mfrkit.methods.realign import (
    WIDE,
    Jitter,
    cut,
    from_square,
    regions_of,
    to_square,
    usual_region,
)
from mfrkit.models.detectors import FaceMesh

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


@dataclass(frozen=True)
class Targets:
    """What the frozen network says of bare faces.

    Attributes:
        meshes: (B, 468, 3) float32, pixels of the wide crop.
        score: (B,) float32 in [0, 1].
    """

    meshes: Tensor
    score: Tensor


class Teacher(Frozen):
    """The mesh network before the change, two looks at each face.

    Args:
        network: a `FaceMesh` of its own.
    """

    def __init__(self, network: FaceMesh) -> None:
        super().__init__(network)
        self.usual = usual_region(network.mean)

    @torch.no_grad()
    def targets(self, wide: Tensor) -> Targets:
        """Find the meshes of bare faces, (B, 3, 224, 224) float RGB in [0, 1]."""
        regions = self.usual.to(wide).expand(len(wide), 2, 3)
        meshes, _ = self.look(wide, regions)
        return Targets(*self.look(wide, regions_of(meshes, self.usual)))

    def look(self, wide: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Return vertices in pixels of the wide crop, and scores in [0, 1]."""
        return look(self.network, wide, regions)


def look(network: torch.nn.Module, wide: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Show regions of wide crops to a network.

    Args:
        network: as `FaceMesh`.
        wide: (B, 3, 224, 224) float32 RGB in [0, 1].
        regions: (B, 2, 3), wide crop to square.

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
        targets = teacher.targets(batch.clean)
        regions = self._shown(regions_of(targets.meshes, teacher.usual))
        nothing = self._elsewhere(batch.clean, regions)
        with torch.no_grad():
            wanted = torch.cat([targets.score, teacher.network(nothing)[1].sigmoid()])
        meshes, logits = self.student(torch.cat([cut(batch.masked, regions), nothing]))
        target = to_square(targets.meshes, regions)
        terms = self._errors(meshes[: len(batch)], target, targets.score > _SURE, batch.index)
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
