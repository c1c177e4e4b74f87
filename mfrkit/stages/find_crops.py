"""Look up the crops that a pair list names."""

from collections.abc import Collection
from pathlib import Path

from mfrkit.errors import InputError
from mfrkit.io.packed import Packed
from mfrkit.io.source import open_source


def find_crops(source: str, keys: Collection[str]) -> dict[str, Path | Packed]:
    """Return where the crops of some keys are; those that are not there are left out.

    Args:
        source: a folder, a picture or a manifest.
        keys: names of crops, see `mfrkit.io.manifest.Record`.

    Raises:
        InputError: no such source, or a damaged manifest.
    """
    wanted = frozenset(keys)
    return {
        item.record.key: item.path
        for item in open_source(source)
        if item.path is not None and item.record.key in wanted
    }


def require_crops(source: str, keys: Collection[str], wanted_by: Path) -> dict[str, Path | Packed]:
    """Return where the crops of some keys are, all of them.

    Raises:
        InputError: as `find_crops`, or one is missing; the first few are named.
    """
    found = find_crops(source, keys)
    missing = [key for key in keys if key not in found]
    if missing:
        raise InputError(
            f"{source}: lacks {len(missing)} of the {len(keys)} crops of {wanted_by}: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        )
    return found
