"""Thresholds on disk: set on one list, used on another, never with another model.

One JSON object: `schema`, `mfrkit`, and `thresholds`, one object for each system and rate: the
model, the hash of its weights, flip averaging, the pair list, where on it the threshold was set,
the rate asked for, the threshold, and what it achieved there with all counts.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mfrkit import __version__
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.results import plain
from mfrkit.evaluation.thresholds import Setting, setting_from_record, setting_record
from mfrkit.io.documents import json_file, read_json_object
from mfrkit.io.files import write_whole

SCHEMA = 1
_MADE_BY = ("weights_sha256", "model", "flip")


def write_thresholds(
    path: Path, pairs: Path, systems: Iterable[tuple[Mapping[str, Any], Iterable[Setting]]]
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
        | setting_record(setting)
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
                (record, setting_from_record(record, path.name))
                for record in document["thresholds"]
            ]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path}: not a file of thresholds; --threshold-out writes one"
            ) from error

    def settings_for(
        self, attributes: Mapping[str, Any], embeddings: Path, console: Console
    ) -> list[Setting]:
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


def _name(made: Mapping[str, Any]) -> str:
    digest = str(made.get("weights_sha256") or "unknown")
    return f"{made.get('model') or 'an unnamed model'} (weights {digest[:12]})"
