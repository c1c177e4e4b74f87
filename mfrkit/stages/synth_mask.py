"""Put synthetic masks on faces: crops in, masked faces, their regions and a manifest out.

This module checks and drives; `mfrkit.stages.draw_masks` does the work and loads torch for it, so
that a wrong argument is refused at once.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.mask_options import MaskOptions
from mfrkit.io.files import refuse_existing
from mfrkit.stages.run import Process, run_stage
from mfrkit.stages.sink import Tally

if TYPE_CHECKING:
    from mfrkit.stages.contact_sheet import Cell


@dataclass(frozen=True)
class SynthMaskOptions:
    """What to mask, and how.

    Attributes:
        source: SRC.
        output: folder to write.
        types, color, texture, coverage: see `MaskOptions.parse`.
        seed: of everything drawn.
        region: write a PNG of each covered region.
        preview: contact sheet to write.
        image_format: `png` or `jpg`.
        run: how the run is sized and continued.
    """

    source: str
    output: Path
    types: str | None = None
    color: str | None = None
    texture: str | None = None
    coverage: str | None = None
    seed: int = 0
    region: bool = True
    preview: Path | None = None
    image_format: str = "png"
    run: RunOptions = field(default_factory=RunOptions)


def synth_mask(options: SynthMaskOptions, console: Console) -> Tally:
    """Mask every face of a source.

    Raises:
        InputError: unknown mask kinds, colours or textures, or an output that exists.
        PartialError: too many inputs were skipped.
    """
    wanted = MaskOptions.parse(
        types=options.types,
        colors=options.color,
        textures=options.texture,
        coverage=options.coverage,
    )
    if options.image_format not in ("png", "jpg"):
        raise InputError(f"--format {options.image_format!r}: expected png or jpg")
    if options.preview is not None:
        refuse_existing(options.preview, force=options.run.force or options.run.resume)
    recipe = {
        "types": options.types,
        "color": options.color,
        "texture": options.texture,
        "coverage": options.coverage,
        "seed": options.seed,
        "region": options.region,
        "image_format": options.image_format,
    }
    pairs: dict[int, tuple[Cell, Cell]] = {}

    def prepare() -> Process:
        from mfrkit.stages.draw_masks import MaskWorker  # torch loads here

        return MaskWorker(options, wanted, pairs)

    tally = run_stage(
        "synth-mask",
        options.source,
        options.output,
        recipe,
        options.run,
        console,
        prepare=prepare,
    )
    if options.preview is not None and pairs:
        from mfrkit.stages.contact_sheet import write_contact_sheet

        cells = [cell for _, pair in sorted(pairs.items()) for cell in pair]
        write_contact_sheet(options.preview, cells, columns=8, heading="before and after")
        console.info(f"preview -> {options.preview}")
    return tally
