"""When is a similarity enough? The thresholds of a model's card, by who wears a mask.

Masks lower the similarity of one person's photos, and raise that of two people's: no one
threshold keeps its false match rate with and without them, so a card holds one list of them for
each masked state. A threshold given on the command line, as a number or as a file of
`mfrkit eval --threshold-out`, overrides it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.models.cards import STATES, ModelCard, Operating, state_of
from mfrkit.recognition.options import DEFAULT_FMR, check_rate


@dataclass(frozen=True)
class Threshold:
    """A similarity from which two faces count as one person's, and what to expect of it."""

    value: float
    fmr: float | None = None  # share of pairs of two people that reach it; None: not measured
    fnmr: float | None = None  # share of pairs of one person that do not; None: not measured
    state: str | None = None  # the masked state it is for; None: whatever the state


def possible_states(first: bool | None, second: bool | None) -> list[str]:
    """Name the states two faces may be in; more than one where a mask is in doubt."""
    first_may, second_may = ((False, True) if x is None else (x,) for x in (first, second))
    return sorted({state_of(one, other) for one, other in product(first_may, second_may)})


def fmr_for(fpir: float, people: int) -> float:
    """Return the FMR of one comparison at which strangers are taken for somebody this often.

    A stranger is compared with everybody, and comparisons are taken to err independently:
    FPIR = 1 - (1 - FMR)^K for K people. An FPIR outside (0, 1) is an InputError.

    Example:
        >>> round(fmr_for(0.01, 100), 6)
        0.0001
    """
    check_rate("FPIR", fpir)
    return -math.expm1(math.log1p(-fpir) / people)


def fpir_for(fmr: float, people: int) -> float:
    """Return the FPIR that goes with an FMR; the inverse of `fmr_for`."""
    return -math.expm1(people * math.log1p(-fmr))


def lowest_fmr(card: ModelCard) -> float | None:
    """Return the lowest FMR for which a card has thresholds in all states; None without any."""
    lowest = [min((each.fmr for each in card.thresholds.get(s, ())), default=None) for s in STATES]
    return None if None in lowest else max(rate for rate in lowest if rate is not None)


class Decider:
    """Decides about similarities by the thresholds of a model, or by one given instead.

    Args:
        card: of the model that made the embeddings.
        fmr: share of pairs of two people taken for one, in (0, 1).
        threshold: used whatever the state, instead of the card's.

    Raises:
        InputError: an FMR outside (0, 1), or a threshold outside [-1, 1].
    """

    def __init__(
        self,
        card: ModelCard,
        fmr: float = DEFAULT_FMR,
        threshold: float | Threshold | None = None,
    ) -> None:
        check_rate("FMR", fmr)
        given = Threshold(threshold) if isinstance(threshold, int | float) else threshold
        if given is not None and not -1 <= given.value <= 1:
            raise InputError(f"threshold {given.value:g}: expected a cosine similarity, -1 to 1")
        self._name, self._held = card.name, card.thresholds
        self._fmr, self._given = fmr, given

    @property
    def why_not(self) -> str | None:
        """Why some pairs or all cannot be decided, in words; None if all can."""
        if self._given is not None:
            return None
        if not self._held:
            return (
                f"the card of {self._name} holds no thresholds (mfrkit models calibrate adds "
                "them); no decision without --threshold"
            )
        lacking = ", ".join(s for s in STATES if self._threshold_for([s]) is None)
        if not lacking:
            return None
        return (
            f"the card of {self._name} holds no threshold at FMR {self._fmr:g} for {lacking}; "
            "no decision there, see --threshold"
        )

    def threshold(self, first: bool | None, second: bool | None) -> Threshold | None:
        """Return the threshold for two faces by whether they wear masks; None if there is none.

        A mask in doubt counts as whatever asks for the higher similarity.
        """
        return self._threshold_for(possible_states(first, second))

    def _threshold_for(self, states: Sequence[str]) -> Threshold | None:
        """Return the highest threshold of several masked states; None if one has none."""
        if self._given is not None:
            return self._given
        found = [_at_fmr(self._held.get(state, ()), self._fmr, state) for state in states]
        known = [threshold for threshold in found if threshold is not None]
        return max(known, key=lambda each: each.value) if len(known) == len(found) else None


def _at_fmr(points: Sequence[Operating], fmr: float, state: str) -> Threshold | None:
    """Read a threshold between those measured, linearly in the logarithm of the FMR.

    Beyond them nothing is known; the lowest FMR measured is no answer to a lower one.
    """
    measured = sorted((each.fmr, each.threshold, each.fnmr) for each in points)
    if not measured or fmr < measured[0][0] * (1 - 1e-9):
        return None
    fmr = min(fmr, measured[-1][0])
    rates, values, misses = (list(column) for column in zip(*measured, strict=True))
    where = [math.log(rate) for rate in rates]
    value, fnmr = (float(np.interp(math.log(fmr), where, each)) for each in (values, misses))
    return Threshold(value, fmr, fnmr, state)


def given_threshold(
    text: str | None, card: ModelCard, fmr: float, console: Console
) -> Threshold | None:
    """Read what `--threshold` says: a cosine similarity, a threshold file, or nothing.

    Raises:
        InputError: neither a number nor a readable file, or a file of another model's thresholds or
            without one for this `fmr`.
    """
    if text is None:
        return None
    try:
        return Threshold(float(text))
    except ValueError:
        path = Path(text)
    if not path.is_file():
        raise InputError(f"--threshold {text}: neither a number nor a file of eval --threshold-out")
    from mfrkit.evaluation.thresholds import ThresholdFile
    from mfrkit.stages.embed import origin  # a number needs none of what files need

    made = origin(card, flip=True)
    settings = ThresholdFile(path).settings_for(made, Path(f"model {card.name}"), console)
    for setting in settings:
        found = setting.calibration
        if abs(found.target - fmr) <= 1e-9 * fmr:
            return Threshold(found.threshold, found.target, found.decisions.fnmr)
    held = ", ".join(f"{setting.calibration.target:g}" for setting in settings)
    raise InputError(f"{path}: no threshold at FMR {fmr:g}, only at {held}; choose with --fmr")
