"""The masked-face benchmark: every model on a pair list unmasked, half masked and masked.

Thresholds are set on unmasked pairs and kept for the masked conditions, as in NIST's face mask
effects reports (NISTIR 8311): whoever runs a system set its threshold before the masks came.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import write_whole
from mfrkit.stages.benchmark_sets import BenchmarkSets, ModelFiles, prepare
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.evaluate import evaluate


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to compare.

    Attributes:
        sets: the images and how they are prepared.
        models: bundled names or model files.
        fmr: FMRs in (0, 1] at which the thresholds are set.
        ci: confidence of intervals in per cent; None for none.
        missing: as for `mfrkit eval`.
        json: print one JSON object instead of the tables.
    """

    sets: BenchmarkSets
    models: tuple[str, ...]
    fmr: tuple[float, ...] = (1e-2, 1e-3)
    ci: float | None = None
    missing: str = "reject"
    json: bool = False

    def __post_init__(self) -> None:
        """Refuse values no run can use, before anything is prepared."""
        if not self.models:
            raise InputError("no model given; name one with --model")
        EvalOptions(self.sets.pairs, fmr=self.fmr, ci=self.ci, missing=self.missing)


def benchmark(options: BenchmarkOptions, console: Console) -> None:
    """Prepare what is missing, evaluate every model under every condition, write one report.

    Raises:
        InputError: whatever a step refuses.
        PartialError: no photo gave a face.
    """
    sets = options.sets
    if sets.run.dry_run:
        _announce(options, console)
        return
    files = prepare(sets, options.models, console)
    systems = conditions(files)
    folder = sets.folder
    common = EvalOptions(
        pairs=sets.pairs,
        embeddings=tuple(system.first for system in systems),
        probes=tuple(system.second for system in systems),
        names=tuple(system.name for system in systems),
        missing=options.missing,
        ci=options.ci,
        seed=sets.seed,
        force=True,  # the figures follow from the embeddings and take seconds
    )
    if sets.masks:
        thresholds = folder / "thresholds.json"
        _set_thresholds(common, systems, options.fmr, thresholds, console)
        common = replace(common, threshold=thresholds, by=("mask", "coverage"))
    else:
        common = replace(common, fmr=options.fmr)
    shown = replace(
        common, json=options.json, scores=folder / "scores.tsv", report=folder / "report.html"
    )
    records = evaluate(shown, console)
    content = json.dumps(records, indent=2, ensure_ascii=False).encode()
    write_whole(folder / "results.json", content + b"\n")
    console.info(f"look at {folder / 'report.html'}")


@dataclass(frozen=True)
class Condition:
    """One model under one condition.

    Attributes:
        name: in tables.
        first: embeddings of each pair's first image.
        second: of its second image.
    """

    name: str
    first: Path
    second: Path


def conditions(files: Sequence[ModelFiles]) -> list[Condition]:
    """Return every model unmasked, with the probe masked, and with both images masked.

    Example:
        >>> only = ModelFiles("arcface", Path("c.h5"), Path("m.h5"))
        >>> [condition.name for condition in conditions([only])]
        ['arcface unmasked', 'arcface probe masked', 'arcface both masked']
    """
    found = []
    for model in files:
        if model.masked is None:
            found.append(Condition(model.label, model.clean, model.clean))
            continue
        found += [
            Condition(f"{model.label} unmasked", model.clean, model.clean),
            Condition(f"{model.label} probe masked", model.clean, model.masked),
            Condition(f"{model.label} both masked", model.masked, model.masked),
        ]
    return found


def _set_thresholds(
    common: EvalOptions,
    systems: Sequence[Condition],
    fmr: tuple[float, ...],
    path: Path,
    console: Console,
) -> None:
    """Set each model's thresholds on its unmasked pairs."""
    unmasked = [system for system in systems if system.name.endswith(" unmasked")]
    quiet = Console(min(console.verbosity, 0) - 1, passes_records=False)
    evaluate(
        replace(
            common,
            embeddings=tuple(system.first for system in unmasked),
            probes=(),
            names=tuple(system.name for system in unmasked),
            ci=None,
            fmr=fmr,
            threshold_out=path,
        ),
        quiet,
    )


def _announce(options: BenchmarkOptions, console: Console) -> None:
    sets = options.sets
    console.info(f"would benchmark {', '.join(options.models)} -> {sets.folder}")
    settings: dict[str, Any] = {
        "pairs": str(sets.pairs),
        "images": sets.images,
        "detector": sets.detector,
        "masks": (sets.types or "the default kinds") if sets.masks else "none are drawn",
        "seed": sets.seed,
        "fmr": options.fmr,
    }
    for name, value in settings.items():
        console.info(f"  {name} = {value}")
