"""Complete what covers faces: masked crops in, completed ones and a manifest out.

This module checks and drives; `mfrkit.stages.complete_faces` does the work and loads torch for it,
so that a wrong argument is refused at once.
"""

from collections import Counter
from typing import TYPE_CHECKING

from mfrkit.console import Console
from mfrkit.stages.inpaint_options import InpaintOptions
from mfrkit.stages.run import Process, run_stage
from mfrkit.stages.sink import Tally

if TYPE_CHECKING:
    from mfrkit.stages.contact_sheet import Cell


def inpaint(options: InpaintOptions, console: Console) -> Tally:
    """Complete every masked face of a source; faces found unmasked pass through as they are.

    Raises:
        InputError: an unusable model, or an output that exists.
        WeightsError: a model file that is damaged.
        PartialError: too many inputs were skipped.
    """
    pairs: dict[int, tuple[Cell, Cell]] = {}
    passed: Counter[bool] = Counter()

    def prepare() -> Process:
        from mfrkit.stages.complete_faces import CompletionWorker  # torch loads here

        return CompletionWorker(options, pairs, passed)

    tally = run_stage(
        "inpaint",
        options.source,
        options.output,
        options.recipe(),
        options.run,
        console,
        prepare=prepare,
    )
    if passed[False]:
        console.info(f"{passed[False]} faces are unmasked and passed through unchanged")
    if options.preview is not None and pairs:
        from mfrkit.stages.contact_sheet import write_contact_sheet

        cells = [cell for _, pair in sorted(pairs.items()) for cell in pair]
        write_contact_sheet(options.preview, cells, columns=8, heading="before and after")
        console.info(f"preview -> {options.preview}")
    return tally
