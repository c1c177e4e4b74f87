"""Error rates at thresholds that were fixed beforehand: of all pairs, and of groups of them.

Thresholds are kept in a file: set on one list, used on another, never with another model. It is one
JSON object: `schema`, `mfrkit`, and `thresholds`, one object for each system and rate: the model,
the hash of its weights, flip averaging, the pair list, where on it the threshold was set, the rate
asked for, the threshold, and what it achieved there with all counts.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.documents import json_file, read_json_object
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import write_whole
from mfrkit.io.pairs import PairList
from mfrkit.io.tables import Covariates
from mfrkit.metrics.bootstrap import (
    NOWHERE,
    Confidence,
    Interval,
    Outcomes,
    RateIntervals,
    rate_intervals,
)
from mfrkit.metrics.rates import Calibration, Decisions, Floats, supports

ENOUGH_GENUINE = 30
UNMASKED = "unmasked"
THESE = "these pairs"
UNKNOWN = "unknown"
SCHEMA = 1
_MASKED = MappingProxyType({0: "unmasked", 1: "masked"})
_MOST = 250  # groups worth a line each
_MADE_BY = ("weights_sha256", "model", "flip")


@dataclass(frozen=True, eq=False)
class PairGroups:
    """One way to sort P pairs: by a trait, into groups with names; (P,) int64 is each pair's."""

    by: str
    names: tuple[str, ...]
    group: NDArray[np.int64]


def group_pairs(
    pairs: PairList,
    by: str,
    table: Covariates | None,
    first: EmbeddingReader,
    second: EmbeddingReader,
) -> PairGroups:
    """Sort pairs by a trait of their two images, in one embedding file or two.

    Convention:
        A group is the value both images have, or that one has if the other's is unknown, or two
        different values in alphabetical order: `cloth`, `cloth + n95`. Unknown counts as a value
        of `masked` alone.

    Args:
        pairs: the list.
        by: a column of the table, or `masked` or `mask` as the embedding files know them.
        table: traits of images; those of a manifest are the second images' alone if these come
            from a file of their own.
        first: file of the first images.
        second: file of the second images, or `first`.

    Raises:
        InputError: no such trait, or too many different values.
    """
    if table is not None and by in table.columns:
        split = table.is_manifest and second is not first
        a = [""] * len(pairs) if split else _look_up(table, by, pairs.a)
        b = _look_up(table, by, pairs.b)
    elif by in ("masked", "mask"):
        a, b = _stored(first, by, pairs.a), _stored(second, by, pairs.b)
    else:
        raise InputError(f"--by {by}: {_where_to_find(by, table)}")
    labels = [" + ".join(sorted({*both} - {""})) or UNKNOWN for both in zip(a, b, strict=True)]
    names, group = np.unique(np.array(labels), return_inverse=True)
    if names.size > _MOST:
        raise InputError(
            f"--by {by}: {names.size} different groups; put values together first, for example "
            "ages by decade"
        )
    return PairGroups(by, tuple(names.tolist()), group.astype(np.int64, copy=False))


def _look_up(table: Covariates, by: str, keys: Sequence[str]) -> list[str]:
    return [table.rows.get(key, {}).get(by, "") for key in keys]


def _stored(reader: EmbeddingReader, by: str, keys: Sequence[str]) -> list[str]:
    """Return what the embedding file says of each image."""
    masked = reader.masked.tolist()
    if by == "masked":
        missing, known = UNKNOWN, [_MASKED.get(flag, UNKNOWN) for flag in masked]
    else:
        kinds = zip(reader.mask_types, masked, strict=True)
        missing, known = "", [kind or ("no mask" if flag == 0 else "") for kind, flag in kinds]
    rows = reader.index
    return [known[rows[key]] if key in rows else missing for key in keys]


def _where_to_find(by: str, table: Covariates | None) -> str:
    if table is not None:
        columns = ", ".join(table.columns) or "none"
        return f"no such column in {table.path} (there are: {columns}), nor is it masked or mask"
    if by == "coverage":
        return "name the manifest that has it, --covariates masked/manifest.jsonl"
    return "expected masked or mask, or a column of a table given with --covariates"


@dataclass(frozen=True)
class SourcedThreshold:
    """A threshold and where it comes from.

    Attributes:
        calibration: the threshold and what it reached where it was set.
        origin: where that was: `unmasked`, `these pairs`, or the name of a file.
    """

    calibration: Calibration
    origin: str


@dataclass(frozen=True, eq=False)
class Condition:
    """Scores of P pairs, and how to group them; `counted` are the pairs that enter the rates."""

    groups: PairGroups
    scores: Floats
    counted: NDArray[np.bool_]

    def outcomes(self, same: NDArray[np.bool_], threshold: float) -> Outcomes:
        """Apply a threshold."""
        count = len(self.groups.names)
        group = np.where(self.counted, self.groups.group, count)
        return Outcomes(same, self.scores >= threshold, group, count)


class Rate(NamedTuple):
    """An error rate: value, errors, pairs, whether these are enough for it, and where it lies."""

    value: float
    errors: int
    pairs: int
    enough: bool
    interval: Interval


@dataclass(frozen=True)
class GroupRates:
    """The errors of one group of pairs; `by` is empty for all pairs."""

    by: str
    group: str
    decisions: Decisions
    intervals: RateIntervals | None = None

    @property
    def fnmr(self) -> Rate:
        """The false non-match rate, enough if it rests on more than a handful of pairs."""
        found, enough = self.decisions, self.decisions.genuine >= ENOUGH_GENUINE
        ends = self.intervals.fnmr if self.intervals else NOWHERE
        return Rate(found.fnmr, found.false_non_matches, found.genuine, enough, ends)

    def fmr(self, target: float) -> Rate:
        """Return the false match rate, enough if the pairs could show one at the target."""
        found, enough = self.decisions, supports(self.decisions.impostor, target)
        ends = self.intervals.fmr if self.intervals else NOWHERE
        return Rate(found.fmr, found.false_matches, found.impostor, enough, ends)


@dataclass(frozen=True)
class FixedThreshold:
    """A threshold and what it does: no rates if it rests on too few impostors."""

    setting: SourcedThreshold
    rates: tuple[GroupRates, ...]


def apply_threshold(
    setting: SourcedThreshold,
    conditions: Sequence[Condition],
    same: NDArray[np.bool_],
    confidence: Confidence | None,
) -> FixedThreshold:
    """Count the errors of a threshold on P pairs under each condition."""
    if not setting.calibration.is_supported:
        return FixedThreshold(setting, ())
    tables = [each.outcomes(same, setting.calibration.threshold) for each in conditions]
    intervals: Sequence[Sequence[RateIntervals | None]] = [[None] * t.groups for t in tables]
    if confidence is not None:
        intervals = rate_intervals(tables, confidence)
    rates = [
        GroupRates(condition.groups.by, *each)
        for condition, table, found in zip(conditions, tables, intervals, strict=True)
        for each in zip(condition.groups.names, table.decisions(), found, strict=True)
    ]
    return FixedThreshold(setting, tuple(rates))


def threshold_record(fixed: FixedThreshold) -> dict[str, Any]:
    """Return a threshold and its error rates as a plain object."""
    target = fixed.setting.calibration.target
    return {
        **_setting_record(fixed.setting),
        "rates": [
            {
                "by": rates.by or None,
                "group": rates.group,
                **_counts(rates.decisions),
                "accuracy": rates.decisions.accuracy,
                "enough_genuine": rates.fnmr.enough,
                "enough_impostors": rates.fmr(target).enough,
                **({} if rates.intervals is None else {"intervals": asdict(rates.intervals)}),
            }
            for rates in fixed.rates
        ],
    }


def _setting_record(setting: SourcedThreshold) -> dict[str, Any]:
    found = setting.calibration
    return {
        "set_on": setting.origin,
        "target_fmr": found.target,
        "threshold": found.threshold,
        "enough_impostors": found.is_supported,
        "thirty_false_matches": found.has_thirty_errors,
        "achieved": _counts(found.decisions),
    }


def _counts(decisions: Decisions) -> dict[str, Any]:
    return {
        "fmr": decisions.fmr,
        "false_matches": decisions.false_matches,
        "impostor": decisions.impostor,
        "fnmr": decisions.fnmr,
        "false_non_matches": decisions.false_non_matches,
        "genuine": decisions.genuine,
    }


def threshold_from_record(record: Mapping[str, Any]) -> FixedThreshold:
    """Read what `threshold_record` returned; KeyError, TypeError or ValueError if it is none."""
    rates = []
    for each in record["rates"]:
        found = each.get("intervals")
        ends = found and RateIntervals(*(interval_from_record(found[n]) for n in ("fmr", "fnmr")))
        rates.append(GroupRates(each["by"] or "", each["group"], _decisions(each), ends or None))
    return FixedThreshold(_setting_from_record(record, record["set_on"]), tuple(rates))


def _setting_from_record(record: Mapping[str, Any], origin: str) -> SourcedThreshold:
    target, threshold = float(record["target_fmr"]), float(record["threshold"])
    return SourcedThreshold(Calibration(target, threshold, _decisions(record["achieved"])), origin)


def _decisions(record: Mapping[str, Any]) -> Decisions:
    counts = ("genuine", "impostor", "false_non_matches", "false_matches")
    return Decisions(**{name: int(record[name]) for name in counts})


def interval_from_record(record: Mapping[str, float | None]) -> Interval:
    """Read an interval whose ends are None where it is undefined."""
    low, high = record["low"], record["high"]
    return NOWHERE if low is None or high is None else Interval(low, high)


def write_thresholds(
    path: Path, pairs: Path, systems: Iterable[tuple[Mapping[str, Any], Iterable[SourcedThreshold]]]
) -> None:
    """Write the thresholds that rest on enough impostors.

    Args:
        path: file to write.
        pairs: the list they were set on.
        systems: for each system the attributes of its embeddings, and its thresholds.

    Raises:
        InputError: no threshold rests on enough impostors, or two systems are one model.
    """
    records = [
        {name: plain(attributes.get(name)) for name in _MADE_BY}
        | {"pairs": pairs.name}
        | _setting_record(setting)
        for attributes, settings in systems
        for setting in settings
        if setting.calibration.is_supported
    ]
    if not records:
        raise InputError(
            f"{path}: not written: {pairs} has too few impostor pairs for any FMR asked for; "
            "at least 1/FMR are needed"
        )
    different = {json.dumps(record): record for record in records}.values()
    named = {(each["weights_sha256"], each["model"], each["target_fmr"]) for each in different}
    if len(named) < len(different):
        raise InputError(
            f"{path}: not written: two systems are the same model and would leave two thresholds "
            "for it; write them in a run with one of the two"
        )
    document = {"schema": SCHEMA, "mfrkit": __version__, "thresholds": list(different)}
    write_whole(path, json_file(document))


class ThresholdFile:
    """Thresholds set earlier.

    Raises:
        InputError: unreadable, or not a file that `write_thresholds` wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        document = read_json_object(path, "; --threshold-out writes one")
        try:
            if document["schema"] != SCHEMA:
                raise InputError(f"{path}: schema {document['schema']!r}; this version reads 1")
            self._records = [
                (record, _setting_from_record(record, path.name))
                for record in document["thresholds"]
            ]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path}: not a file of thresholds; --threshold-out writes one"
            ) from error

    def settings_for(
        self, attributes: Mapping[str, Any], embeddings: Path, console: Console
    ) -> list[SourcedThreshold]:
        """Return the thresholds of the model that made some embeddings.

        Raises:
            InputError: there are none, only those of other models.
        """
        found = [entry for entry in self._records if _fits(entry[0], attributes)]
        if not found:
            held = sorted({_name(record) for record, _ in self._records})
            raise InputError(
                f"{self.path}: holds thresholds of {', '.join(held) or 'nothing'}, but "
                f"{embeddings} was made by {_name(attributes)}; another model's threshold means "
                "nothing, set one with --threshold-out"
            )
        for name in _MADE_BY:
            made, here = found[0][0].get(name), attributes.get(name)
            if made != here:
                console.warn(f"{self.path} and {embeddings} differ in {name}: {made} and {here}")
        return [setting for _, setting in found]


def _fits(record: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    """Compare the weights, or the names where a foreign file has no hash."""
    for name in ("weights_sha256", "model"):
        if record.get(name) is not None and attributes.get(name) is not None:
            return bool(record[name] == attributes[name])
    return True


def plain(value: Any) -> Any:
    """Keep an attribute of a foreign file only if JSON can hold it."""
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _name(made: Mapping[str, Any]) -> str:
    digest = str(made.get("weights_sha256") or "unknown")
    return f"{made.get('model') or 'an unnamed model'} (weights {digest[:12]})"
