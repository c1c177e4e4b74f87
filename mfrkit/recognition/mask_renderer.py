"""Masks drawn on pictures in memory, arrays in and arrays out.

`mfrkit.masks.renderer.MaskRenderer` is what training uses: float tensors, a spec for each face,
gradients. A program that wants masked pictures has uint8 arrays and a seed, and meets it here.
"""

from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import ShapeError
from mfrkit.faces.geometry import ARCFACE_SIZE, template
from mfrkit.masks.spec import MaskSpec
from mfrkit.stages.options import SynthMaskOptions


class Masked(NamedTuple):
    """Faces with masks.

    Attributes:
        faces: (B, H, W, 3) uint8 RGB.
        regions: (B, H, W) uint8, how much of each pixel the mask covers, 255 all of it.
        specs: B descriptions of what was drawn.
    """

    faces: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    specs: list[MaskSpec]


class MaskRenderer:
    """Draws synthetic masks on faces.

    What is drawn on a face follows from its pixels and the seed alone: the same face gets the same
    mask in every batch, another face or another seed another one.

    Args:
        types: kinds and their weights, `surgical:3,cloth:1`; None: the everyday three, or the
            template.
        color: colours and their weights, `black:2,#1e90ff`; None: each kind's natural mix.
        texture: textures and their weights; None: each kind's natural mix.
        coverage: how high masks sit, with weights; None: above the nose tip.
        probability: share of faces that get a mask, [0, 1].
        jitter: factor on all random shifts, turns and sizes, [0, 2].
        template: PNG of a mask of one's own, its points in a JSON file beside it.

    Raises:
        InputError: an unknown name, a number out of range, or an unusable template.

    Example:
        >>> import mfrkit
        >>> grey = np.full((2, 112, 112, 3), 128, np.uint8)
        >>> masked = mfrkit.MaskRenderer(types="surgical")(grey, seed=7)
        >>> masked.faces.shape, masked.regions.shape, masked.specs[0].kind
        ((2, 112, 112, 3), (2, 112, 112), 'surgical')
    """

    def __init__(
        self,
        types: str | None = None,
        *,
        color: str | None = None,
        texture: str | None = None,
        coverage: str | None = None,
        probability: float = 1.0,
        jitter: float = 1.0,
        template: str | Path | None = None,
    ) -> None:
        from mfrkit.masks.renderer import MaskRenderer as Drawing  # torch loads here
        from mfrkit.masks.template import TemplateFile

        file = None if template is None else Path(template)
        self._wanted = SynthMaskOptions(
            source="",
            output=Path(),
            types=types,
            color=color,
            texture=texture,
            coverage=coverage,
            probability=probability,
            jitter=jitter,
            template=file,
        ).wanted()
        self._drawing = Drawing(None if file is None else TemplateFile.read(file))

    def __call__(
        self,
        faces: NDArray[np.uint8],
        points: NDArray[np.floating] | None = None,
        *,
        seed: int = 0,
    ) -> Masked:
        """Draw a mask on each face.

        Args:
            faces: (B, H, W, 3) uint8 RGB; not written to.
            points: (B, 5, 2), (x, y) pixels: image-left eye, image-right eye, nose tip, mouth
                corners; None: `faces` are aligned crops.
            seed: of everything random.

        Raises:
            ShapeError: other arrays, or no points for what is no aligned crop.
            InputError: a point is not finite, or the points of a face coincide.
        """
        from mfrkit.masks.renderer import mask_pictures
        from mfrkit.masks.spec import sample_spec

        if faces.ndim != 4 or faces.shape[3] != 3 or faces.dtype != np.uint8:
            raise ShapeError(f"expected RGB uint8 (B, H, W, 3), got {faces.dtype} {faces.shape}")
        if points is None:
            points = np.tile(_aligned_points(faces), (len(faces), 1, 1))
        keys = [blake2b(face.tobytes(), digest_size=16).hexdigest() for face in faces]
        specs = [sample_spec(seed, key, self._wanted) for key in keys]
        masked, regions = mask_pictures(self._drawing, faces, points.astype(np.float32), specs)
        return Masked(masked, regions, specs)


def _aligned_points(faces: NDArray[np.uint8]) -> NDArray[np.float64]:
    height, width = faces.shape[1:3]
    if height != width or width % ARCFACE_SIZE:
        raise ShapeError(f"{width}x{height} are no aligned crops (112x112, 224x224); give points")
    return template(width)
