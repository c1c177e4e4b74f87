"""mfrkit synth-mask."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import takes
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.stages.options import SynthMaskOptions


@takes(SynthMaskOptions)
def synth_mask(
    ctx: typer.Context,
    options: SynthMaskOptions,
    *,
    check: Annotated[
        bool,
        typer.Option(
            "--check-template", help="Draw the template with its points, say what is wrong."
        ),
    ] = False,
    list_kinds: Annotated[
        bool, typer.Option("--list", help="Print the kinds of mask; --preview draws each.")
    ] = False,
) -> None:
    """Put a synthetic mask on every face and record exactly what was drawn.

    SRC is crops/ unless named. The same seed gives the same bytes, whatever the batch size, the
    shard or the number of workers (without a GPU, processes from 512 pictures on).

    Example: mfrkit synth-mask demo/crops -o masked --type surgical:3,cloth:1 --seed 7
    """
    if list_kinds or check:
        _show_sheet(options, list_kinds, ctx.obj)
        return
    from mfrkit.cluster.spread import spread
    from mfrkit.stages.synth_mask import synth_mask as run

    spread(run, options, ctx.obj)


def _show_sheet(options: SynthMaskOptions, kinds: bool, console: Console) -> None:
    """Draw all kinds, or a template with its points, instead of masking anything."""
    from mfrkit.stages.mask_sheets import check_template, list_kinds

    template, sheet, force = options.template, options.preview, options.run.force
    if kinds:
        list_kinds(sheet, seed=options.seed, force=force, console=console)
    elif template is None:
        raise InputError("--check-template: which one? name it with --template my.png")
    else:
        check_template(
            template, sheet or Path(f"{template.stem}-check.png"), force=force, console=console
        )
