"""Put synthetic masks on faces: pictures in, masked ones, their regions and a manifest out.

This module checks and drives; `mfrkit.stages.mask_worker` does the work and loads torch for it, so
that a wrong argument is refused at once.
"""

from mfrkit.console import Console
from mfrkit.io.manifest import Record, manifest_path
from mfrkit.io.pairs import read_pairs
from mfrkit.stages.clashes import either, inside, numbered
from mfrkit.stages.mask_worker import MaskWorker
from mfrkit.stages.preview import Preview
from mfrkit.stages.run import run_stage
from mfrkit.stages.sink import Tally
from mfrkit.stages.synth_mask_options import SynthMaskOptions

REGION_FOLDERS = ("_regions", "_regions_exact")


def synth_mask(options: SynthMaskOptions, console: Console) -> Tally:
    """Mask every face of a source.

    Raises:
        InputError: unknown mask kinds, colours or textures, a template or manifest that cannot be
            used, or an output that exists.
        PartialError: too many inputs were skipped.
    """
    options.wanted()  # a wrong kind or colour is refused before anything is written
    preview = Preview(_caption)
    tally = run_stage(
        "synth-mask",
        options.source,
        options.output,
        options.recipe(),
        options.run,
        console,
        prepare=lambda: MaskWorker(options, preview.pairs),
        only=None if options.only is None else read_pairs(options.only).keys(),
        owner=either(numbered("mask", options.variants), inside(*REGION_FOLDERS)),
        preview=preview,
    )
    preview.write(options.preview, manifest_path(options.output, options.run.shard.suffix), console)
    return tally


def _caption(record: Record) -> str:
    """Say what a face wears; of a photo's faces, what the first does."""
    block = record.blocks.get("mask", {})
    texture = block.get("faces", [block])[0].get("texture", "")
    return f"{block.get('type')} {texture}"
