"""Distil a mask-robust recogniser: crops and a teacher in, one model file out."""

from functools import partial

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.stages.distill_options import DistillRequest, resolve
from mfrkit.stages.distill_parts import build
from mfrkit.stages.train_run import Plan, Trained, train


def distill(request: DistillRequest, console: Console) -> Trained:
    """Train a student and write it.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a teacher that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    settings = resolve(request)
    if request.pair_crops is not None and request.pairs is None:
        raise InputError("--pair-crops needs --pairs, the list to check on")
    tables = settings.to_json()
    recipe = {
        "method": request.method,
        "teachers": list(request.teachers),
        "data": list(request.data),
        "seed": request.seed,
        "teacher_cache": request.teacher_cache is not None,
        **tables,
    }
    plan = Plan(
        command="distill",
        what=f"distill {request.method} from {', '.join(request.teachers)}",
        tables=tables,
        recipe=recipe,
        fit=settings.fit,
        card=settings.card,
        build=partial(build, request, settings),
    )
    return train(request, plan, console)
