"""The masks another run drew, looked up by key: what a manifest is enough to draw again."""

import threading
from pathlib import Path
from typing import Any

from mfrkit.errors import InputError
from mfrkit.io.item import Item
from mfrkit.io.manifest import MANIFEST, Record, parse_line
from mfrkit.masks.spec import MaskSpec


class MaskBook:
    """Specs of a manifest of `synth-mask`; only their places in the file are kept in memory.

    Args:
        path: the manifest, or its folder.

    Raises:
        InputError: no such file, or a line that is no record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / MANIFEST if path.is_dir() else path
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such manifest to take masks from")
        self._places: dict[str, int] = {}
        self._lock = threading.Lock()
        self._file = self.path.open("rb")
        start = 0
        for number, line in enumerate(self._file, start=1):
            where = f"{self.path}, line {number}"
            if line.strip():
                self._places[Record.from_json(parse_line(line, where), where).key] = start
            start += len(line)

    def specs(self, key: str, faces: int) -> list[MaskSpec] | None:
        """Return the masks of a picture, one a face.

        Args:
            key: of the masked picture.
            faces: how many it has now.

        Returns:
            Its specs; None if the manifest has no mask for it, or for another number of faces.

        Raises:
            InputError: the record holds no spec that this version can draw.
        """
        found = self._faces(key)
        if found is None or len(found) != faces:
            return None
        try:
            return [MaskSpec.from_json(each.get("spec") or {}) for each in found]
        except InputError as error:
            raise InputError(f"{self.path}, {key}: {error}") from error

    def is_early(self, key: str) -> bool:
        """Whether a picture was masked before manifests told what masks were fitted to."""
        return not any("fit" in face for face in self._faces(key) or [{"fit": None}])

    def _faces(self, key: str) -> list[dict[str, Any]] | None:
        """Return the mask blocks of a picture's faces; None if there is no record of it."""
        place = self._places.get(key)
        if place is None:
            return None
        with self._lock:
            self._file.seek(place)
            line = self._file.readline()
        block = parse_line(line, str(self.path)).get("mask")
        return _blocks(block) if isinstance(block, dict) else []

    def close(self) -> None:
        """Close the manifest."""
        self._file.close()


def _blocks(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a mask block's faces: its list, or itself."""
    faces = block.get("faces")
    if not isinstance(faces, list):
        return [block]
    return [each for each in faces if isinstance(each, dict)]


def variant_key(item: Item, variant: int) -> str:
    """Return the key of the n-th masked version of an input; the first keeps the input's own.

    Example:
        >>> variant_key(Item(0, Record("ann/1", "ann/1.png", "ann/1.jpg"), None), 2)
        'ann/1.mask2'
    """
    return item.record.key if variant == 1 else f"{item.record.key}.mask{variant}"
