"""Turn crops into the two views of a training batch: masked for the student, clean for the teacher.

One draw serves both: the same light, then the mask on a copy, and in the end the same mirroring.
Alignment and loss of resolution reach the student only. A face that was cut out wide is aligned
anew with its mask on, as `align` would do it; any other is moved as far as masks move alignments.
The template is what a good crop would give.

Everything random is drawn from the run's seed, the epoch and the face's place in the data set,
and from nothing else. So a resumed run, another number of workers or of processes sees the same
views.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from kornia.geometry.transform import invert_affine_transform, warp_affine
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.faces.detect import IBUG
from mfrkit.masks.kinds import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, Rendered
from mfrkit.masks.spec import MaskSpec, sample_spec
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.realign import Context, MeshAligner

Align = Literal["jitter", "mesh"]

_FARTHEST = 6.0  # draws with long tails end here
# How a mask changes the box and the eyes YuNet sees, as `ViewDraw.box`: the middle, the scale and
# the degrees of freedom of Student's t, on 1,500 photos of LFW (examples/measure_misalignment.py).
_BOX_MIDDLES = np.array([-0.4, -0.043, -0.008, -0.015])
_BOX_SCALES, _BOX_TAIL = np.array([1.1, 0.045, 0.013, 0.02]), 6.0


@dataclass(frozen=True)
class ViewOptions:
    """How far views may vary.

    Attributes:
        flip: probability of mirroring, both views alike.
        gain: standard deviation of the contrast factor about 1, both views alike.
        offset: standard deviation of the brightness shift, pixel values in [0, 1], both alike.
        rotation: standard deviation of the student's misalignment, degrees.
        scale: standard deviation of the logarithm of its size factor.
        shift: standard deviation of its shift along each axis, as a share of the crop's side.
        tail: degrees of freedom of Student's t, whose tails the misalignment then has, the three
            numbers above being the scale of its middle; 0 for a normal distribution.
        align: `mesh` aligns the student's view of a face that was cut out wide by its mesh, mask
            and all, as the command `align` does; `jitter` misaligns all faces by the numbers above.
        meshed: share of the faces cut out wide that `mesh` aligns; the others are misaligned.
        looks: how often the mesh network looks; `align` lets it look once.
        blur: probability that the student's view loses resolution.
        coarsest: greatest factor by which it does.

    Raises:
        InputError: on construction, for a number no view can have.
    """

    flip: float = 0.5
    gain: float = 0.0
    offset: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    tail: float = 0.0
    align: Align = "jitter"
    meshed: float = 1.0
    looks: int = 1
    blur: float = 0.0
    coarsest: float = 3.0

    def __post_init__(self) -> None:
        for name in ("flip", "blur", "meshed"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"views.{name} is a probability, not {getattr(self, name)}")
        for name, most in (("gain", 0.5), ("offset", 1), ("rotation", 45), ("scale", 0.3)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"views.{name} must be from 0 to {most}")
        if not 0 <= self.shift <= 0.5:
            raise InputError("views.shift is a share of the crop's side, from 0 to 0.5")
        if not 1 <= self.looks <= 4:
            raise InputError("views.looks is a number of looks from 1 to 4")
        if not (self.tail == 0 or 1 <= self.tail < np.inf):
            raise InputError("views.tail is 0 or a number of degrees of freedom from 1")
        if not 1 <= self.coarsest <= 8:
            raise InputError("views.coarsest is a factor from 1 to 8")


@dataclass(frozen=True)
class ViewDraw:
    """One face's view as plain numbers.

    Attributes:
        flip: whether both views are mirrored.
        gain: contrast factor of both views.
        offset: brightness shift of both views.
        turn: (2, 2) float32, rotation and scale of the student's view.
        shift: (2,) float32, its shift (x, y) as a share of the crop's side.
        coarse: factor by which the student's view loses resolution, 1 for none.
        spec: the student's mask.
        meshed: whether the student's view is aligned by its mesh, if more than the crop is seen.
        box: (4,) float32, what the mask does to the detector's box that the mesh starts from: turn
            of the line of eyes in degrees, log of the size factor, shift (x, y) in sides of it.
    """

    flip: bool
    gain: float
    offset: float
    turn: NDArray[np.float32]
    shift: NDArray[np.float32]
    coarse: float
    spec: MaskSpec
    meshed: bool
    box: NDArray[np.float32]

    @property
    def is_still(self) -> bool:
        """Whether the student's view stays where the crop is."""
        return not self.shift.any() and bool((self.turn == np.eye(2, dtype=np.float32)).all())


def draw_view(
    seed: int, epoch: int, index: int, options: ViewOptions, masks: MaskOptions
) -> ViewDraw:
    """Draw one face's view, by its place in the data set and the pass over it, both from 0.

    The draw is the same for the same arguments. An option that is 0 leaves the others' draws as
    they are.

    Example:
        >>> options, masks = ViewOptions(gain=0.1), MaskOptions()
        >>> a, b, c = (draw_view(7, epoch, 3, options, masks).gain for epoch in (0, 0, 1))
        >>> a == b, a == c
        (True, False)
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch, index]))
    chance = generator.random(3)
    bell = generator.standard_normal(6).clip(-3, 3)
    box = generator.standard_t(_BOX_TAIL, 4).clip(-_FARTHEST, _FARTHEST)
    meshed = options.align == "mesh" and generator.random() < options.meshed
    if options.tail:
        bell[2:] *= np.sqrt(options.tail / generator.chisquare(options.tail, 4))
        bell[2:] = bell[2:].clip(-_FARTHEST, _FARTHEST)
    spec = sample_spec(seed, f"{epoch}/{index}", masks)
    angle = np.radians(options.rotation * bell[2])
    size = np.exp(options.scale * bell[3])
    cosine, sine = size * np.cos(angle), size * np.sin(angle)
    blurred = chance[1] < options.blur
    return ViewDraw(
        flip=bool(chance[0] < options.flip),
        gain=float(max(0.1, 1 + options.gain * bell[0])),
        offset=float(options.offset * bell[1]),
        turn=np.array([[cosine, -sine], [sine, cosine]], np.float32),
        shift=(options.shift * bell[4:6]).astype(np.float32),
        coarse=float(options.coarsest ** chance[2]) if blurred else 1.0,
        spec=spec,
        meshed=bool(meshed),
        box=((_BOX_MIDDLES + _BOX_SCALES * box) * (spec.kind != BARE)).astype(np.float32),
    )


@dataclass(frozen=True)
class _Faces:
    """Faces in the light of their draws, in the pixels of their plain crops."""

    pixels: Tensor
    points: Tensor
    landmarks: Tensor
    turns: Tensor
    draws: Sequence[ViewDraw]

    def part(self, places: Sequence[int]) -> "_Faces":
        """Return some of them."""
        at = list(places)
        draws = [self.draws[place] for place in at]
        return _Faces(self.pixels[at], self.points[at], self.landmarks[at], self.turns[at], draws)


class PairedViews(nn.Module):
    """Show a batch of faces twice.

    Args:
        aligner: aligns anew the faces whose draws ask for it; None moves those too.
        renderer: draws the masks; None for one without masks of the user's own.
    """

    def __init__(
        self, aligner: MeshAligner | None = None, renderer: MaskRenderer | None = None
    ) -> None:
        super().__init__()
        self.renderer = renderer or MaskRenderer()
        self.aligner = aligner

    @torch.no_grad()
    def forward(
        self,
        crops: Tensor,
        points: Tensor,
        label: Tensor,
        index: Tensor,
        draws: Sequence[ViewDraw],
        landmarks: Tensor | None = None,
        turns: Tensor | None = None,
        context: Context | None = None,
    ) -> FaceBatch:
        """Make both views, on the crops' device.

        Args:
            crops: (B, 3, H, W) uint8 RGB; never written to.
            points: (B, 5, 2) float, the five points in crop pixels.
            label: (B,) int64.
            index: (B,) int64.
            draws: B draws.
            landmarks: (B, 68, 2) float, which masks follow; NaN for a face that has none.
            turns: (B, 2) float, yaw and pitch in degrees of the faces whose landmarks are those of
                a mesh; NaN for others.
            context: what is seen round the faces that were cut out wide, on the crops' device.

        Raises:
            ShapeError: crops that are not uint8 (B, 3, H, W), or not as many draws.
        """
        if crops.ndim != 4 or crops.dtype != torch.uint8 or len(draws) != len(crops):
            raise ShapeError(
                f"expected uint8 crops (B, 3, H, W) and as many draws, got {crops.dtype} "
                f"{tuple(crops.shape)} and {len(draws)}"
            )
        if landmarks is None:
            landmarks = points.new_full((len(points), len(IBUG), 2), torch.nan)
        if turns is None:
            turns = points.new_full((len(points), 2), torch.nan)
        clean = _lit(crops, draws)
        faces = _Faces(clean, points, landmarks, turns, draws)
        if context is None:
            masked, region = self._moved(faces)
        else:
            masked, region = torch.empty_like(clean), torch.empty_like(clean[:, :1])
            wide = context.place.tolist()
            near = sorted(set(range(len(draws))) - set(wide))
            masked[wide], region[wide] = self._aligned(faces.part(wide), context)
            if near:
                masked[near], region[near] = self._moved(faces.part(near))
        clean, masked, region = (_mirrored(each, draws) for each in (clean, masked, region))
        return FaceBatch(_coarsen(masked, draws), clean, region, label, index)

    def _moved(self, faces: _Faces) -> tuple[Tensor, Tensor]:
        """Mask plain crops and move them; beyond the crop lies its mirror image."""
        specs = [draw.spec for draw in faces.draws]
        drawn = self.renderer(faces.pixels, faces.points, specs, faces.landmarks, faces.turns)
        if all(draw.is_still for draw in faces.draws):
            return drawn.masked, drawn.region
        matrix = _moves(faces.draws, faces.pixels.shape[3]).to(faces.pixels.device)
        return _cut(drawn, matrix, faces.pixels.shape[3], "reflection")

    def _aligned(self, faces: _Faces, context: Context) -> tuple[Tensor, Tensor]:
        """Mask wide crops and cut the faces out where their meshes, or else the draws, say."""
        side = faces.pixels.shape[3]
        edge = (context.pictures.shape[3] - side) // 2
        pictures = _lit(context.pictures, faces.draws)
        specs = [draw.spec for draw in faces.draws]
        points, landmarks = faces.points + edge, faces.landmarks + edge
        drawn = self.renderer(pictures, points, specs, landmarks, faces.turns)
        matrix = _moves(faces.draws, side, edge).to(pictures.device)
        meshed = [place for place, draw in enumerate(faces.draws) if draw.meshed]
        if self.aligner is not None and meshed:
            boxes = _shaken(context.boxes, faces.draws)[meshed]
            boxes[:, :2] += edge
            found, sure = self.aligner(drawn.masked[meshed], boxes, side)
            matrix[meshed] = torch.where(sure[:, None, None], found, matrix[meshed])
        return _cut(drawn, matrix, side, "zeros")


def _lit(crops: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Return uint8 crops with contrast about mid-grey and brightness changed, float in [0, 1]."""
    numbers = torch.tensor([(draw.gain, draw.offset) for draw in draws], device=crops.device)
    gain, offset = numbers.T[:, :, None, None, None]
    return crops.float().mul_(gain / 255).add_(0.5 - 0.5 * gain + offset).clamp_(0, 1)


def _mirrored(faces: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Mirror the chosen faces."""
    chosen = torch.tensor([draw.flip for draw in draws], device=faces.device)
    return torch.where(chosen[:, None, None, None], faces.flip(3), faces)


def _shaken(boxes: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Return a detector's boxes, (M, 4) as those of `Context`, with its errors."""
    errors = torch.from_numpy(np.stack([draw.box for draw in draws])).to(boxes.device)
    side = boxes[:, 2:3]
    middle = boxes[:, :2] + side * errors[:, 2:]
    return torch.cat([middle, side * errors[:, 1:2].exp(), boxes[:, 3:] + errors[:, :1]], 1)


def _moves(draws: Sequence[ViewDraw], side: int, edge: int = 0) -> Tensor:
    """Return the (B, 2, 3) maps to the views of faces that turn, grow and shift about the middle.

    They lead from the pixels of crops of this side, or of wider ones by so many pixels.
    """
    middle = np.full(2, (side - 1) / 2)
    # Where each pixel of the view comes from; kornia wants the way there.
    origins = [
        np.column_stack([d.turn, middle - d.turn @ middle + d.shift * side + edge]) for d in draws
    ]
    return invert_affine_transform(torch.from_numpy(np.stack(origins).astype(np.float32)))


def _cut(drawn: Rendered, matrix: Tensor, side: int, beyond: str) -> tuple[Tensor, Tensor]:
    """Cut squares and their regions out of pictures; `beyond` is what lies outside those."""
    both = torch.cat([drawn.masked, drawn.region], 1)
    cut = warp_affine(both, matrix, (side, side), padding_mode=beyond, align_corners=True)
    return cut[:, :3].clamp(0, 1), cut[:, 3:].clamp(0, 1)


def _coarsen(faces: Tensor, draws: Sequence[ViewDraw]) -> Tensor:
    """Shrink and enlarge the chosen faces again."""
    height, width = faces.shape[2:]
    faces = faces.clone()
    for place, draw in enumerate(draws):
        if draw.coarse > 1:
            size = [max(8, round(height / draw.coarse)), max(8, round(width / draw.coarse))]
            small = F.interpolate(faces[place : place + 1], size, mode="area")
            faces[place] = F.interpolate(small, [height, width], mode="bilinear")[0]
    return faces
