"""Embedding spaces side by side: one space whose cosine is the weighted mean of theirs.

Unit vectors laid in a row, each times the root of its share, are unit vectors again, and the
cosine of two of them is the mean of the spaces' cosines: fusion of features and of scores in one.
No torch here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from mfrkit.errors import InputError


def shares_of(weights: Sequence[float], count: int, what: str) -> tuple[float, ...]:
    """Return weights whose sum is 1, one a space; none weighs all alike.

    Raises:
        InputError: another number of weights than there are of `what`.

    Example:
        >>> shares_of((3, 1), 2, "files"), shares_of((), 2, "files")
        ((0.75, 0.25), (0.5, 0.5))
    """
    if weights and len(weights) != count:
        raise InputError(f"--weights: {len(weights)} for {count} {what}; give each one")
    weights = weights or [1.0] * count
    return tuple(weight / sum(weights) for weight in weights)


def side_by_side(
    units: Sequence[Any], shares: Sequence[float], join: Callable[[list[Any], int], Any]
) -> Any:
    """Lay unit vectors (N, D) of each space in a row; arrays or tensors, and what joins them."""
    return join([each * math.sqrt(share) for each, share in zip(units, shares, strict=True)], 1)
