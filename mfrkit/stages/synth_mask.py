"""Put synthetic masks on faces: pictures in, masked ones, their regions and a manifest out.

Checks and drives, batches side by side, in threads or in processes;
`mfrkit.stages.synth_mask_worker` does the work, see `mfrkit.stages.run`.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from mfrkit.console import Console
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.stages.flow import Processes, batched, in_order, ordered_map, processes_are_possible
from mfrkit.stages.options import SynthMaskOptions
from mfrkit.stages.run import either, inside, numbered, run_stage
from mfrkit.stages.sink import Tally

if TYPE_CHECKING:
    from mfrkit.stages.synth_mask_worker import MaskDrawer

Drawn = list[list[Record]]  # what each input of a batch gave
MANY = 512  # inputs from which on starting processes pays


class MaskWorker:
    """Turns inputs into masked files."""

    def __init__(self, options: SynthMaskOptions) -> None:
        self._options = options

    def __call__(self, items: Iterable[Item]) -> Iterator[list[Record]]:
        """Yield the records of each input, in input order.

        Raises:
            InputError: the device, the template or the manifest to draw from is not there.
            MfrError: a worker process was killed.
        """
        items = iter(items)
        first: list[Item] = []
        if self._may_start_processes():
            first = list(islice(items, MANY))
        run = self._options.run
        batches = batched(chain(first, items), run.batch_size, weight=lambda item: item.pixels)
        draw = self._in_processes if len(first) == MANY else self._in_threads
        for drawn in draw(batches):
            yield from drawn

    def _may_start_processes(self) -> bool:
        """Whether processes would help; a pipeline's inputs are not held back to count them."""
        options = self._options
        if options.source == "-" or options.run.threads == 1:
            return False
        return options.run.device in ("auto", "cpu") and processes_are_possible()

    def _in_processes(self, batches: Iterator[list[Item]]) -> Iterator[Drawn]:
        """Draw in processes, unless it turns out that there is a faster device."""
        workers = self._options.run.threads
        build = partial(make_drawer, self._options)
        with Processes(build, workers, ["mfrkit.stages.synth_mask_worker"]) as crew:
            from mfrkit.models.device import resolve_device  # torch loads here, and in processes

            if resolve_device(self._options.run.device).type == "cpu":
                yield from in_order(crew.submit, batches, ahead=2 * workers, weight=_pixels)
                return
        yield from self._in_threads(batches)

    def _in_threads(self, batches: Iterator[list[Item]]) -> Iterator[Drawn]:
        import torch

        threads = torch.get_num_threads()
        drawer = make_drawer(self._options)
        try:
            workers = self._options.run.threads
            yield from ordered_map(drawer, batches, workers=workers, weight=_pixels)
        finally:
            torch.set_num_threads(threads)
            drawer.close()


def make_drawer(options: SynthMaskOptions) -> "MaskDrawer":
    """Load what draws, and let each of its operations run on one core.

    Many small operations on one core each beat each operation split over all cores.
    """
    import torch

    from mfrkit.models.device import resolve_device
    from mfrkit.stages.synth_mask_worker import MaskDrawer

    drawer = MaskDrawer(options, resolve_device(options.run.device))
    torch.set_num_threads(1)
    return drawer


def _pixels(batch: list[Item]) -> int:
    return sum(item.pixels for item in batch)


REGION_FOLDERS = ("_regions", "_regions_exact")


def synth_mask(options: SynthMaskOptions, console: Console) -> Tally:
    """Mask every face of a source.

    Raises:
        InputError: unknown mask kinds, colours or textures, a template or manifest that cannot be
            used, or an output that exists.
        PartialError: too many inputs were skipped.
    """
    options.wanted()  # a wrong kind or colour is refused before anything is written
    owner = either(numbered("mask", options.variants), inside(*REGION_FOLDERS))
    return run_stage("synth-mask", options, console, lambda: MaskWorker(options), owner, _caption)


def _caption(record: Record) -> str:
    """Say what a face wears; of a photo's faces, what the first does."""
    block = record.blocks.get("mask", {})
    texture = block.get("faces", [block])[0].get("texture", "")
    return f"{block.get('type')} {texture}"
