"""The masked-face benchmark: every model on a pair list unmasked, half masked and masked.

Masks are drawn on the photos, so that a face has to be found and aligned under its mask, as in
life; drawn on the crops of the unmasked photos instead, they measure recognition alone. Each step
is an ordinary stage with its result in a folder of the benchmark, which remembers what it was begun
with (`benchmark.json`). A step that is done is not done again, so an interrupted run goes on where
it was, and another model costs its embeddings only.

Thresholds are set on unmasked pairs and kept for the masked conditions, as in NIST's reports on
face masks (NISTIR 8311): whoever runs a system set its threshold before the masks came.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.assess import Assessment, assess
from mfrkit.evaluation.benchmark_options import BenchmarkOptions, far_in, label_of
from mfrkit.evaluation.evaluate import show, to_document, write_files
from mfrkit.evaluation.options import FAR, EvalOptions
from mfrkit.evaluation.paper_tables import (
    BOTH,
    PROBE,
    UNMASKED,
    read_results,
    refuse_others,
    write_tables,
)
from mfrkit.evaluation.results import SystemResult
from mfrkit.evaluation.thresholds import write_thresholds
from mfrkit.io.documents import json_file, read_json_object
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import write_whole
from mfrkit.io.manifest import MANIFEST, check_inside
from mfrkit.models.cards import ASSUMED
from mfrkit.models.loading import is_foreign, recogniser_card
from mfrkit.options import declared
from mfrkit.stages.align import align
from mfrkit.stages.embed import EmbedOptions, embed
from mfrkit.stages.pack import PAIRS, unpack_bin
from mfrkit.stages.sink import Tally
from mfrkit.stages.synth_mask import synth_mask


class BenchmarkFolder:
    """A folder that holds the sets of one pair list, made in one way, for any number of models.

    Made anew, it forgets what it was begun with, and removes embeddings, since their crops will go.

    Raises:
        InputError: a damaged `benchmark.json`.
    """

    def __init__(self, path: Path, *, anew: bool) -> None:
        self._path, self._file = path, path / "benchmark.json"
        known = {} if anew else _read(self._file)
        self._options: dict[str, Any] = known.get("options", {})
        self.models: list[str] = known.get("models", [])
        self._anew = anew

    def begin(self, wanted: Mapping[str, Any]) -> None:
        """Note the options the sets are made with, if they agree with those they were begun with.

        One that earlier runs did not need is new.

        Raises:
            InputError: an option has another value than it had.
        """
        for name, value in wanted.items():
            found = self._options.get(name, value)
            if found != value:
                raise InputError(
                    f"{self._path}: was begun with {_in_words(name, found, value)}; name another "
                    "folder with --output, or begin again with --force"
                )
        if self._anew:
            for path in (self._path / "embeddings").glob("*.h5"):
                path.unlink()
        self._options.update(wanted)
        self._write()

    def add(self, models: Sequence[str]) -> list[str]:
        """Note further models; returns the labels of all, in the order they came."""
        self.models = list(dict.fromkeys([*self.models, *models]))
        self._write()
        return self.models

    def _write(self) -> None:
        content = {"mfrkit": __version__, "options": self._options, "models": self.models}
        write_whole(self._file, json_file(content))


def _in_words(name: str, found: Any, wanted: Any) -> str:
    if name == "pairs":
        return f"another pair list (its {found}; here {wanted})"
    if name == "images":
        return f"the pictures in {found}, not those in {wanted}"
    flag = next(each.flag for each in declared(BenchmarkOptions) if each.field.name == name)
    if found is None:
        return f"no {flag}, not {flag} {wanted}"
    return f"{flag} {found}, not " + (f"without {flag}" if wanted is None else f"{wanted}")


def _read(path: Path) -> dict[str, Any]:
    """Read the file; empty if there is none."""
    if not path.exists():
        return {}
    remedy = "; begin again with --force, or name another --output"
    found = read_json_object(path, remedy)
    models = found.get("models")
    if not isinstance(found.get("options"), dict) or not isinstance(models, list):
        raise InputError(f"{path}: not what a benchmark was begun with{remedy}")
    for model in models:
        if not isinstance(model, str):
            raise InputError(f"{path}: {model!r} is no name of a model{remedy}")
        check_inside(model, str(path))
    return found


Perform = Callable[[Callable[[Any, Console], Tally], Any, Console], Tally]
"""Runs a stage with its options, on this machine or on others."""


def _unpacked(options: BenchmarkOptions, console: Console) -> BenchmarkOptions:
    """Unpack a verification file (`.bin`) beside the crops, once; folders stay as they are."""
    if not options.is_verification_file:
        return options
    folder = options.output / "unpacked"
    if options.run.force or not (folder / PAIRS).exists():
        quiet = Console(console.verbosity, passes_records=False)
        unpack_bin(Path(str(options.images)), folder, quiet, force=True)
    return replace(options, pairs=folder / PAIRS, images=str(folder))


def _perform_here(stage: Callable[[Any, Console], Tally], options: Any, console: Console) -> Tally:
    return stage(options, console)


def _prepare(options: BenchmarkOptions, console: Console, perform: Perform) -> None:
    """Make what is missing of crops, masked crops and embeddings; `perform` runs the stages."""
    feedings = [options.fed if is_foreign(model) else ASSUMED for model in options.models]
    cards = [recogniser_card(*each) for each in zip(options.models, feedings, strict=True)]
    steps = replace(options, run=replace(options.run, resume=not options.run.force))

    def told(about: str) -> Console:
        return Console(console.verbosity, passes_records=False, about=about)

    perform(align, steps.align_options(), told("unmasked"))
    if steps.masks:
        perform(synth_mask, steps.mask_options(), told("photos" if steps.masks_photos else "crops"))
    if steps.masks_photos:
        perform(align, steps.align_options(masked=True), told("masked"))
    for model, card, fed in zip(options.models, cards, feedings, strict=True):
        for crops, path in zip(steps.compared, steps.embeddings(label_of(model)), strict=True):
            stale = path.exists() and not _made_by(path, card.sha256)
            run = replace(steps.run, resume=False, force=True) if stale else steps.run
            path.parent.mkdir(parents=True, exist_ok=True)
            about = f"{label_of(model)}, {'unmasked' if crops == steps.crops else 'masked'}"
            perform(embed, EmbedOptions(str(crops), path, model, fed=fed, run=run), told(about))


def _embedded_models(
    options: BenchmarkOptions, labels: Sequence[str], console: Console
) -> dict[str, list[Path]]:
    """Return the files of those models whose faces are all embedded; says which are not."""
    found = {label: options.embeddings(label) for label in labels}
    for label, paths in [*found.items()]:
        if not all(path.exists() for path in paths):
            console.info(f"{label}: left out, not embedded for this; name it with --model again")
            del found[label]
    return found


def _made_by(path: Path, sha256: str | None) -> bool:
    """Whether embeddings come from these weights, averaged with the mirror image."""
    with EmbeddingReader(path) as reader:
        found = reader.attributes
        return found.get("weights_sha256") == sha256 and bool(found.get("flip"))


def benchmark(
    options: BenchmarkOptions, console: Console, perform: Perform = _perform_here
) -> None:
    """Prepare what is missing, evaluate every model under every condition, write one report.

    Without a pair list, tables for a paper are written from a finished benchmark, and nothing is
    computed again. `perform` runs the stages that prepare.

    Raises:
        InputError: a folder that was begun with other options, or whatever a step refuses.
        PartialError: no photo gave a face.
    """
    refuse_others(options)
    if options.pairs is None:
        write_tables(read_results(options.output), options, console)
        return
    options = options.located()
    if options.run.dry_run:
        _announce(options, console)
        return
    if options.masks and not options.masks_photos and options.mask_on is None:
        console.info("the pictures are crops already: masks are drawn on crops, not on photos")
    # An attempt that made no crops, say for a wrong path, does not bind the next one.
    folder = BenchmarkFolder(options.output, anew=options.run.force or not options.crops.exists())
    folder.begin(options.begun())
    options = _unpacked(options, console)
    _prepare(options, console, perform)
    files = _embedded_models(options, folder.add([label_of(m) for m in options.models]), console)
    fars = (far_in(name) for name in options.figures)
    asked = EvalOptions(
        pairs=options.pairs,
        missing=options.missing,
        ci=options.ci,
        seed=options.seed,
        fmr=options.fmr,
        far=tuple(dict.fromkeys((*FAR, *(far for far in fars if far is not None)))),
        force=True,  # the figures follow from the embeddings and take seconds
    )
    found = _assess_conditions(options, files, asked, console)
    shown = _with_outputs(asked, options, found.results)
    write_files(found, shown)
    document = to_document(found, shown)
    write_whole(options.output / "results.json", json_file(document))
    if options.json:
        console.data(json.dumps(document, ensure_ascii=False))
    else:
        show(found, shown, console)
    write_tables(document, options, console)
    console.info(f"look at {shown.report}")


def _assess_conditions(
    options: BenchmarkOptions,
    files: Mapping[str, list[Path]],
    asked: EvalOptions,
    console: Console,
) -> Assessment:
    """Assess every model unmasked, then under masks at the thresholds that were set so."""
    names, (clean, *others) = list(files), zip(*files.values(), strict=True)
    if not others:
        return assess(replace(asked, embeddings=clean, names=tuple(names)), console)
    masked = others[0]
    unmasked = assess(_named(asked, names, UNMASKED, embeddings=clean), console)
    kept = replace(asked, fmr=(), threshold=_keep_thresholds(options, unmasked))
    by = {"by": ("mask", "coverage"), "covariates": options.masked / MANIFEST}
    conditions = [
        unmasked,
        assess(_named(kept, names, PROBE, embeddings=clean, probes=masked, **by), console),
        assess(_named(kept, names, BOTH, embeddings=masked), console),
    ]
    return Assessment(
        unmasked.pairs,
        [result for model in zip(*(each.results for each in conditions), strict=True)
         for result in model],
        [comparison for each in conditions for comparison in each.comparisons],
        unmasked.confidence,
    )  # fmt: skip


def _named(asked: EvalOptions, models: Sequence[str], condition: str, **more: Any) -> EvalOptions:
    return replace(asked, names=tuple(f"{model} {condition}" for model in models), **more)


def _keep_thresholds(options: BenchmarkOptions, unmasked: Assessment) -> Path | None:
    """Write the thresholds; None if the list is too short to set any."""
    settings = [
        (result.attributes, [fixed.setting for fixed in result.fixed])
        for result in unmasked.results
    ]
    if not any(each.calibration.is_supported for _, system in settings for each in system):
        return None
    path = options.output / "thresholds.json"
    write_thresholds(path, unmasked.pairs.path, settings)
    return path


def _with_outputs(
    asked: EvalOptions, options: BenchmarkOptions, results: Sequence[SystemResult]
) -> EvalOptions:
    """Say what is written, and where the page finds each system's pictures."""
    folder = options.output
    both_masked = [result.label.endswith(BOTH) for result in results]
    return replace(
        asked,
        embeddings=tuple(result.embeddings for result in results),
        crops=tuple(str(options.masked if masked else options.crops) for masked in both_masked),
        probe_crops=(str(options.masked),) if options.masks else (),
        scores=folder / "scores.tsv",
        table=folder / "tables.md",
        report=folder / "report.html",
    )


def _announce(options: BenchmarkOptions, console: Console) -> None:
    console.info(f"would benchmark {', '.join(options.models)} -> {options.output}")
    settings: dict[str, Any] = {
        "pairs": str(options.pairs),
        "images": options.images,
        "detector": options.detector,
        "landmarks": options.align_options().fitted_by,
        "masks": _masks_in_words(options),
        "seed": options.seed,
        "fmr": options.fmr,
    }
    for name, value in settings.items():
        console.info(f"  {name} = {value}")


def _masks_in_words(options: BenchmarkOptions) -> str:
    if not options.masks:
        return "none are drawn"
    where = "photos" if options.masks_photos else "crops"
    return f"{options.types or 'the default kinds'}, on {where}"
