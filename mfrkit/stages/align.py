"""Find faces in photos and cut them out: photos in, aligned crops and a manifest out.

Checks and drives; `mfrkit.stages.align_worker` does the work, see `mfrkit.stages.run`.
"""

from typing import TYPE_CHECKING

from mfrkit.console import Console
from mfrkit.stages.options import AlignOptions
from mfrkit.stages.run import Process, numbered, run_stage
from mfrkit.stages.sink import Tally

if TYPE_CHECKING:
    from mfrkit.pages.contact_sheet import Cell


def align(options: AlignOptions, console: Console) -> Tally:
    """Align every photo of a source; errors as `run_stage`, and of missing weights."""
    cells: list[Cell] = []

    def prepare() -> Process:
        from mfrkit.stages.align_worker import AlignWorker  # torch loads here

        return AlignWorker(options, cells)

    owner = numbered("face") if options.select == "all" else None
    tally = run_stage("align", options, console, prepare, owner)
    if options.preview is not None and cells:
        from mfrkit.pages.contact_sheet import write_contact_sheet

        write_contact_sheet(options.preview, cells, columns=8, heading="photo and crop")
        console.info(f"preview -> {options.preview}")
    if options.preview is not None and options.run.resume:  # a mesh is not on disk
        console.warn("the preview shows faces of this run only, none that were done before")
    return tally
