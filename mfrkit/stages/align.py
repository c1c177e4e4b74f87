"""Find faces in photos and cut them out: photos in, aligned crops and a manifest out.

This module checks and drives; `mfrkit.stages.align_faces` does the work and loads torch for it, so
that a wrong argument is refused at once.
"""

from mfrkit.console import Console
from mfrkit.io.pairs import read_pairs
from mfrkit.stages.align_options import AlignOptions
from mfrkit.stages.run import Process, run_stage
from mfrkit.stages.sink import Tally


def align(options: AlignOptions, console: Console) -> Tally:
    """Align every photo of a source.

    Raises:
        InputError: an output that exists, a pair list that cannot be read, or a detector whose
            weights are missing.
        PartialError: too many photos gave no face.
    """
    recipe = {
        name: getattr(options, name)
        for name in (
            "detector", "select", "size", "margin", "min_score", "min_size", "image_format",
        )
    }  # fmt: skip
    if options.only is not None:
        recipe["only"] = str(options.only)
    return run_stage(
        "align",
        options.source,
        options.output,
        recipe,
        options.run,
        console,
        prepare=lambda: _worker(options),
        only=None if options.only is None else read_pairs(options.only).keys(),
    )


def _worker(options: AlignOptions) -> Process:
    from mfrkit.stages.align_faces import AlignWorker  # torch loads here

    return AlignWorker(options)
