"""Distil a mask-robust recogniser: crops and a teacher in, one model file out."""

from dataclasses import replace
from functools import partial

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.stages.distill_methods import METHODS, find_method
from mfrkit.stages.distill_options import resolve
from mfrkit.stages.distill_parts import build
from mfrkit.stages.distill_phases import run_phases
from mfrkit.stages.distill_settings import DistillRequest
from mfrkit.stages.method import Method, PhasedMethod
from mfrkit.stages.presets import choose
from mfrkit.stages.template_method import TemplateMethod
from mfrkit.stages.template_set import are_template_files
from mfrkit.stages.train_run import Plan, Trained, train


def distill(request: DistillRequest, console: Console) -> Trained:
    """Train a student and write it.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a teacher that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    if request.pair_crops is not None and request.pairs is None:
        raise InputError("--pair-crops needs --pairs, the list to check on")
    method = choose("method", request.method, METHODS)
    if isinstance(method, PhasedMethod):
        return run_phases(request, method, _distill, console)
    return _distill(request, console)


def _distill(request: DistillRequest, console: Console) -> Trained:
    """Train a student in one run."""
    method = find_method(request.method, request.phase)
    request = _with_teacher(request, method)
    settings = resolve(request)
    tables = settings.to_json()
    recipe = {
        "method": request.method,
        "teachers": list(request.teachers),
        "data": list(request.data),
        "real_data": list(request.real),
        "unnamed_data": list(request.unnamed),
        "seed": request.seed,
        "teacher_cache": request.teacher_cache is not None,
        **tables,
    }
    plan = Plan(
        command="distill",
        what=f"distill {request.method} from {', '.join(request.teachers or request.data)}",
        tables=tables,
        recipe=recipe,
        fit=settings.fit,
        card=settings.card,
        build=partial(method.build, request, settings)
        if isinstance(method, TemplateMethod)
        else partial(build, request, settings, method),
    )
    return train(request, plan, console)


def _with_teacher(request: DistillRequest, method: Method | TemplateMethod) -> DistillRequest:
    """Name the default teacher where none is named, but for templates that are made already."""
    if isinstance(method, TemplateMethod) and are_template_files(request.data):
        if request.teachers:
            raise InputError(f"{request.data[0]}: holds a recogniser's templates, so no --teacher")
        return request
    return replace(request, teachers=request.teachers or ("arcface",))
