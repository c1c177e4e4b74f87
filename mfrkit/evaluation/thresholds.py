"""Error rates at thresholds that were fixed beforehand: of all pairs, and of groups of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.evaluation.subjects import Confidence, PairGroups
from mfrkit.metrics.bootstrap import Interval
from mfrkit.metrics.calibration import (
    Calibration,
    Decisions,
    Outcomes,
    RateIntervals,
    rate_intervals,
)
from mfrkit.metrics.rates import Floats, supports

ENOUGH_GENUINE = 30
UNMASKED = "unmasked"
THESE = "these pairs"


@dataclass(frozen=True)
class Setting:
    """A threshold and where it comes from.

    Attributes:
        calibration: the threshold and what it reached where it was set.
        origin: where that was: `unmasked`, `these pairs`, or the name of a file.
    """

    calibration: Calibration
    origin: str


@dataclass(frozen=True, eq=False)
class Condition:
    """Scores of the P pairs, and how to group them.

    Attributes:
        groups: which pairs belong together.
        scores: (P,) float64, similarities; -inf marks a failed comparison.
        counted: (P,) bool, the pairs that enter the rates.
    """

    groups: PairGroups
    scores: Floats
    counted: NDArray[np.bool_]

    def outcomes(self, same: NDArray[np.bool_], threshold: float) -> Outcomes:
        """Apply a threshold."""
        count = len(self.groups.names)
        group = np.where(self.counted, self.groups.group, count)
        return Outcomes(same, self.scores >= threshold, group, count)


@dataclass(frozen=True)
class GroupRates:
    """The errors of one group of pairs.

    Attributes:
        by: the trait behind the group; empty for all pairs.
        group: its name.
        decisions: comparisons and errors.
        intervals: where the rates lie, if asked for.
    """

    by: str
    group: str
    decisions: Decisions
    intervals: RateIntervals | None = None

    @property
    def has_enough_genuine(self) -> bool:
        """Whether the FNMR rests on more than a handful of comparisons."""
        return self.decisions.genuine >= ENOUGH_GENUINE

    def has_enough_impostors(self, target: float) -> bool:
        """Whether the group could show a false match at this rate."""
        return supports(self.decisions.impostor, target)


@dataclass(frozen=True)
class FixedThreshold:
    """A threshold and what it does to the pairs that are evaluated.

    Attributes:
        setting: the threshold and its origin.
        rates: of all pairs and of each group; empty if the threshold rests on too few impostors.
    """

    setting: Setting
    rates: tuple[GroupRates, ...]


def apply_thresholds(
    settings: Sequence[Setting],
    conditions: Sequence[Condition],
    same: NDArray[np.bool_],
    confidence: Confidence | None,
) -> tuple[FixedThreshold, ...]:
    """Count the errors of each threshold under each condition.

    Args:
        settings: the thresholds.
        conditions: scores and groups of the same P pairs.
        same: (P,) bool, whether the two images show one person.
        confidence: how intervals are made; None for none.

    Returns:
        One entry a threshold, in their order.
    """
    return tuple(_apply(setting, conditions, same, confidence) for setting in settings)


def _apply(
    setting: Setting,
    conditions: Sequence[Condition],
    same: NDArray[np.bool_],
    confidence: Confidence | None,
) -> FixedThreshold:
    if not setting.calibration.is_supported:
        return FixedThreshold(setting, ())
    tables = [each.outcomes(same, setting.calibration.threshold) for each in conditions]
    intervals: Sequence[Sequence[RateIntervals | None]]
    if confidence is None:
        intervals = [[None] * table.groups for table in tables]
    else:
        intervals = rate_intervals(tables, confidence.people, confidence.level, confidence.seed)
    rates = [
        GroupRates(condition.groups.by, name, decisions, found)
        for condition, table, row in zip(conditions, tables, intervals, strict=True)
        for name, decisions, found in zip(
            condition.groups.names, table.decisions(), row, strict=True
        )
    ]
    return FixedThreshold(setting, tuple(rates))


def threshold_record(fixed: FixedThreshold) -> dict[str, Any]:
    """Return a threshold and its error rates as a plain object."""
    target = fixed.setting.calibration.target
    return {
        **setting_record(fixed.setting),
        "rates": [
            {
                "by": rates.by or None,
                "group": rates.group,
                **_counts(rates.decisions),
                "accuracy": rates.decisions.accuracy,
                "enough_genuine": rates.has_enough_genuine,
                "enough_impostors": rates.has_enough_impostors(target),
                **({} if rates.intervals is None else {"intervals": asdict(rates.intervals)}),
            }
            for rates in fixed.rates
        ],
    }


def threshold_from_record(record: Mapping[str, Any]) -> FixedThreshold:
    """Read what `threshold_record` returned.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    rates = tuple(
        GroupRates(each["by"] or "", each["group"], _decisions(each), _intervals(each))
        for each in record["rates"]
    )
    return FixedThreshold(setting_from_record(record, record["set_on"]), rates)


def setting_from_record(record: Mapping[str, Any], origin: str) -> Setting:
    """Read what `setting_record` returned, as coming from somewhere else.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    target, threshold = float(record["target_fmr"]), float(record["threshold"])
    return Setting(Calibration(target, threshold, _decisions(record["achieved"])), origin)


def _decisions(record: Mapping[str, Any]) -> Decisions:
    counts = ("genuine", "impostor", "false_non_matches", "false_matches")
    return Decisions(**{name: int(record[name]) for name in counts})


def _intervals(record: Mapping[str, Any]) -> RateIntervals | None:
    found = record.get("intervals")
    if found is None:
        return None
    return RateIntervals(interval_from_record(found["fmr"]), interval_from_record(found["fnmr"]))


def interval_from_record(record: Mapping[str, float | None]) -> Interval:
    """Read an interval whose ends are None where it is undefined."""
    low, high = record["low"], record["high"]
    return Interval(math.nan, math.nan) if low is None or high is None else Interval(low, high)


def setting_record(setting: Setting) -> dict[str, Any]:
    """Return a threshold and what it reached where it was set as a plain object."""
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
