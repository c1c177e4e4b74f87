"""mfrkit distill, train-inpaint, train-region, train-landmarks, and curves of what they did.

Settings without an option of their own are keys of a TOML file or of `--set`.
"""

import shlex
import sys
from dataclasses import replace
from typing import TypeVar

import typer

from mfrkit.cli.options import takes
from mfrkit.training.options import (
    CurvesOptions,
    DistillRequest,
    InpaintRequest,
    LandmarkRequest,
    RegionRequest,
    TrainRequest,
)

Request = TypeVar("Request", bound=TrainRequest)


def _signed(request: Request) -> Request:
    """Return the request with the command line of this process, for the model's card."""
    return replace(request, command=shlex.join(["mfrkit", *sys.argv[1:]]))


@takes(DistillRequest)
def distill(ctx: typer.Context, options: DistillRequest) -> None:
    """Train a student that recognises masked faces, from a teacher that sees them unmasked.

    DATA is crops/ unless named. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit distill demo/crops -o student.safetensors --teacher arcface --steps 100
    """
    from mfrkit.training.distill import distill as run

    run(_signed(options), ctx.obj)


@takes(InpaintRequest)
def train_inpaint(ctx: typer.Context, options: InpaintRequest) -> None:
    """Train a generator that draws what a mask hides, on crops with masks drawn as it goes.

    DATA is crops/ unless named. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit train-inpaint demo/crops -o completion.safetensors --steps 100
    """
    from mfrkit.training.inpaint import train_inpaint as run

    run(_signed(options), ctx.obj)


@takes(RegionRequest)
def train_region(ctx: typer.Context, options: RegionRequest) -> None:
    """Train the network that finds what covers a face, from masks drawn as it goes.

    DATA is crops/ unless named. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit train-region demo/crops -o region.safetensors --steps 100
    """
    from mfrkit.training.region import train_region as run

    run(_signed(options), ctx.obj)


@takes(LandmarkRequest)
def train_landmarks(ctx: typer.Context, options: LandmarkRequest) -> None:
    """Teach the mesh network of align what lies under masks, drawn as it goes.

    DATA is crops/ unless named: faces without masks, best with context round them, as align --size
    224 --margin 0.5 makes them. Settings come from the preset, then --config, then --set, then the
    other options; --dry-run shows them all. An interrupted run goes on with --resume.

    Example: mfrkit train-landmarks demo/crops -o landmarks.safetensors --steps 100
    """
    from mfrkit.training.landmarks import train_landmarks as run

    run(_signed(options), ctx.obj)


@takes(CurvesOptions)
def curves(ctx: typer.Context, options: CurvesOptions) -> None:
    """Draw how training went: losses, checks and learning rate of one or several runs.

    Several runs lie over each other, each named by its folder. A run may still be going on.

    Example: mfrkit distill demo/crops -o student.safetensors --steps 2 --batch-size 4
    && mfrkit curves student.run -o curves.html
    """
    from mfrkit.training.curves import curves as run

    run(options, ctx.obj)
