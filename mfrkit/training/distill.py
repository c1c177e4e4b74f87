"""Distil a mask-robust recogniser: crops and a teacher in, one model file out.

Methods trained in phases are runs of their own, one after another: each phase writes a model file
and has a run folder beside it, and the next one starts from the file. So a phase can be repeated,
continued, or replaced by a model from elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mfrkit.config import TEACHER
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing
from mfrkit.methods.method import GeneratorPhase, Method, PhasedMethod, choose
from mfrkit.training.build import build
from mfrkit.training.data import open_train_set
from mfrkit.training.distill_settings import Settings, TemplateMethod, find_method, load_method
from mfrkit.training.eum_templates import are_template_files
from mfrkit.training.inpaint import resolve as resolve_generator
from mfrkit.training.inpaint import train_inpaint
from mfrkit.training.options import DistillRequest
from mfrkit.training.run import Trained, run
from mfrkit.training.settings import (
    read_toml,
    resolve_settings,
)
from mfrkit.training.world import join_world


def resolve(request: DistillRequest) -> Settings:
    """Return the settings of a run, checked.

    Raises:
        InputError: an unknown table, name, method or preset, or a value that cannot be used.
    """
    method = find_method(request.method, request.phase)
    return resolve_settings(request, Settings, method.presets, method=method.options)


Distill = Callable[[DistillRequest, Console], Trained]
Tables = Mapping[str, Any]


@dataclass(frozen=True)
class _Phase:
    """A phase of this run.

    Attributes:
        name: of the phase.
        trains: what is trained.
        request: what is asked of it.
        start: model file of the phase before; None for the first.
    """

    name: str
    trains: Method | GeneratorPhase
    request: DistillRequest
    start: Path | None

    def check(self) -> bool:
        """Tell whether what the phase starts from is there; raise for settings it cannot use."""
        generator = isinstance(self.trains, GeneratorPhase)
        request = self.request
        settings = resolve_generator(request) if generator else resolve(request)
        return self.start is None or self.start.exists() or settings.model.init != str(self.start)


def run_phases(
    request: DistillRequest, method: PhasedMethod, distill: Distill, console: Console
) -> Trained:
    """Train all phases of a method, or the one that is asked for.

    Args:
        request: of the whole; `phase` chooses.
        method: what the phases are.
        distill: trains a phase that distils.
        console: narration.

    Returns:
        What the last of them made.

    Raises:
        InputError: no such phase, settings a phase cannot use, no start for a single phase, no
            labels where a phase needs them; or as the phases' own runs.
    """
    names = list(method.phases)
    if request.phase not in range(len(names) + 1):
        known = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
        raise InputError(f"--phase {request.phase}: {request.method} has {known}")
    numbers = [request.phase] if request.phase else range(1, len(names) + 1)
    phases = [_phase(request, method, number) for number in numbers]
    ready = _check_phases(request, phases)
    world, _ = join_world(request.run.device)
    try:
        made = Trained(None, 0, {})
        for phase, starts in zip(phases, ready, strict=True):
            told = f"phase {phase.request.phase}, {phase.name}"
            if request.run.dry_run and not starts:
                console.info(f"{told}: starts from {phase.start}, which is still to be made")
                continue
            console.info(told)
            train = train_inpaint if isinstance(phase.trains, GeneratorPhase) else distill
            made = train(phase.request, console)
        return made
    finally:
        world.close()


def phase_output(output: Path, names: list[str], number: int) -> Path:
    """Return the model file of a phase; the last one's is the output itself.

    Example:
        >>> phase_output(Path("g2d.safetensors"), ["encoder", "reformer"], 1).name
        'g2d-encoder.safetensors'
    """
    if number == len(names):
        return output
    return output.with_name(f"{output.stem}-{names[number - 1]}{output.suffix}")


def _check_phases(request: DistillRequest, phases: list[_Phase]) -> list[bool]:
    """Find at once what would stop a phase hours from now; returns whose start is there."""
    ready = [phase.check() for phase in phases]
    if not (request.run.resume or request.run.dry_run):
        for phase in phases:
            refuse_existing(phase.request.output, force=request.run.force)
    if request.phase and not ready[0]:
        before = request.phase - 1
        raise InputError(
            f"{phases[0].start}: not there; --phase {before} makes it, --init names another start"
        )
    labelled = [phase for phase in phases if _needs_labels(phase.trains)]
    if labelled and len(open_train_set(request.data).identities) < 2:
        raise InputError(
            f"phase {labelled[0].request.phase}, {labelled[0].name}, needs labels: a folder for "
            "each person, or records with identity; --phase runs the others one by one"
        )
    return ready


def _needs_labels(trains: Method | GeneratorPhase) -> bool:
    return isinstance(trains, Method) and trains.needs_labels


def _phase(request: DistillRequest, method: PhasedMethod, number: int) -> _Phase:
    """Return a phase as a request of its own."""
    names = list(method.phases)
    name = names[number - 1]
    trains, preset = method.phases[name], request.preset
    student, init = request.student, request.init
    start = phase_output(request.output, names, number - 1) if number > 1 else None
    if init == "auto" or (start is not None and not request.phase):
        init = None  # for all phases, it names what the first one starts from
    if isinstance(trains, GeneratorPhase):
        preset = choose("preset", preset, trains.presets)
        student, init = None, "" if init == "scratch" else init
    # What a classifier learns does not show in pairs, and no teacher says.
    compared = not _needs_labels(trains)
    own = replace(
        request,
        output=phase_output(request.output, names, number),
        phase=number,
        preset=preset,
        layers=tuple(_layers(request, names, name, start)),
        config=None,
        assignments=tuple(_assignments(request, names, name)),
        student=student,
        init=init,
        pairs=request.pairs if compared else None,
        pair_crops=request.pair_crops if compared else None,
        teacher_cache=request.teacher_cache if compared else None,
    )
    return _Phase(name, trains, own, start)


def _layers(
    request: DistillRequest, names: list[str], name: str, start: Path | None
) -> Iterator[tuple[str, Tables]]:
    """Yield a phase's start, then the file's tables that count for all phases, then its own."""
    if start is not None:
        yield f"phase {name}", {"model": {"init": str(start)}}
    if request.config is not None:
        where, tables = str(request.config), read_toml(request.config)
        yield where, {key: table for key, table in tables.items() if key not in names}
        own = tables.get(name, {})
        if not isinstance(own, Mapping):
            raise InputError(f"{where}: {name} is a phase; its settings are tables, [{name}.fit]")
        yield f"{where}, {name}", own


def _assignments(request: DistillRequest, names: list[str], name: str) -> Iterator[str]:
    """Yield the assignments that count for a phase: `fit.lr=1`, or its own, `encoder.fit.lr=1`."""
    for text in request.assignments:
        first, _, rest = text.partition(".")
        if first.strip() not in names:
            yield text
        elif first.strip() == name:
            yield rest


def distill(request: DistillRequest, console: Console) -> Trained:
    """Train a student and write it.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a teacher that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    if request.pair_crops is not None and request.pairs is None:
        raise InputError("--pair-crops needs --pairs, the list to check on")
    method = load_method(request.method)
    if isinstance(method, PhasedMethod):
        return run_phases(request, method, _distill, console)
    return _distill(request, console)


def _distill(request: DistillRequest, console: Console) -> Trained:
    """Train a student in one run."""
    method = find_method(request.method, request.phase)
    request = _with_teacher(request, method)
    return run(
        request,
        resolve(request),
        method.build if isinstance(method, TemplateMethod) else partial(build, method),
        "distill",
        f"distill {request.method} from {', '.join(request.teachers or request.data)}",
        console,
        method=request.method,
        teachers=list(request.teachers),
        real_data=list(request.real),
        unnamed_data=list(request.unnamed),
        teacher_cache=request.teacher_cache is not None,
    )


def _with_teacher(request: DistillRequest, method: Method | TemplateMethod) -> DistillRequest:
    """Name the default teacher where none is named, but for templates that are made already."""
    if isinstance(method, TemplateMethod) and are_template_files(request.data):
        if request.teachers:
            raise InputError(f"{request.data[0]}: holds a recogniser's templates, so no --teacher")
        return request
    return replace(request, teachers=request.teachers or (TEACHER,))
