"""Whether a recogniser of unknown origin tells the bundled portraits apart, as it is fed."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mfrkit.console import Console
from mfrkit.faces.geometry import similarity_from_points, template, warp
from mfrkit.io.images import read_image
from mfrkit.models.recogniser import Recogniser, embed_faces

_PHOTOS = Path(__file__).parent.parent / "data" / "photos"
# Eyes, nose tip and mouth corners in the photos, pixels: no detector has to be run.
_POINTS = {
    "barack_obama/barack_obama_0001": (
        351.2, 167.8, 438.1, 168.7, 392.1, 218.6, 346.8, 255.1, 437.4, 256,
    ),
    "barack_obama/barack_obama_0002": (
        188.6, 273.9, 280.7, 286.7, 213.5, 334.6, 186, 390, 263.8, 395.6,
    ),
    "barack_obama/barack_obama_0003": (
        284, 149.5, 332, 154.1, 312.6, 170.5, 284.4, 198.2, 327.8, 203.3,
    ),
    "eileen_collins/eileen_collins_0001": (
        204.8, 101.6, 246.6, 103.1, 224.2, 130.2, 200.5, 140.5, 245.2, 141.7,
    ),
    "joe_biden/joe_biden_0001": (
        218.3, 130.8, 267.4, 141.4, 243.3, 166, 211.8, 188.6, 255.3, 195.7,
    ),
}  # fmt: skip


def try_out(recogniser: Recogniser, name: str, console: Console) -> None:
    """Say how a network of another program is fed, and warn if it cannot be right."""
    console.info(f"{name}: {recogniser.card.note}")
    doubt = find_doubt(recogniser)
    if doubt is not None:
        console.warn(f"{name}: {doubt}; it may be fed wrongly: --colour, --mean and --std say how")


@torch.inference_mode()
def find_doubt(recogniser: Recogniser) -> str | None:
    """Compare the portraits of one person with those of different people.

    Args:
        recogniser: on any device.

    Returns:
        What speaks against the way it is fed, or None: the two portraits of one person that are
        least alike are more alike than any of two people.
    """
    names = list(_POINTS)
    faces = torch.stack([_crop(name, recogniser.card.input_size) for name in names])
    device = recogniser.mean.device
    vectors = torch.nn.functional.normalize(embed_faces(recogniser, faces.to(device)).float()).cpu()
    cosines = (vectors @ vectors.T).numpy()
    people = np.array([name.partition("/")[0] for name in names])
    same = people[:, None] == people
    above = np.triu(np.ones_like(same), 1)
    genuine, impostor = cosines[same & above].min(), cosines[~same & above].max()
    if genuine > impostor:
        return None
    return (
        f"on the bundled portraits two of one person have a cosine of {genuine:.2f}, two of "
        f"different people {impostor:.2f}"
    )


def _crop(name: str, size: tuple[int, int] | None) -> Tensor:
    """Return a portrait's face, (3, H, W) float32 RGB in [0, 1]."""
    side = max(size or (112, 112))
    points = np.array(_POINTS[name]).reshape(5, 2)
    matrix = similarity_from_points(points, template(side))
    crop = torch.from_numpy(warp(read_image(_PHOTOS / f"{name}.jpg"), matrix, side))
    face = crop.permute(2, 0, 1).float() / 255
    if size is not None and size != (side, side):
        face = torch.nn.functional.interpolate(face[None], size, mode="bilinear", antialias=True)[0]
    return face
