"""mfrkit demo and doctor: what to begin with."""

import contextlib
import io
import json
from pathlib import Path
from typing import Annotated

import typer

from mfrkit.errors import MfrError
from mfrkit.options import Force, Json


def demo(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("demo"),
    force: Force = False,
) -> None:
    """Run the whole chain on the bundled portraits, in about a minute.

    Prints each command before it runs, so that you can repeat them one by one; ends with a contact
    sheet, the score of every pair, and an HTML report.

    Example: mfrkit demo -o demo
    """
    from mfrkit.cli import app
    from mfrkit.stages import demo as stage

    console = ctx.obj
    flags = {-1: ["--quiet"], 1: ["--verbose"]}.get(console.verbosity, [])
    stage.prepare(output, force=force)
    for arguments in stage.commands(output):
        if arguments[0] == "eval":
            stage.draw_sheet(output)
        console.info(f"$ {stage.as_typed(arguments)}")
        # The records of the per-image stages are for pipelines; here only the tables count.
        records = arguments[0] != "eval"
        with contextlib.redirect_stdout(io.StringIO()) if records else contextlib.nullcontext():
            code = app([*flags, *arguments], standalone_mode=False)
        if code:
            raise typer.Exit(code)
    stage.show_pairs(output, console)
    console.info(f"look at {output / 'sheet.png'} and open {output / 'report.html'}")


def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Check the installation: versions, devices, weights and their hashes, writable folders.

    Exits with 1 when something is wrong, and says what. Changes nothing.

    Example: mfrkit doctor
    """
    from mfrkit.stages.doctor import doctor as run
    from mfrkit.stages.doctor import show

    report = run()
    if as_json:
        ctx.obj.data(json.dumps(report))
    else:
        show(report, ctx.obj)
    if report["problems"]:
        raise MfrError("; ".join(report["problems"]))
