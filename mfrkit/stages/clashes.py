"""Keep the results that an input's key gives rise to apart from those of other inputs.

`--variants 2` makes `x.mask2` of `x`, and `align --select all` makes `x.face2`; either may be an
input's own key as well, and one picture would take the place of the other.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from mfrkit.io.item import Item

Owner = Callable[[str], str | None]
"""Returns the key whose results could have another key's name, None if there is none."""


def numbered(kind: str, last: int = 10**9) -> Owner:
    """Return the owner of keys that end in a number from 2 to `last`: `x` for `x.mask2`.

    Example:
        >>> numbered("mask", 3)("x.mask3"), numbered("mask", 3)("x.mask4")
        ('x', None)
    """
    pattern = re.compile(rf"(.+)\.{kind}([1-9]\d{{0,8}})", re.DOTALL)

    def owner(key: str) -> str | None:
        match = pattern.fullmatch(key)
        return match[1] if match and 2 <= int(match[2]) <= last else None

    return owner


def inside(*folders: str) -> Owner:
    """Return the owner of keys in folders of by-products: `x` for `_regions/x`."""

    def owner(key: str) -> str | None:
        folder, _, rest = key.partition("/")
        return rest if folder in folders and rest else None

    return owner


def either(*owners: Owner) -> Owner:
    """Return the first owner that several rules find."""
    return lambda key: next((who for rule in owners if (who := rule(key)) is not None), None)


def without_clashes(items: Iterable[Item], owner: Owner | None) -> Iterator[Item]:
    """Yield inputs; of two that could want one name, the later one comes as skipped.

    Args:
        items: all inputs, those of other shards too.
        owner: the stage's rule; None for a stage whose results have their inputs' names.
    """
    seen: set[int] = set()  # hashes: a million keys as text would be a few hundred megabytes
    wanted: dict[str, str] = {}  # owner -> the input that has one of its names
    for item in items:
        if owner is None:
            yield item
            continue
        key = item.record.key
        owners = list(_owners(key, owner))
        reason = ""
        if key in wanted:
            reason = f"name taken: what it gives could replace {wanted[key]!r}"
        for who in owners:
            if hash(who) in seen:
                reason = f"name taken: what {who!r} gives could have it"
        if reason:
            yield replace(item, record=item.record.skipped(reason), path=None)
            continue
        seen.add(hash(key))
        wanted |= dict.fromkeys(owners, key)
        yield item


def _owners(key: str, owner: Owner) -> Iterator[str]:
    """Yield a key's owner, and the owner's, as far as there are any."""
    found = owner(key)
    while found is not None:
        yield found
        found = owner(found)
