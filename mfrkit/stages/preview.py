"""The sheet of a run's first faces, before and after, whether or not it was done in one go."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mfrkit.console import Console
from mfrkit.errors import ImageError
from mfrkit.io.images import read_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.io.record_source import ManifestSource

if TYPE_CHECKING:
    from mfrkit.stages.contact_sheet import Cell

FACES = 24


class Preview:
    """The pictures of a sheet.

    Args:
        caption: says what was done to a face, by its record.

    Attributes:
        pairs: cells by the input's position, to be filled in while the run lasts.
    """

    def __init__(self, caption: Callable[[Record], str]) -> None:
        self.pairs: dict[int, tuple[Cell, Cell]] = {}
        self._caption = caption
        self._first: dict[str, Item] = {}

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass inputs on, and note which are the first."""
        for item in items:
            if item.position < FACES and item.path is not None:
                self._first[item.record.key] = item
            yield item

    def write(self, path: Path | None, manifest: Path, console: Console) -> None:
        """Write the sheet; what an earlier run did is read from disk.

        Args:
            path: of the sheet; None for no sheet.
            manifest: of the finished run.
            console: narration.
        """
        if path is None:
            return
        from mfrkit.stages.contact_sheet import write_contact_sheet

        self._complete(manifest)
        if self.pairs:
            cells = [cell for _, pair in sorted(self.pairs.items()) for cell in pair]
            write_contact_sheet(path, cells, columns=8, heading="before and after")
            console.info(f"preview -> {path}")

    def _complete(self, manifest: Path) -> None:
        """Add the faces that were done before this run went on."""
        from mfrkit.stages.contact_sheet import Cell

        missing = {k: item for k, item in self._first.items() if item.position not in self.pairs}
        results = iter(ManifestSource([manifest]))
        while missing and (made := next(results, None)) is not None:
            item = missing.pop(made.record.key, None)
            if item is None or item.path is None or made.path is None:
                continue
            try:
                before, after = read_image(item.path), read_image(made.path)
            except ImageError:
                continue
            caption = self._caption(made.record)
            self.pairs[item.position] = Cell(before, made.record.key), Cell(after, caption)
