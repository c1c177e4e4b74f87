"""At which similarity two faces count as one person's: what a recogniser's card says of it.

Masks make strangers alike and one person's photos unlike, so a threshold holds for one state of
the two faces only, and for embeddings averaged with the mirror image, as `embed` makes them.
No torch and no numpy here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The states of two faces, as a card names them.
UNMASKED, MIXED, MASKED = "unmasked-unmasked", "unmasked-masked", "masked-masked"
STATES = (UNMASKED, MIXED, MASKED)


@dataclass(frozen=True, kw_only=True)
class Operating:
    """A threshold, and what it did where it was set.

    Attributes:
        fmr: the false match rate it keeps to there, in (0, 1].
        threshold: cosine similarity; two faces match at this or above.
        fnmr: share of one person's comparisons that miss it, in [0, 1].
        genuine: comparisons of one person.
        impostors: comparisons of two.
    """

    fmr: float
    threshold: float
    fnmr: float
    genuine: int
    impostors: int

    def __post_init__(self) -> None:
        """Refuse what no measurement gives.

        Raises:
            ValueError: a rate, a similarity or a count outside its range.
        """
        within = 0 < self.fmr <= 1 and 0 <= self.fnmr <= 1 and -1 <= self.threshold <= 1.001
        if not within or min(self.genuine, self.impostors) < 1:
            raise ValueError(f"thresholds: {self} is out of range")


Thresholds = Mapping[str, Sequence[Operating]]


def state_of(first_masked: bool, second_masked: bool) -> str:
    """Return what a card calls the state of two faces.

    Example:
        >>> state_of(True, False), state_of(True, True)
        ('unmasked-masked', 'masked-masked')
    """
    return STATES[first_masked + second_masked]


def operating_at(thresholds: Thresholds, state: str, fmr: float) -> Operating | None:
    """Find the threshold set at a rate.

    Args:
        thresholds: of a card.
        state: of the two faces, one of `STATES`.
        fmr: false match rate.

    Returns:
        None if the card has none at this rate.

    Example:
        >>> point = Operating(fmr=0.01, threshold=0.3, fnmr=0.02, genuine=90, impostors=900)
        >>> operating_at({MASKED: [point]}, MASKED, 1e-2).threshold
        0.3
    """
    close = (each for each in thresholds.get(state, ()) if abs(each.fmr - fmr) < 1e-6 * fmr)
    return next(close, None)


def read_thresholds(plain: Any) -> dict[str, tuple[Operating, ...]]:
    """Rebuild thresholds from JSON types; fields of later versions are ignored.

    Args:
        plain: state -> list of objects with the fields of `Operating`, lowest threshold first.

    Raises:
        KeyError: a field is missing.
        TypeError: not of this form.
        ValueError: an unknown state, or a value out of range.
    """
    if not isinstance(plain, Mapping):
        raise TypeError("thresholds is not an object")
    unknown = sorted(set(plain) - set(STATES))
    if unknown:
        raise ValueError(f"thresholds of unknown states: {', '.join(unknown)}")
    return {state: tuple(map(_operating, points)) for state, points in plain.items()}


def _operating(point: Mapping[str, Any]) -> Operating:
    return Operating(
        fmr=float(point["fmr"]),
        threshold=float(point["threshold"]),
        fnmr=float(point["fnmr"]),
        genuine=int(point["genuine"]),
        impostors=int(point["impostors"]),
    )
