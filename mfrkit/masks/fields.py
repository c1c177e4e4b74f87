"""Per-face numbers on the device, by name: what planes of pixels are computed with."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from mfrkit.masks.pose import Array

Fields = Mapping[str, Tensor]


class Columns(Fields):
    """Columns of some of a batch's faces; each is cut out when it is asked for.

    Args:
        columns: Name to (B, 1, 1) float32, of the whole batch.
        faces: The b faces at hand.
    """

    def __init__(self, columns: Mapping[str, Tensor], faces: slice) -> None:
        self._columns = columns
        self._faces = faces

    @classmethod
    def send(cls, columns: Mapping[str, Array], device: torch.device) -> "Columns":
        """Send float64 columns (B,) to the device in one copy."""
        table = torch.as_tensor(np.stack(list(columns.values())), dtype=torch.float32).to(device)
        planes = table[:, :, None, None].unbind()
        return cls(dict(zip(columns, planes, strict=True)), slice(None))

    def __getitem__(self, name: str) -> Tensor:
        """Return a column of the faces at hand, (b, 1, 1) float32."""
        return self._columns[name][self._faces]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def part(self, faces: slice) -> "Columns":
        """Return the same columns for some of the batch's faces."""
        return Columns(self._columns, faces)


def color(look: Fields, name: str) -> Tensor:
    """Return a colour from its three columns, (b, 3, 1, 1)."""
    return torch.stack([look[f"{name}_{channel}"] for channel in "rgb"], dim=1)
