"""mfrkit eval --all-pairs: everybody against everybody, in place of a pair list."""

from pathlib import Path
from typing import Annotated

import typer

from mfrkit.cli.options import default_input
from mfrkit.errors import InputError

AllPairs = Annotated[
    bool,
    typer.Option(
        "--all-pairs",
        help="No pair list: compare all faces of PAIRS, an HDF5 file, or those of two files.",
    ),
]
_UNDERSTOOD = frozenset({"pairs", "embeddings", "probes", "missing", "far", "json", "all_pairs"})


def evaluate_all_pairs(ctx: typer.Context) -> None:
    """Run the mode with what the user gave to `mfrkit eval`."""
    from mfrkit.stages.all_pairs import FAR, AllPairsOptions, all_pairs
    from mfrkit.stages.eval_options import parse_rates

    given = ctx.params
    chosen = {name for name in given if _is_given(ctx, name)}
    if chosen - _UNDERSTOOD:
        name = min(chosen - _UNDERSTOOD).replace("_", "-")
        raise InputError(f"--{name} cannot be used with --all-pairs")
    first = default_input(given["pairs"], "embeddings.h5", "mfrkit embed")
    files = (first, *(given["embeddings"] or ()), *(given["probes"] or ()))
    options = AllPairsOptions(
        files=tuple(Path(path) for path in files),
        missing=given["missing"],
        far=parse_rates(given["far"]) if "far" in chosen else FAR,
        json=given["json"],
    )
    all_pairs(options, ctx.obj)


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
