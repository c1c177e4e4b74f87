"""Put synthetic masks on faces: pictures in, masked ones, their regions and a manifest out.

This module checks and drives; `mfrkit.stages.mask_worker` does the work and loads torch for it, so
that a wrong argument is refused at once.
"""

from typing import TYPE_CHECKING

from mfrkit.console import Console
from mfrkit.io.pairs import read_pairs
from mfrkit.stages.mask_worker import MaskWorker
from mfrkit.stages.run import run_stage
from mfrkit.stages.sink import Tally
from mfrkit.stages.synth_mask_options import SynthMaskOptions

if TYPE_CHECKING:
    from mfrkit.stages.contact_sheet import Cell


def synth_mask(options: SynthMaskOptions, console: Console) -> Tally:
    """Mask every face of a source.

    Raises:
        InputError: unknown mask kinds, colours or textures, a template or manifest that cannot be
            used, or an output that exists.
        PartialError: too many inputs were skipped.
    """
    options.wanted()  # a wrong kind or colour is refused before anything is written
    pairs: dict[int, tuple[Cell, Cell]] = {}

    tally = run_stage(
        "synth-mask",
        options.source,
        options.output,
        options.recipe(),
        options.run,
        console,
        prepare=lambda: MaskWorker(options, pairs),
        only=None if options.only is None else read_pairs(options.only).keys(),
    )
    if options.preview is not None and pairs:
        from mfrkit.stages.contact_sheet import write_contact_sheet

        cells = [cell for _, pair in sorted(pairs.items()) for cell in pair]
        write_contact_sheet(options.preview, cells, columns=8, heading="before and after")
        console.info(f"preview -> {options.preview}")
    return tally
