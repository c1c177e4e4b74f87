"""The options that say what masks are worn, for commands that draw masks on the way."""

from typing import TypedDict

from mfrkit.cli import mask_options as mask
from mfrkit.cli.option_groups import option_group


class WornMasks(TypedDict):
    """What is worn, under the names of `mfrkit.stages.synth_mask_options.SynthMaskOptions`."""

    types: str | None
    color: str | None
    texture: str | None
    coverage: str | None
    jitter: float


def worn_masks(
    types: mask.Types = None,
    color: mask.Color = None,
    texture: mask.Texture = None,
    coverage: mask.Coverage = None,
    jitter: mask.Jitter = 1.0,
) -> WornMasks:
    """Collect the options that say what is worn."""
    return WornMasks(types=types, color=color, texture=texture, coverage=coverage, jitter=jitter)


takes_worn_masks = option_group("worn", worn_masks)
"""Give a command these options; it receives them as its argument `worn`."""
