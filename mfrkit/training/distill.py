"""Distil a mask-robust recogniser: crops and a teacher in, one model file out.

Methods trained in phases are runs of their own, one after another: each phase writes a model file
and has a run folder beside it, and the next one starts from the file. So a phase can be repeated,
continued, or replaced by a model from elsewhere. A method that trains on templates instead of
pictures builds its run itself (`TemplateMethod`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from mfrkit import __version__
from mfrkit.config import TEACHER
from mfrkit.console import Console
from mfrkit.errors import InputError, instead
from mfrkit.io.files import refuse_existing
from mfrkit.methods import METHODS
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.method import (
    GeneratorPhase,
    Method,
    MethodParts,
    ModelOptions,
    PhasedMethod,
    Preset,
    Teachers,
    choose,
)
from mfrkit.methods.real_masks import (
    OtherViewLoss,
    PortraitLoss,
    RealOptions,
    UnnamedOptions,
    WornLosses,
)
from mfrkit.methods.views import ViewOptions
from mfrkit.models.device import compile_in_place
from mfrkit.models.engine import fused_or_blocked
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser
from mfrkit.training.checks import PairCheck
from mfrkit.training.data import Batches, RawBatch, TrainSet, open_train_set, told
from mfrkit.training.fit import Check
from mfrkit.training.inpaint import resolve as resolve_generator
from mfrkit.training.inpaint import train_inpaint
from mfrkit.training.options import DistillRequest
from mfrkit.training.real_faces import open_real, open_unnamed
from mfrkit.training.run import Build, Built, Trained, deal_out, paired_views, run
from mfrkit.training.settings import (
    CardOptions,
    FitOptions,
    MaskSettings,
    RunSettings,
    read_toml,
    resolve_settings,
)
from mfrkit.training.teacher_cache import TeacherCache, fingerprint, write_cache
from mfrkit.training.world import World, join_world


@dataclass(frozen=True)
class Settings(RunSettings):
    """Every setting of a run, checked.

    Attributes:
        method: of the class that is the method's own.
        real: how really masked faces take part, if there are any.
        unnamed: likewise, those without names.
    """

    model: ModelOptions
    method: Any
    views: ViewOptions
    masks: MaskSettings
    real: RealOptions
    unnamed: UnnamedOptions
    fit: FitOptions
    card: CardOptions


@dataclass(frozen=True)
class TemplateMethod:
    """A method that has its run to itself: no student sees a picture, no views are shown.

    Attributes:
        options: dataclass of the settings' table `method`.
        build: makes the parts of a run.
        presets: named settings.
    """

    options: type[Any]
    build: Build
    presets: Mapping[str, Preset]


def are_template_files(sources: Sequence[str]) -> bool:
    """Whether data to train on are embedding files, by their names."""
    return all(Path(source).suffix in (".h5", ".hdf5") for source in sources)


def load_method(name: str) -> Method | TemplateMethod | PhasedMethod:
    """Return a method by its name.

    Raises:
        InputError: no such method.
    """
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}{instead(name, [*METHODS])}")
    found: Method | TemplateMethod | PhasedMethod = import_module(METHODS[name]).METHOD
    return found


def find_method(name: str, phase: int = 0) -> Method | TemplateMethod:
    """Return a method, or the phase of it with this number, from 1.

    Raises:
        InputError: no such method, or no such phase of it that distils.

    Example:
        >>> find_method("g2d", 2).presets["paper"]["model"]["student"]
        'resnet22'
    """
    method = load_method(name)
    if not isinstance(method, PhasedMethod):
        if phase:
            raise InputError(f"--phase {phase}: {name} is trained in one run; leave it out")
        return method
    found = dict(enumerate(method.phases.values(), 1)).get(phase)
    if found is None or isinstance(found, GeneratorPhase):
        raise InputError(f"method {name}: phase {phase} is none that distils")
    return found


def resolve(request: DistillRequest) -> Settings:
    """Return the settings of a run, checked.

    Raises:
        InputError: an unknown table, name, method or preset, or a value that cannot be used.
    """
    method = find_method(request.method, request.phase)
    return resolve_settings(request, Settings, method.presets, method=method.options)


def distill(request: DistillRequest, console: Console) -> Trained:
    """Train a student, in as many phases as its method has, and write it; errors as `run`."""
    if request.pair_crops is not None and request.pairs is None:
        raise InputError("--pair-crops needs --pairs, the list to check on")
    method = load_method(request.method)
    if isinstance(method, PhasedMethod):
        return _run_phases(request, method, console)
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


def build(
    method: Method,
    request: DistillRequest,
    settings: Settings,
    device: torch.device,
    world: World,
    console: Console,
) -> Built:
    """Load, build and connect teachers, student, task, data, views and checks."""
    data = told(open_train_set(request.data), console)
    recognisers = [load_recogniser(name) for name in request.teachers]
    student = method.student(settings.model, settings.method, recognisers[0])
    size = _common_size([student, *recognisers])
    beside, really_worn = _really_masked(
        request, settings, method, recognisers, size, world, console
    )
    batches = deal_out(data, size, settings, request.seed, world, beside=beside)
    parts = MethodParts(
        student=student,
        teachers=Teachers([_fast(each, device) for each in recognisers]),
        people=data.identities,
        templates_known=request.teacher_cache is not None,
        recognisers=recognisers,
        views=settings.views,
        steps=settings.fit.total_steps(batches.steps_per_epoch),
        really_worn=really_worn,
    )
    task = method.build(parts, settings.method)  # before the cache: what it refuses costs nothing
    if isinstance(task.student, Recogniser):
        student = task.student  # a method may have added to it
    cache = _cache(request, recognisers, data, world, console)
    student.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.fit.compile:
        compile_in_place(task.compiled())
    views = paired_views(settings.views, device, settings.masks.renderer())

    def show(raw: RawBatch) -> FaceBatch:
        batch = views(raw)
        if cache is None:
            return batch
        template, centre = cache(raw.index), cache.centres(raw.index)
        return replace(batch, template=template.to(device), centre=centre.to(device))

    return Built(
        task=task.to(device),
        network=student.network,
        card=replace(
            student.card,
            licence="not stated; depends on the data and the teacher",
            source=f"mfrkit {__version__}, distilled from {', '.join(request.teachers)}",
            paper=method.paper,
        ),
        batches=batches,
        show=show,
        device=device,
        check=_pair_check(request, settings, student) if world.writes else None,
    )


def _really_masked(
    request: DistillRequest,
    settings: Settings,
    method: Method,
    teachers: list[Recogniser],
    size: tuple[int, int],
    world: World,
    console: Console,
) -> tuple[dict[str, Batches], WornLosses]:
    """Find the faces that really wear masks and embed what they are held to."""
    batches: dict[str, Batches] = {}
    losses, workers, seed = WornLosses(), request.run.threads, request.seed
    for option, sources in (("--real", request.real), ("--unnamed", request.unnamed)):
        if sources and not method.takes_real:
            raise InputError(f"{option}: method {request.method} takes no really masked faces")
    if request.real:
        real = open_real(request.real, settings.real, size)
        console.info(f"real: {real.summary}")
        batches["real"] = real.batches(settings.real, settings.views, size, seed, world)
        losses.real = PortraitLoss(real.templates(teachers, workers), settings.real)
    if request.unnamed:
        unnamed = open_unnamed(request.unnamed)
        console.info(f"unnamed: {unnamed.summary}")
        batches["unnamed"] = unnamed.batches(
            settings.unnamed, settings.views, settings.masks.parsed(), size, seed, world
        )
        losses.unnamed = OtherViewLoss(unnamed.anchors(teachers, workers), settings.unnamed)
    return batches, losses


def _pair_check(request: DistillRequest, settings: Settings, student: Recogniser) -> Check | None:
    if request.pairs is None:
        return None
    check = PairCheck(
        request.pairs,
        request.pair_crops or request.data[0],
        masks=settings.masks.always(),
        workers=request.run.threads,
        renderer=settings.masks.renderer(),
    )
    return partial(check, student)


def _fast(recogniser: Recogniser, device: torch.device) -> Recogniser:
    """Return a teacher that computes the same faster where there is a way."""
    stand_in = fused_or_blocked(recogniser.network) if device.type == "cpu" else None
    return recogniser if stand_in is None else Recogniser(stand_in, recogniser.card)


def _common_size(recognisers: list[Recogniser]) -> tuple[int, int]:
    sizes = {each.card.input_size or (0, 0) for each in recognisers}
    size = recognisers[0].card.input_size
    if len(sizes) > 1 or size is None:
        raise InputError(f"student and teachers take crops of different sizes: {sorted(sizes)}")
    return size


def _cache(
    request: DistillRequest,
    recognisers: list[Recogniser],
    data: TrainSet,
    world: World,
    console: Console,
) -> TeacherCache | None:
    path = request.teacher_cache
    if path is None:
        return None
    if not path.exists() and world.writes and not request.run.dry_run:
        write_cache(path, recognisers, data, request.run.threads, console)
    world.wait()
    if not path.exists():
        return None  # a dry run makes none
    return TeacherCache(path, fingerprint(recognisers, data))


@dataclass(frozen=True)
class _Phase:
    """A phase of this run.

    Attributes:
        trains: what is trained.
        request: what is asked of it.
        start: model file of the phase before; None for the first.
    """

    name: str
    trains: Method | GeneratorPhase
    request: DistillRequest
    start: Path | None

    @property
    def needs_labels(self) -> bool:
        return isinstance(self.trains, Method) and self.trains.needs_labels

    def check(self) -> bool:
        """Tell whether what the phase starts from is there; raise for settings it cannot use."""
        generator = isinstance(self.trains, GeneratorPhase)
        settings = resolve_generator(self.request) if generator else resolve(self.request)
        return self.start is None or self.start.exists() or settings.model.init != str(self.start)


def _run_phases(request: DistillRequest, method: PhasedMethod, console: Console) -> Trained:
    """Train all phases of a method, or the one asked for; returns what the last one made."""
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
            train = train_inpaint if isinstance(phase.trains, GeneratorPhase) else _distill
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
    labelled = [phase for phase in phases if phase.needs_labels]
    if labelled and len(open_train_set(request.data).identities) < 2:
        raise InputError(
            f"phase {labelled[0].request.phase}, {labelled[0].name}, needs labels: a folder for "
            "each person, or records with identity; --phase runs the others one by one"
        )
    return ready


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
    )
    phase = _Phase(name, trains, own, start)
    if phase.needs_labels:  # what it learns does not show in pairs, and no teacher says
        unasked = replace(own, pairs=None, pair_crops=None, teacher_cache=None)
        phase = replace(phase, request=unasked)
    return phase


def _layers(
    request: DistillRequest, names: list[str], name: str, start: Path | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
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
