"""What a benchmark's folder was begun with (`benchmark.json`), and the models compared in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mfrkit import __version__
from mfrkit.errors import InputError
from mfrkit.io.documents import json_file, read_json_object
from mfrkit.io.files import write_whole
from mfrkit.io.manifest import check_inside

Begun = Mapping[str, Any]
_FLAGS = MappingProxyType(
    {name: f"--{name}" for name in ("detector", "landmarks", "color", "texture", "coverage")}
    | {"types": "--type", "jitter": "--jitter", "seed": "--seed"}
)


class BenchmarkFolder:
    """A folder that holds the sets of one pair list, made in one way, for any number of models.

    Args:
        path: the folder; need not exist.
        anew: forget what it was begun with, and remove embeddings, since their crops will go.

    Raises:
        InputError: a damaged `benchmark.json`.
    """

    def __init__(self, path: Path, *, anew: bool) -> None:
        self._path, self._file = path, path / "benchmark.json"
        known = {} if anew else _read(self._file)
        self._options: dict[str, Any] = known.get("options", {})
        self.models: list[str] = known.get("models", [])
        self._anew = anew

    def begin(self, wanted: Begun) -> None:
        """Note what the sets are made with, if it agrees with what they were begun with.

        Args:
            wanted: JSON values by option; one that earlier runs did not need is new.

        Raises:
            InputError: an option has another value than it had.
        """
        for name, value in wanted.items():
            found = self._options.get(name, value)
            if found != value:
                raise InputError(
                    f"{self._path}: was begun with {_in_words(name, found, value)}; name another "
                    "folder with --output, or begin again with --force"
                )
        if self._anew:
            for path in (self._path / "embeddings").glob("*.h5"):
                path.unlink()
        self._options.update(wanted)
        self._write()

    def add(self, models: Sequence[str]) -> list[str]:
        """Note further models; returns the labels of all, in the order they came."""
        self.models = list(dict.fromkeys([*self.models, *models]))
        self._write()
        return self.models

    def _write(self) -> None:
        content = {"mfrkit": __version__, "options": self._options, "models": self.models}
        write_whole(self._file, json_file(content))


def _in_words(name: str, found: Any, wanted: Any) -> str:
    if name == "pairs":
        return f"another pair list (its {found}; here {wanted})"
    if name == "images":
        return f"the pictures in {found}, not those in {wanted}"
    flag = _FLAGS[name]
    if found is None:
        return f"no {flag}, not {flag} {wanted}"
    return f"{flag} {found}, not " + (f"without {flag}" if wanted is None else f"{wanted}")


def _read(path: Path) -> dict[str, Any]:
    """Read the file; empty if there is none."""
    if not path.exists():
        return {}
    remedy = "; begin again with --force, or name another --output"
    found = read_json_object(path, remedy)
    models = found.get("models")
    if not isinstance(found.get("options"), dict) or not isinstance(models, list):
        raise InputError(f"{path}: not what a benchmark was begun with{remedy}")
    for model in models:
        if not isinstance(model, str):
            raise InputError(f"{path}: {model!r} is no name of a model{remedy}")
        check_inside(model, str(path))
    return found
