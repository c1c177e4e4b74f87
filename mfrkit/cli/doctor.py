"""mfrkit doctor."""

import json

import typer

from mfrkit.errors import MfrError
from mfrkit.options import Json


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
