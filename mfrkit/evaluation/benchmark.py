"""The masked-face benchmark: every model on a pair list unmasked, half masked and masked.

Thresholds are set on unmasked pairs and kept for the masked conditions, as in NIST's reports on
face masks (NISTIR 8311): whoever runs a system set its threshold before the masks came.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.assess import Assessment, assess
from mfrkit.evaluation.benchmark_sets import (
    BenchmarkFolder,
    BenchmarkSets,
    ModelFiles,
    Perform,
    embedded_models,
    label_of,
    perform_here,
    prepare,
    unpacked,
)
from mfrkit.evaluation.evaluate import show, to_document, write_files
from mfrkit.evaluation.options import EvalOptions
from mfrkit.evaluation.paper_tables import BOTH, PROBE, UNMASKED, PaperTables, read_results
from mfrkit.evaluation.results import SystemResult
from mfrkit.evaluation.threshold_file import write_thresholds
from mfrkit.io.documents import json_file
from mfrkit.io.files import write_whole
from mfrkit.io.manifest import MANIFEST
from mfrkit.models.cards import ASSUMED, Feeding
from mfrkit.models.loading import is_foreign


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to compare.

    Attributes:
        sets: the images and how they are prepared.
        models: bundled names or model files, no two with the same name.
        fmr: FMRs in (0, 1] at which the thresholds are set.
        ci: confidence of intervals in per cent; None for none.
        missing: as for `mfrkit eval`.
        json: print one JSON object instead of the tables.
        tables: for a paper.
        fed: how models of other programs are fed.

    Raises:
        InputError: on construction, for a value no run can use.
    """

    sets: BenchmarkSets
    models: tuple[str, ...]
    fmr: tuple[float, ...] = (1e-2, 1e-3)
    ci: float | None = None
    missing: str = "reject"
    json: bool = False
    tables: PaperTables = field(default_factory=PaperTables)
    fed: Feeding = ASSUMED

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is prepared."""
        if not self.models:
            raise InputError("no model given; name one with --model")
        labels = [label_of(model) for model in self.models]
        if len(set(labels)) != len(labels):
            raise InputError(f"two models are called alike: {', '.join(sorted(labels))}")
        if self.fed != ASSUMED and not any(map(is_foreign, self.models)):
            raise InputError("--colour, --mean and --std are for models of other programs")
        EvalOptions(self.sets.pairs, fmr=self.fmr, ci=self.ci, missing=self.missing)


def benchmark(options: BenchmarkOptions, console: Console, perform: Perform = perform_here) -> None:
    """Prepare what is missing, evaluate every model under every condition, write one report.

    Args:
        options: what to compare.
        console: narration and results.
        perform: runs the stages that prepare.

    Raises:
        InputError: a folder that was begun with other options, or whatever a step refuses.
        PartialError: no photo gave a face.
    """
    sets = options.sets
    if sets.run.dry_run:
        _announce(options, console)
        return
    if sets.masks and not sets.masks_photos and sets.mask_on is None:
        console.info("the pictures are crops already: masks are drawn on crops, not on photos")
    # An attempt that made no crops, say for a wrong path, does not bind the next one.
    folder = BenchmarkFolder(sets.folder, anew=sets.run.force or not sets.crops.exists())
    folder.begin(sets.begun())
    sets = unpacked(sets, console)
    prepare(sets, options.models, console, perform, fed=options.fed)
    files = embedded_models(sets, folder.add([label_of(each) for each in options.models]), console)
    asked = EvalOptions(
        pairs=sets.pairs,
        missing=options.missing,
        ci=options.ci,
        seed=sets.seed,
        fmr=options.fmr,
        far=tuple(dict.fromkeys((*EvalOptions.far, *options.tables.far))),
        force=True,  # the figures follow from the embeddings and take seconds
    )
    found = _assess_conditions(sets, files, asked, console)
    shown = _with_outputs(asked, sets, found.results)
    write_files(found, shown)
    document = to_document(found, shown)
    write_whole(sets.folder / "results.json", json_file(document))
    options.tables.write(document)
    if options.json:
        console.data(json.dumps(document, ensure_ascii=False))
    else:
        show(found, shown, console)
    _tell(options.tables, console)
    console.info(f"look at {shown.report}")


def tabulate(folder: Path, tables: PaperTables, console: Console) -> None:
    """Write tables for a paper from a finished benchmark, without computing anything again.

    Raises:
        InputError: no finished benchmark, or one without such figures.
    """
    tables.write(read_results(folder))
    _tell(tables, console)


def _tell(tables: PaperTables, console: Console) -> None:
    for path in tables.paths:
        console.info(f"wrote {path}")


def _assess_conditions(
    sets: BenchmarkSets, files: Sequence[ModelFiles], asked: EvalOptions, console: Console
) -> Assessment:
    """Assess every model unmasked, then under masks at the thresholds that were set so."""
    clean = tuple(model.clean for model in files)
    masked = tuple(model.masked for model in files if model.masked is not None)
    names = [model.label for model in files]
    if not masked:
        return assess(replace(asked, embeddings=clean, names=tuple(names)), console)
    unmasked = assess(_named(asked, names, UNMASKED, embeddings=clean), console)
    kept = replace(asked, fmr=(), threshold=_keep_thresholds(sets, unmasked))
    by = {"by": ("mask", "coverage"), "covariates": sets.masked / MANIFEST}
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


def _keep_thresholds(sets: BenchmarkSets, unmasked: Assessment) -> Path | None:
    """Write the thresholds; None if the list is too short to set any."""
    settings = [
        (result.attributes, [fixed.setting for fixed in result.fixed])
        for result in unmasked.results
    ]
    if not any(each.calibration.is_supported for _, system in settings for each in system):
        return None
    path = sets.folder / "thresholds.json"
    write_thresholds(path, unmasked.pairs.path, settings)
    return path


def _with_outputs(
    asked: EvalOptions, sets: BenchmarkSets, results: Sequence[SystemResult]
) -> EvalOptions:
    """Say what is written, and where the page finds each system's pictures."""
    folder = sets.folder
    both_masked = [result.label.endswith(BOTH) for result in results]
    return replace(
        asked,
        embeddings=tuple(result.embeddings for result in results),
        crops=tuple(str(sets.masked if masked else sets.crops) for masked in both_masked),
        probe_crops=(str(sets.masked),) if sets.masks else (),
        scores=folder / "scores.tsv",
        table=folder / "tables.md",
        report=folder / "report.html",
    )


def _announce(options: BenchmarkOptions, console: Console) -> None:
    sets = options.sets
    console.info(f"would benchmark {', '.join(options.models)} -> {sets.folder}")
    settings: dict[str, Any] = {
        "pairs": str(sets.pairs),
        "images": sets.images,
        "detector": sets.detector,
        "landmarks": sets.align_options().fitted_by,
        "masks": _masks_in_words(sets),
        "seed": sets.seed,
        "fmr": options.fmr,
    }
    for name, value in settings.items():
        console.info(f"  {name} = {value}")


def _masks_in_words(sets: BenchmarkSets) -> str:
    if not sets.masks:
        return "none are drawn"
    return f"{sets.types or 'the default kinds'}, on {'photos' if sets.masks_photos else 'crops'}"
