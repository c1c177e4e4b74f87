"""The folder beside a model in training: claimed by one run, continued by it, never by another's.

What a run was begun with lies there as `settings.json`. A continued run must share all of it but
its length; a finished model is known by its card, which holds the same.
"""

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mfrkit.errors import InputError
from mfrkit.io.checkpoints import read_header
from mfrkit.io.documents import read_json_object
from mfrkit.io.files import remove_whole, write_whole
from mfrkit.training.options import TrainRequest

_SETTINGS = "settings.json"
_LENGTH = ("fit.steps", "fit.epochs")
_AFRESH = ("--force", "-f")


def run_folder(output: Path) -> Path:
    """Return where a run keeps what belongs to it."""
    return output.with_suffix(".run")


def is_complete(output: Path, recipe: Mapping[str, Any]) -> bool:
    """Whether a model file is what a recipe makes, its last check included.

    Raises:
        WeightsError: there is a file that is no model of mfrkit.
    """
    return output.exists() and read_header(output).card.get("config") == recipe


def claim(request: TrainRequest, recipe: Mapping[str, Any]) -> None:
    """Claim the run's folder, or refuse to mix two runs in it, which share the same recipe.

    Raises:
        InputError: the folder is another run's, or there is no run to go on with.
    """
    run, output, folder = request.run, request.output, run_folder(request.output)
    path = folder / _SETTINGS
    if run.force and folder.exists():
        if not path.exists():
            raise InputError(f"{folder}: is no run of mfrkit; name another output")
        output.unlink(missing_ok=True)  # first: it is not what this run makes
        remove_whole(folder)
    if folder.exists() and not run.resume:
        raise InputError(
            f"{folder}: an unfinished run is there; --resume continues it, --force starts again"
        )
    if path.exists():
        _check_same(path, recipe)
        return
    if run.resume and output.exists():
        raise InputError(
            f"{output}: cannot go on without the run that made it, {folder}; --force starts again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(recipe, indent=2).encode() + b"\n")


def give_back(output: Path) -> None:
    """Remove a claimed folder that holds nothing yet: the corrected command can have it."""
    folder = run_folder(output)
    if [path.name for path in folder.iterdir()] == [_SETTINGS]:
        shutil.rmtree(folder)


def _check_same(path: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings; another length is no other run."""
    found = read_json_object(path, "; --force starts again")
    for name, was, now in _differences(found, wanted):
        if name not in _LENGTH:
            raise InputError(
                f"{path.parent}: was begun with {name} = {was}, not {now}; --force starts again"
            )


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the name and both values of every setting that two recipes do not share."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for key in {**found, **wanted}:
            inner = f"{name}.{key}" if name else key
            yield from _differences(found.get(key), wanted.get(key), inner)
    elif found != wanted:
        yield name, found, wanted


def command_to_go_on(command: str) -> str:
    """Return the command line that continues what another began.

    Example:
        >>> command_to_go_on("mfrkit distill 'my crops' --steps 60 -f")
        "mfrkit distill 'my crops' --steps 60 --resume"
    """
    words = [word for word in shlex.split(command) if word not in _AFRESH]
    if "--resume" not in words:
        words.insert(words.index("--") if "--" in words else len(words), "--resume")
    return shlex.join(words)
