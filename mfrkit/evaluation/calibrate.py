"""Thresholds of a recogniser, from everybody compared with everybody, into its card."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.all_pairs import count_pairs
from mfrkit.evaluation.results import percent, scientific
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing
from mfrkit.metrics.calibration import ENOUGH_ERRORS
from mfrkit.metrics.rates import operating_point
from mfrkit.models.cards import MASKED, MIXED, UNMASKED, ModelCard, Operating
from mfrkit.models.registry import read_card, read_tensors, write_model

RATES = (1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class CalibrateOptions:
    """What to set thresholds on.

    Attributes:
        model: recogniser: bundled name or model file of mfrkit.
        output: model file to write.
        unmasked: embeddings of bare faces, with identities; None for none.
        masked: of masked faces, likewise; a masked version of a photo has the photo's key.
        fmr: false match rates, in (0, 1).
        force: replace an output there is.
    """

    model: str
    output: Path
    unmasked: Path | None = None
    masked: Path | None = None
    fmr: Sequence[float] = RATES
    force: bool = False


def calibrate(options: CalibrateOptions, console: Console) -> None:
    """Write the model anew with thresholds in its card; states not measured keep theirs.

    Raises:
        InputError: the output exists; no embeddings, or of another model or without mirror image;
            pictures of nobody; rates outside (0, 1).
        WeightsError: the model is damaged.
    """
    refuse_existing(options.output, force=options.force)
    if not all(0 < rate < 1 for rate in options.fmr):
        raise InputError(f"--fmr {list(options.fmr)}: expected rates between 0 and 1")
    card = read_card(options.model)[0]
    found = {}
    for state, files in _comparisons(options):
        for file in files:
            _check_origin(file, card)
        found[state] = _thresholds(files, options.fmr, console)
    rows = [
        [
            state,
            scientific(point.fmr),
            f"{point.threshold:.4f}",
            percent(point.fnmr),
            str(point.genuine),
            str(point.impostors),
        ]
        for state, points in found.items()
        for point in points
    ]
    if not rows:
        raise InputError("too few comparisons for any rate asked for; thirty false matches needed")
    tensors = read_tensors(options.model)[1]
    made = replace(card, name=options.output.stem, thresholds={**card.thresholds, **found})
    write_model(options.output, tensors, made)
    columns = ["state", "FMR", "threshold", "FNMR %", "genuine", "impostors"]
    console.table(f"{card.name}: thresholds", columns, rows)
    console.info(f"{options.model} -> {options.output}")


def _comparisons(options: CalibrateOptions) -> Iterator[tuple[str, tuple[Path, ...]]]:
    bare, masked = options.unmasked, options.masked
    if bare is None and masked is None:
        raise InputError("nothing to measure: give --unmasked, --masked, or both")
    if bare is not None:
        yield UNMASKED, (bare,)
    if bare is not None and masked is not None:
        yield MIXED, (bare, masked)
    if masked is not None:
        yield MASKED, (masked,)


def _check_origin(file: Path, card: ModelCard) -> None:
    with EmbeddingReader(file) as reader:
        made, flip = reader.attributes.get("weights_sha256"), reader.attributes.get("flip")
    if made is not None and made != card.sha256:
        raise InputError(f"{file}: embeddings of another model; embed with {card.name}")
    if flip is not None and not flip:
        raise InputError(
            f"{file}: embedded with --no-flip; the thresholds of a card are for faces averaged "
            "with their mirror image"
        )


def _thresholds(
    files: tuple[Path, ...], rates: Sequence[float], console: Console
) -> tuple[Operating, ...]:
    """Return the thresholds that rest on enough comparisons, lowest first.

    Convention:
        Enough are thirty false matches, so that the rate is within 30 % of the true one with 90 %
        confidence (Doddington's rule; ISO/IEC 19795-1, annex B), if comparisons were independent.
    """
    pairs = count_pairs(files, "drop", console)
    totals, curve = pairs.totals, pairs.histogram.roc
    named = " and ".join(map(str, files))
    if not totals.genuine or not totals.impostor:
        raise InputError(f"{named}: no person has two photos, or there is only one person")
    points = []
    for rate in sorted(rates, reverse=True):
        if totals.impostor * rate < ENOUGH_ERRORS:
            console.warn(f"{named}: {totals.impostor} impostor pairs are too few for FMR {rate:g}")
            continue
        point = operating_point(curve, rate)
        points.append(
            Operating(
                fmr=rate,
                threshold=point.threshold,
                fnmr=round(point.fnmr, 6),
                genuine=totals.genuine,
                impostors=totals.impostor,
            )
        )
    return tuple(points)
