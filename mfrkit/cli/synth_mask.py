"""mfrkit synth-mask."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli import options as mask
from mfrkit.cli.options import ImageFormat, Seed, default_input, takes_run_options
from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError


@takes_run_options
def synth_mask(
    ctx: typer.Context,
    source: mask.Source = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path(
        "masked"
    ),
    types: mask.Types = None,
    color: mask.Color = None,
    texture: mask.Texture = None,
    coverage: mask.Coverage = None,
    template: mask.Template = None,
    worn_from: mask.WornFrom = None,
    check: mask.CheckTemplate = False,
    list_kinds: mask.ListKinds = False,
    specs: mask.Specs = None,
    seed: Seed = 0,
    variants: mask.Variants = 1,
    probability: mask.Probability = 1.0,
    jitter: mask.Jitter = 1.0,
    region: mask.Region = "soft",
    detector: mask.Detector = "auto",
    preview: mask.Preview = None,
    image_format: ImageFormat = "png",
    *,
    run: RunOptions,
) -> None:
    """Put a synthetic mask on every face and record exactly what was drawn.

    SRC is crops/ unless named. The same seed gives the same bytes, whatever the batch size, the
    shard or the number of workers (without a GPU, processes from 512 pictures on).

    Example: mfrkit synth-mask demo/crops -o masked --type surgical:3,cloth:1 --seed 7
    """
    if list_kinds or check:
        _show_sheet(None if list_kinds else template, preview, list_kinds, seed, run, ctx.obj)
        return
    source = default_input(source, "crops", "mfrkit align PHOTOS")
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.options import SynthMaskOptions
    from mfrkit.stages.synth_mask import synth_mask as run_stage

    options = SynthMaskOptions(
        source=source,
        output=output,
        types=types,
        color=color,
        texture=texture,
        coverage=coverage,
        probability=probability,
        jitter=jitter,
        template=template,
        worn_from=worn_from,
        specs=specs,
        seed=seed,
        variants=variants,
        region=region,
        detector=detector,
        preview=preview,
        image_format=image_format,
        run=run,
    )
    spread(run_stage, options, ctx.obj)


def _show_sheet(
    template: Path | None, sheet: Path | None, kinds: bool, seed: int, run: RunOptions, to: Console
) -> None:
    """Draw all kinds, or a template with its points, instead of masking anything."""
    if not kinds and template is None:
        raise InputError("--check-template: which one? name it with --template my.png")
    from mfrkit.stages.mask_sheets import check_template, list_kinds

    if template is None:
        list_kinds(sheet, seed=seed, force=run.force, console=to)
    else:
        sheet = sheet or Path(f"{template.stem}-check.png")
        check_template(template, sheet, force=run.force, console=to)
