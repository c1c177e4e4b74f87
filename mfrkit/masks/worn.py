"""Masks that people really wore, to be drawn on other faces: the kind `worn`.

They come from a file that `mfrkit cut-masks` makes of the user's own photos (see `cutout`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn

from mfrkit.errors import InputError
from mfrkit.io.checkpoints import file_sha256
from mfrkit.io.documents import parse_json
from mfrkit.io.files import replacing
from mfrkit.masks.cutout import ACROSS, BOTTOM, COLUMNS, REACH, ROWS, SHAPE, TOP, CutOut
from mfrkit.masks.fields import Fields
from mfrkit.masks.spec import MaskSpec

_NAME, _SHAPE = "worn masks", (4, ROWS, COLUMNS)


@dataclass(frozen=True)
class WornFile:
    """A file of cut-outs.

    Attributes:
        path: Of the file.
        planes: (N, 4, ROWS, COLUMNS) uint8: RGB, and the outline's field, 255 to one `REACH`
            inside and 0 to one outside.
        keys: Of the photos they were cut out of.
    """

    path: Path
    planes: NDArray[np.uint8]
    keys: list[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it is not there, or no such file.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file of worn masks; mfrkit cut-masks makes one")
        try:
            with safe_open(path, "np") as file:
                planes = file.get_tensor(_NAME)
                keys = parse_json(file.metadata()["keys"], str(path))
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: holds no worn masks; mfrkit cut-masks makes them") from error
        shape = (len(keys), *_SHAPE) if isinstance(keys, list) and keys else None
        if planes.shape != shape or planes.dtype != np.uint8:
            raise InputError(f"{path}: worn masks of another version; cut them out anew")
        return cls(path, planes, keys)

    @classmethod
    def write(cls, path: Path, masks: Sequence[CutOut], keys: Sequence[str]) -> Self:
        """Write cut-outs and the keys of their photos."""
        edges = [mask.edge[..., None] / (2 * REACH) + 0.5 for mask in masks]
        pairs = zip(masks, edges, strict=True)
        # A byte each: colours come from bytes, and an outline need not be finer than that.
        planes = np.stack([np.concatenate([mask.color, edge], axis=2) for mask, edge in pairs])
        planes = np.ascontiguousarray((planes * 255 + 0.5).astype(np.uint8).transpose(0, 3, 1, 2))
        with replacing(path) as part:
            part.write_bytes(save({_NAME: planes}, {"keys": json.dumps(list(keys))}))
        return cls(path, planes, list(keys))

    def describe(self) -> dict[str, str]:
        """Return what a manifest says of the file."""
        return {"name": self.path.name, "sha256": file_sha256(self.path)}


class WornMasks(nn.Module):
    """Cut-outs on the renderer's device.

    Which of them a face wears, its spec says: `texture_u` counts them off from the first, and a
    `texture_v` of one half or more mirrors.

    Args:
        planes: (N, 4, ROWS, COLUMNS) uint8, see `WornFile`.
    """

    planes: Tensor

    def __init__(self, planes: NDArray[np.uint8]) -> None:
        super().__init__()
        self.register_buffer("planes", torch.from_numpy(planes), persistent=False)

    def worn_by(self, specs: Sequence[MaskSpec]) -> "WornPictures":
        """Return the masks of b faces."""
        device = self.planes.device
        chosen = torch.tensor([place_of(spec, len(self.planes)) for spec in specs], device=device)
        mirror = torch.tensor([1.0 if spec.texture_v < 0.5 else -1.0 for spec in specs])
        planes = self.planes[chosen].float().mul_(1 / 255)
        return WornPictures(planes, mirror[:, None, None].to(device))


def place_of(spec: MaskSpec, count: int) -> int:
    """Return which of so many cut-outs a spec means."""
    return int(spec.texture_u * count)


class WornPictures:
    """The masks of b faces, to be read at places of the sheet.

    Args:
        planes: (b, 4, H, W) in [0, 1]: RGB, and the outline's field.
        mirror: (b, 1, 1), -1 for a mask shown mirrored, else 1.
    """

    def __init__(self, planes: Tensor, mirror: Tensor) -> None:
        self._planes, self._mirror = planes, mirror

    def read(self, look: Fields, x: Tensor, y: Tensor, planes: slice) -> Tensor:
        """Read planes 0 to 2, colour, or 3, the outline; see `mfrkit.masks.template.Template`."""
        y = SHAPE.bottom - (look["end"] - y) * (
            (SHAPE.bottom - SHAPE.top) / (look["end"] - look["level"])
        )
        u = x * (self._mirror / (ACROSS * look["broad"]))
        v = (y - TOP) * (2 / (BOTTOM - TOP)) - 1
        grid, tiles = torch.stack([u, v], dim=-1), self._planes[:, planes]
        found = F.grid_sample(tiles, grid, padding_mode="border", align_corners=False)
        return (found - 0.5) * (2 * REACH) if planes.start == 3 else found
