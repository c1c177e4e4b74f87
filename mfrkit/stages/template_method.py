"""What `mfrkit distill` knows of a method that trains on templates instead of pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mfrkit.console import Console
from mfrkit.stages.presets import Preset
from mfrkit.stages.train_parts import Built
from mfrkit.stages.world import World

if TYPE_CHECKING:
    from mfrkit.stages.distill_settings import DistillRequest, Settings


@dataclass(frozen=True)
class TemplateMethod:
    """A method that has its run to itself: no student sees a picture, no views are shown.

    Attributes:
        options: dataclass of the settings' table `method`.
        build: makes the parts of a run.
        paper: the publication.
        presets: named settings.
    """

    options: type[Any]
    build: "Callable[[DistillRequest, Settings, torch.device, World, Console], Built]"
    paper: str
    presets: Mapping[str, Preset]
