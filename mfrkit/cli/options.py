"""Options that several commands have, written once, and groups of them as one argument.

What is the same in every per-image command comes as one argument `run`; what masks are worn, in
commands that draw them on the way, as one argument `worn`.
"""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from mfrkit.config import Cluster, RunOptions, Shard, default_workers
from mfrkit.errors import InputError

Command = Callable[..., None]


def option_group(name: str, collect: Callable[..., Any]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command a group of options.

    Written once, they cannot come to mean different things in different commands.

    Args:
        name: the command's keyword argument that receives what `collect` returns.
        collect: takes the options as its parameters, annotated as Typer wants them.
    """

    def decorate(command: Command) -> Command:
        own, group = inspect.signature(command), inspect.signature(collect)
        kept = [parameter for parameter in own.parameters.values() if parameter.name != name]

        @functools.wraps(command)
        def with_group(**values: Any) -> None:
            collected = collect(**{option: values.pop(option) for option in group.parameters})
            command(**{name: collected}, **values)

        merged = own.replace(parameters=[*kept, *group.parameters.values()])
        with_group.__signature__ = merged  # type: ignore[attr-defined]
        with_group.__annotations__ = {p.name: p.annotation for p in merged.parameters.values()}
        return with_group

    return decorate


Force = Annotated[bool, typer.Option("--force", "-f", help="Replace an earlier result.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of everything random.")
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Colour = Annotated[
    str | None,
    typer.Option("--colour", help="RGB or BGR, as a model of another program is fed."),
]
Mean = Annotated[
    str | None,
    typer.Option("--mean", help="Subtracted from values in 0..1: 0.5, 127.5/255 or R,G,B."),
]
Std = Annotated[
    str | None,
    typer.Option("--std", help="What they are then divided by: 0.5, 1/255 or R,G,B."),
]
ImageFormat = Annotated[
    str, typer.Option("--format", help="png (lossless) or jpg (quality 95, a third of the size).")
]


def default_input(given: str | None, default: str, maker: str) -> str:
    """Return the input a command was given, or the default one if it is there.

    Args:
        given: the argument, if any.
        default: the name used in a working folder.
        maker: the command that makes it, for the message.

    Raises:
        InputError: nothing given, and the default is not there.
    """
    if given is not None:
        return given
    if not Path(default).exists():
        raise InputError(f"{default}: not here yet; {maker} makes it, or name another input")
    return default


Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", help="Threads that read and write pictures.", show_default="processors"
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", help="Pictures per network call.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be done.")]
ShardOption = Annotated[
    str, typer.Option("--shard", metavar="I/N", help="Take part I of N of the inputs.")
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|auto|ADDRESS",
        help="Spread the work over a Ray cluster (extra `cluster`): local starts one here.",
        show_default=False,
    ),
]
Summary = Annotated[
    bool, typer.Option("--json", help="With --cluster: print one JSON object, with each node.")
]
MaxSkipped = Annotated[
    float | None,
    typer.Option(
        "--max-skipped",
        help="Exit with 3 if a larger share of the inputs is skipped.",
        show_default="any but all",
    ),
]


def run_options(
    workers: Workers = None,
    batch_size: BatchSize = 32,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    shard: ShardOption = "1/1",
    max_skipped: MaxSkipped = None,
    cluster: ClusterOption = None,
    json: Summary = False,
) -> RunOptions:
    """Collect the shared options.

    Raises:
        InputError: a value no run can use.
    """
    if json and cluster is None:
        raise InputError("--json: sums up a run on a --cluster; other runs print their records")
    return RunOptions(
        workers=default_workers() if workers is None else workers,
        batch_size=batch_size,
        device=device,
        resume=resume,
        force=force,
        dry_run=dry_run,
        shard=Shard.parse(shard),
        max_skipped=max_skipped,
        cluster=None if cluster is None else Cluster(cluster, workers, json),
    )


takes_run_options = option_group("run", run_options)
"""Give a per-image command the shared options; it receives them as its argument `run`."""


Source = Annotated[
    str | None,
    typer.Argument(metavar="SRC", help="Crops or photos: folder, picture, manifest or -."),
]
Types = Annotated[
    str | None,
    typer.Option(
        "--type",
        help="Mask kinds with weights: surgical:3,n95:1,cloth:1; or all. --list shows them.",
        show_default="surgical,n95,cloth",
    ),
]
Color = Annotated[
    str | None, typer.Option("--color", help="Colours, by name or #rrggbb, separated by commas.")
]
Texture = Annotated[
    str | None, typer.Option("--texture", help="Textures of cloth masks, separated by commas.")
]
Coverage = Annotated[
    str | None,
    typer.Option("--coverage", help="How far up the nose: above, on, below, chin; with weights."),
]
Template = Annotated[
    Path | None,
    typer.Option("--template", help="Your own mask: a PNG, its six points in a .json beside it."),
]
WornFrom = Annotated[
    Path | None,
    typer.Option(
        "--worn-from", metavar="FILE", help="Masks off photos, as cut-masks makes them: type worn."
    ),
]
CheckTemplate = Annotated[
    bool,
    typer.Option("--check-template", help="Draw the template with its points, say what is wrong."),
]
ListKinds = Annotated[
    bool, typer.Option("--list", help="Print the kinds of mask; --preview draws each.")
]
Specs = Annotated[
    Path | None,
    typer.Option("--specs", help="Draw the masks of this manifest again, matched by key."),
]
Variants = Annotated[int, typer.Option("--variants", help="Masked versions of each picture.")]
Probability = Annotated[
    float, typer.Option("--probability", help="Share of faces that get a mask, 0 to 1.")
]
Jitter = Annotated[
    float, typer.Option("--jitter", help="How differently masks sit; 0 wears all alike.")
]
Region = Annotated[
    str,
    typer.Option("--region", help="PNG of the covered region: soft, exact (0 or 255), both, none."),
]
Detector = Annotated[
    str,
    typer.Option(
        "--detector",
        help="Finds faces where SRC has no landmarks: auto, yunet, mtcnn, face-alignment or none.",
    ),
]
Preview = Annotated[
    Path | None, typer.Option("--preview", help="Write a contact sheet of the first faces.")
]


class WornMasks(TypedDict):
    """What is worn, under the names of `mfrkit.stages.options.SynthMaskOptions`."""

    types: str | None
    color: str | None
    texture: str | None
    coverage: str | None
    jitter: float


def worn_masks(
    types: Types = None,
    color: Color = None,
    texture: Texture = None,
    coverage: Coverage = None,
    jitter: Jitter = 1.0,
) -> WornMasks:
    """Collect the options that say what is worn."""
    return WornMasks(types=types, color=color, texture=texture, coverage=coverage, jitter=jitter)


takes_worn_masks = option_group("worn", worn_masks)
"""Give a command these options; it receives them as its argument `worn`."""
