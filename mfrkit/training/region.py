"""Learn where a face is covered, from masks whose region is known: crops in, one model file out.

Idea:
    The student sees a face with a drawn mask, or none, and is told how much of each pixel the mask
    covers. Cross-entropy keeps pixels right, soft Dice whole regions. Faces without mask, with
    whatever beards, hands and shadows they have, show what is no cover. One phase.

    A predictor trained on drawn masks alone may learn how they are drawn. So the cover of some
    faces is made of another stuff, some faces are covered in other places and shapes, and all of
    them are lit unevenly and grained. Everything is drawn from torch's default generator, which
    the training loop seeds at every step.

    Of a mask that is really worn nobody has drawn the region. A predictor that is there already,
    frozen, says where it is, of the face and its mirror image; where both are sure, its answer is
    the student's target, for the same face disturbed. What it is unsure of costs nothing, and the
    faces it is least sure of are left out. (Lee, Pseudo-Label, ICML workshop 2013; Sohn et al.,
    FixMatch, NeurIPS 2020, arXiv:2001.07685: the weak view teaches the strong one.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfrkit import __version__
from mfrkit.config import REGION
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.losses.image import dice_loss, pixel_loss
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.base import FaceBatch, Frozen, Losses, Task, full_precision
from mfrkit.methods.method import Preset
from mfrkit.methods.views import ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.device import compile_in_place
from mfrkit.models.recogniser import Carded
from mfrkit.models.region import RegionNet, RegionPredictor, load_region
from mfrkit.training.checks import RegionCheck
from mfrkit.training.data import hold_out, open_train_set, told
from mfrkit.training.options import TrainRequest
from mfrkit.training.real_faces import REAL_SEED, deal_beside
from mfrkit.training.run import Built, Trained, deal_out, paired_views, run
from mfrkit.training.settings import (
    CardOptions,
    CheckOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
    resolve_settings,
)
from mfrkit.training.world import World

_CERTAIN = 30.0  # a logit whose loss is nothing where it is right


@dataclass(frozen=True)
class DisturbOptions:
    """How often and how far faces are changed.

    Attributes:
        stuff: share of the masked faces whose cover is made of another stuff.
        patch: share of all faces that are covered somewhere by a patch of any shape.
        shade: standard deviation of the uneven light, as a logarithm.
        grain: greatest standard deviation of the grain, pixel values in [0, 1].

    Raises:
        InputError: on construction, for a value out of range.
    """

    stuff: float = 0.3
    patch: float = 0.2
    shade: float = 0.15
    grain: float = 0.03

    def __post_init__(self) -> None:
        for name in ("stuff", "patch", "shade", "grain"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"disturb.{name} must be from 0 to 1, not {getattr(self, name)}")


@torch.no_grad()
def disturb(faces: Tensor, region: Tensor, options: DisturbOptions) -> tuple[Tensor, Tensor]:
    """Change (B, 3, H, W) masked faces and their (B, 1, H, W) regions, all float in [0, 1].

    Returns:
        New tensors of the same shapes.
    """
    other = _stuff(faces)
    chosen = _chosen(len(faces), options.stuff, faces.device) * region
    faces = torch.lerp(faces, other, chosen.expand_as(faces))
    patch = _chosen(len(faces), options.patch, faces.device) * _patches(region)
    # Rolled by one, so that a cover and a patch on the same face differ in stuff.
    faces = torch.lerp(faces, other.roll(1, 0), patch.expand_as(faces))
    region = torch.maximum(region, patch)
    faces = faces * _field(faces, 3).mul(options.shade).exp()
    grain = torch.rand(len(faces), 1, 1, 1, device=faces.device) * options.grain
    return (faces + torch.randn_like(faces) * grain).clamp(0, 1), region


def _chosen(count: int, share: float, device: torch.device) -> Tensor:
    """Return (count, 1, 1, 1) float32: 1 for the share of faces that chance chooses, else 0."""
    return (torch.rand(count, 1, 1, 1, device=device) < share).float()


def _stuff(faces: Tensor) -> Tensor:
    """Return a texture for each face: a colour, clouded, with some of another picture upon it.

    Another picture means another face of the batch, upside down, from nothing to all of it.
    """
    count, device = len(faces), faces.device
    color = torch.rand(count, 3, 1, 1, device=device)
    clouds = 0.1 * _field(faces, 4) + 0.08 * _field(faces, 28)
    amount = torch.rand(count, 1, 1, 1, device=device).mul(2.0).sub(1.0).clamp(min=0)
    plain = color + clouds * torch.rand(count, 1, 1, 1, device=device)
    return torch.lerp(plain, faces.roll(1, 0).flip(2), amount.expand_as(faces)).clamp(0, 1)


def _field(faces: Tensor, cells: int) -> Tensor:
    """Return smooth noise (B, 3, H, W) of about unit deviation, nearly alike in all colours."""
    count, size, device = len(faces), faces.shape[2:], faces.device
    coarse = torch.randn(count, 1, cells, cells, device=device)
    coarse = coarse + 0.3 * torch.randn(count, 3, cells, cells, device=device)
    return F.interpolate(coarse, size, mode="bilinear", align_corners=True)


def _patches(region: Tensor) -> Tensor:
    """Return a patch for each face, (B, 1, H, W) in [0, 1].

    A patch is a super-ellipse, from a lozenge to a box, turned at will; its middle lies anywhere
    on the face, more often in its lower half.
    """
    count, (height, width), device = len(region), region.shape[2:], region.device
    low = torch.tensor([-0.6, -0.5, 0.15, 0.10, 0.0, 1.2], device=device)
    high = torch.tensor([0.6, 0.9, 0.75, 0.50, torch.pi, 6.0], device=device)
    draws = low + (high - low) * torch.rand(count, 6, device=device)
    x, y, wide, tall, turn, power = (each[:, None, None] for each in draws.T)
    down, right = torch.meshgrid(
        torch.linspace(-1, 1, height, device=device),
        torch.linspace(-1, 1, width, device=device),
        indexing="ij",
    )
    right, down = right - x, down - y
    along = (right * turn.cos() + down * turn.sin()).abs() / wide
    across = (down * turn.cos() - right * turn.sin()).abs() / tall
    inside = 1 - (along**power + across**power) ** (1 / power)
    edge = 2 / height / torch.minimum(wide, tall)  # one pixel, in shares of the half axis
    return (inside / edge + 0.5).clamp(0, 1)[:, None]


@dataclass(frozen=True)
class RegionOptions:
    """Weights of the losses.

    Attributes:
        pixel: of the cross-entropy.
        dice: of the soft Dice loss.

    Raises:
        InputError: on construction, for a negative weight, or none at all.
    """

    pixel: float = 1.0
    dice: float = 1.0

    def __post_init__(self) -> None:
        if min(self.pixel, self.dice) < 0 or not self.pixel + self.dice:
            raise InputError("method weights must not be negative, and not all 0")


@dataclass(frozen=True)
class WornRegionOptions:
    """How really masked faces take part.

    Attributes:
        data: sources of their crops; none lets the rest idle.
        teacher: bundled name or file of the predictor that says where their masks are.
        count: of them in a step, beside the others, over all processes.
        weight: of their losses, where those of the others count 1.
        sure: least probability of an answer that is a target, from above 0.5 to below 1.
        trim: share of a step's faces left out because the teacher is least sure of them, below 1.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    data: tuple[str, ...] = ()
    teacher: str = REGION
    count: int = 16
    weight: float = 1.0
    sure: float = 0.9
    trim: float = 0.1

    def __post_init__(self) -> None:
        if self.count < 1 or not self.weight > 0:
            raise InputError("real.count must be at least 1 and real.weight above 0")
        if not 0.5 < self.sure < 1:
            raise InputError(f"real.sure is from above 0.5 to below 1, not {self.sure}")
        if not 0 <= self.trim < 1:
            raise InputError(f"real.trim is a share from 0 to below 1, not {self.trim}")


class WornRegions(nn.Module):
    """Where really worn masks are, as far as a predictor is sure of it.

    Args:
        network: maps (B, 3, H, W) faces in [0, 1] to (B, 1, H, W) probabilities of cover.
        options: how sure it must be.
    """

    def __init__(self, network: nn.Module, options: WornRegionOptions) -> None:
        super().__init__()
        self.predictor = Frozen(network)
        self.options = options

    @torch.no_grad()
    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return the regions, (B, 1, H, W) float, 0 or 1, and bool: which pixels are known."""
        cover = (self.predictor(faces) + self.predictor(faces.flip(3)).flip(3)) / 2
        known = (cover - 0.5).abs() >= self.options.sure - 0.5
        left_out = round(self.options.trim * len(faces))
        unsure = known.flatten(1).float().mean(1).topk(left_out, largest=False).indices
        known = known.index_fill(0, unsure, False)
        return (cover > 0.5).to(cover), known


class RegionTask(Task):
    """Segmentation of drawn masks.

    Args:
        student: gives logits as `raw`; trained and exported.
        options: weights.
        changes: what is done to the views beyond the renderer.
        worn: says where the masks of really masked faces are, if batches have such faces.
    """

    def __init__(
        self,
        *,
        student: Carded,
        options: RegionOptions,
        changes: DisturbOptions,
        worn: WornRegions | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.options = options
        self.changes = changes
        self.worn = worn

    def forward(self, batch: FaceBatch) -> Losses:
        """Return `loss`, `pixel`, `dice`, and `real` of really masked faces."""
        faces, region = disturb(batch.masked, batch.region, self.changes)
        total, terms = self._compare(self._look(faces), region)
        if self.worn is not None and batch.real is not None:
            terms["real"] = self._worn(batch.real.masked, self.worn)
            total = total + self.worn.options.weight * terms["real"]
        return {"loss": total, **terms}

    def _worn(self, faces: Tensor, answers: WornRegions) -> Tensor:
        """Return the loss of really masked faces."""
        region, known = answers(faces)
        faces, covered = disturb(faces, region, self.changes)
        known = known | (covered > region)  # by a patch
        # Unknown pixels are called bare, and the student sure of it: that costs nothing.
        logits = self._look(faces).masked_fill(~known, -_CERTAIN)
        return self._compare(logits, covered * known)[0]

    def _look(self, faces: Tensor) -> Tensor:
        """Return the student's logits."""
        faces = faces.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.student.raw(faces)  # type: ignore[operator]
        return logits.float()  # the losses ask for more digits than half precision has

    def _compare(self, logits: Tensor, region: Tensor) -> tuple[Tensor, Losses]:
        """Return the weighted loss and its terms."""
        with full_precision(logits):
            terms = {"pixel": pixel_loss(logits, region), "dice": dice_loss(logits, region)}
        return self.options.pixel * terms["pixel"] + self.options.dice * terms["dice"], terms


_VIEWS = {
    "gain": 0.15,
    "offset": 0.1,
    "rotation": 5.0,
    "scale": 0.06,
    "shift": 0.03,
    "blur": 0.25,
}
# All kinds but those the check holds out; a quarter of the faces wear none.
_MASKS = {
    "types": "surgical:4,n95:1,cloth:4,sponge:1,window:0.3,gaiter:1,scarf:1,hand:2,rectangle:0.7,"
    "nist-a:0.3,nist-b:0.3,nist-c:0.3,nist-e:0.3,nist-f:0.3",
    "coverage": "above:5,on:2,below:1.5,chin:1",
    "probability": 0.75,
    "jitter": 1.5,
}
_SMALL: Preset = {
    "views": _VIEWS,
    "masks": _MASKS,
    "fit": {
        "epochs": 4.0,
        "batch_size": 48,
        "lr": 2e-3,
        "warmup": 100,
        "precision": "bf16",
        "ema": 0.998,
        "check_every": 500,
    },
}
PRESETS: Mapping[str, Preset] = {
    "small": _SMALL,
    "large": {
        **_SMALL,
        "model": {"widths": (32, 64, 128, 192)},
        "fit": {**_SMALL["fit"], "epochs": 30.0, "batch_size": 256},
    },
}


@dataclass(frozen=True)
class RegionModelOptions:
    """What is trained.

    Attributes:
        init: bundled name or file of the predictor it begins as, whose widths it has; empty for
            one that knows nothing.
        widths: channels at strides 2, 4, 8 and 16.

    Raises:
        InputError: on construction, unless there are two to four positive widths.
    """

    init: str = ""
    widths: tuple[int, ...] = (16, 32, 64, 96)

    def __post_init__(self) -> None:
        if not 2 <= len(self.widths) <= 4 or min(self.widths) < 1:
            raise InputError(f"model.widths {list(self.widths)}: expected two to four numbers")


@dataclass(frozen=True)
class RegionSettings(RunSettings):
    """Every setting of a run, checked."""

    model: RegionModelOptions
    method: RegionOptions
    views: ViewOptions
    masks: MaskSettings
    disturb: DisturbOptions
    real: WornRegionOptions
    check: CheckOptions
    fit: FitOptions
    card: CardOptions


resolve = partial(resolve_settings, kind=RegionSettings, presets=PRESETS)
_SIZE = (112, 112)


def train_region(request: TrainRequest, console: Console) -> Trained:
    """Train a predictor and write it; errors as those of `run`."""
    settings = resolve(request)
    return run(request, settings, _build, "train-region", "train a region predictor", console)


def _build(
    request: TrainRequest,
    settings: RegionSettings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    data, held = hold_out(told(open_train_set(request.data), console), settings.check.faces)
    student = _student(settings).to(device)
    show = paired_views(settings.views, device, settings.masks.renderer())
    check = None
    if len(held) and world.writes:
        measured = RegionCheck(
            held.faces,
            size=_SIZE,
            masks=settings.check.masks(settings.masks),
            device=device,
            renderer=settings.masks.renderer(),
        )
        check = partial(measured, student)
    worn, beside = None, {}
    if settings.real.data:
        worn = WornRegions(load_region(settings.real.teacher, device), settings.real)
        real = open_train_set(settings.real.data)
        console.info(f"real: {len(real)} really masked faces")
        beside["real"] = deal_beside(
            real,
            settings.views,
            MaskOptions(probability=0.0),
            settings.real.count,
            _SIZE,
            request.seed + REAL_SEED,
            world,
        )
    return Built(
        task=RegionTask(
            student=student, options=settings.method, changes=settings.disturb, worn=worn
        ),
        network=student.network,
        card=student.card,
        batches=deal_out(data, _SIZE, settings, request.seed, world, beside=beside),
        show=show,
        device=device,
        check=check,
        measure="error of the regions",
    )


def _student(settings: RegionSettings) -> RegionPredictor:
    network, widths = RegionNet(settings.model.widths), list(settings.model.widths)
    if init := settings.model.init:
        begun = load_region(init)
        if not isinstance(begun.network, RegionNet):
            raise InputError(f"{init}: is a {begun.card.architecture}, no network to begin with")
        network, widths = begun.network, begun.card.arguments["widths"]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place([network])
    card = ModelCard(
        name="region",
        task="region",
        architecture="region",
        arguments={"widths": widths},
        input_size=_SIZE,
        licence="not stated; depends on the data"
        + (" and the models it learned from" if settings.model.init or settings.real.data else ""),
        source=f"mfrkit {__version__}",
        paper="Ronneberger et al., U-Net, MICCAI 2015, arXiv:1505.04597",
    )
    return RegionPredictor(network, card).train()
