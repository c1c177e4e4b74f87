"""Per-face numbers on the device, by name: what planes of pixels are computed with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mfrkit.masks.pose import Array

Fields = Mapping[str, Tensor]


@dataclass(frozen=True)
class Columns:
    """The columns of a batch, sent to the device in one copy.

    Attributes:
        names: C names.
        table: (C, B) float32.
    """

    names: tuple[str, ...]
    table: Tensor

    @classmethod
    def send(cls, columns: Mapping[str, Array], device: torch.device) -> "Columns":
        """Send float64 columns (B,) to the device."""
        table = torch.as_tensor(np.stack(list(columns.values())), dtype=torch.float32)
        return cls(tuple(columns), table.to(device))

    def part(self, faces: slice) -> Fields:
        """Return the columns of b of the batch's faces, each (b, 1, 1) float32."""
        planes = self.table[:, faces, None, None].unbind()
        return dict(zip(self.names, planes, strict=True))


class Printed(Protocol):
    """Pictures of masks that lie on faces."""

    def read(self, look: Fields, x: Tensor, y: Tensor, planes: slice) -> Tensor:
        """Read planes at places; see `mfrkit.masks.template.Template.read`."""


def color(look: Fields, name: str) -> Tensor:
    """Return a colour from its three columns, (b, 3, 1, 1)."""
    return torch.stack([look[f"{name}_{channel}"] for channel in "rgb"], dim=1)
