"""Draw how one face of a training batch is shown: mirrored, lit, masked, misaligned, blurred.

Everything random is drawn from the run's seed, the epoch and the face's place in the data set, and
from nothing else. So a resumed run, another number of workers or of processes sees the same views.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.masks.catalog import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.sampling import sample_spec
from mfrkit.masks.spec import MaskSpec

Align = Literal["jitter", "mesh"]

_FARTHEST = 6.0  # draws with long tails end here
# How a mask changes the box and the eyes YuNet sees, as `ViewDraw.box`: the middle, the scale and
# the degrees of freedom of Student's t, on 1,500 photos of LFW (examples/measure_misalignment.py).
_BOX_MIDDLES = np.array([-0.4, -0.043, -0.008, -0.015])
_BOX_SCALES, _BOX_TAIL = np.array([1.1, 0.045, 0.013, 0.02]), 6.0


@dataclass(frozen=True)
class ViewOptions:
    """How far views may vary.

    Attributes:
        flip: probability of mirroring, both views alike.
        gain: standard deviation of the contrast factor about 1, both views alike.
        offset: standard deviation of the brightness shift, pixel values in [0, 1], both alike.
        rotation: standard deviation of the student's misalignment, degrees.
        scale: standard deviation of the logarithm of its size factor.
        shift: standard deviation of its shift along each axis, as a share of the crop's side.
        tail: degrees of freedom of Student's t, whose tails the misalignment then has, the three
            numbers above being the scale of its middle; 0 for a normal distribution.
        align: `mesh` aligns the student's view of a face that was cut out wide by its mesh, mask
            and all, as the command `align` does; `jitter` misaligns all faces by the numbers above.
        meshed: share of the faces cut out wide that `mesh` aligns; the others are misaligned.
        looks: how often the mesh network looks; `align` lets it look once.
        blur: probability that the student's view loses resolution.
        coarsest: greatest factor by which it does.

    Raises:
        InputError: on construction, for a number no view can have.
    """

    flip: float = 0.5
    gain: float = 0.0
    offset: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    tail: float = 0.0
    align: Align = "jitter"
    meshed: float = 1.0
    looks: int = 1
    blur: float = 0.0
    coarsest: float = 3.0

    def __post_init__(self) -> None:
        if self.align not in get_args(Align):
            raise InputError(f"views.align {self.align!r}: expected jitter or mesh")
        for name in ("flip", "blur", "meshed"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"views.{name} is a probability, not {getattr(self, name)}")
        for name, most in (("gain", 0.5), ("offset", 1), ("rotation", 45), ("scale", 0.3)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"views.{name} must be from 0 to {most}")
        if not 0 <= self.shift <= 0.5:
            raise InputError("views.shift is a share of the crop's side, from 0 to 0.5")
        if not 1 <= self.looks <= 4:
            raise InputError("views.looks is a number of looks from 1 to 4")
        if not (self.tail == 0 or 1 <= self.tail < np.inf):
            raise InputError("views.tail is 0 or a number of degrees of freedom from 1")
        if not 1 <= self.coarsest <= 8:
            raise InputError("views.coarsest is a factor from 1 to 8")


@dataclass(frozen=True)
class ViewDraw:
    """One face's view as plain numbers.

    Attributes:
        flip: whether both views are mirrored.
        gain: contrast factor of both views.
        offset: brightness shift of both views.
        turn: (2, 2) float32, rotation and scale of the student's view.
        shift: (2,) float32, its shift (x, y) as a share of the crop's side.
        coarse: factor by which the student's view loses resolution, 1 for none.
        spec: the student's mask.
        meshed: whether the student's view is aligned by its mesh, if more than the crop is seen.
        box: (4,) float32, what the mask does to the detector's box that the mesh starts from: turn
            of the line of eyes in degrees, log of the size factor, shift (x, y) in sides of it.
    """

    flip: bool
    gain: float
    offset: float
    turn: NDArray[np.float32]
    shift: NDArray[np.float32]
    coarse: float
    spec: MaskSpec
    meshed: bool
    box: NDArray[np.float32]

    @property
    def is_still(self) -> bool:
        """Whether the student's view stays where the crop is."""
        return not self.shift.any() and bool((self.turn == np.eye(2, dtype=np.float32)).all())


def draw_view(
    seed: int, epoch: int, index: int, options: ViewOptions, masks: MaskOptions
) -> ViewDraw:
    """Draw one face's view.

    Args:
        seed: the run's seed, at least 0.
        epoch: pass over the data, from 0.
        index: the face's place in the data set, from 0.
        options: how far views may vary.
        masks: what is drawn on the student's view, and on which share of the faces.

    Returns:
        The draw; the same for the same arguments. An option that is 0 leaves the others' draws as
        they are.

    Example:
        >>> options, masks = ViewOptions(gain=0.1), MaskOptions()
        >>> a, b, c = (draw_view(7, epoch, 3, options, masks).gain for epoch in (0, 0, 1))
        >>> a == b, a == c
        (True, False)
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch, index]))
    chance = generator.random(3)
    bell = generator.standard_normal(6).clip(-3, 3)
    box = generator.standard_t(_BOX_TAIL, 4).clip(-_FARTHEST, _FARTHEST)
    meshed = options.align == "mesh" and generator.random() < options.meshed
    if options.tail:
        bell[2:] *= np.sqrt(options.tail / generator.chisquare(options.tail, 4))
        bell[2:] = bell[2:].clip(-_FARTHEST, _FARTHEST)
    spec = sample_spec(seed, f"{epoch}/{index}", masks)
    angle = np.radians(options.rotation * bell[2])
    size = np.exp(options.scale * bell[3])
    cosine, sine = size * np.cos(angle), size * np.sin(angle)
    blurred = chance[1] < options.blur
    return ViewDraw(
        flip=bool(chance[0] < options.flip),
        gain=float(max(0.1, 1 + options.gain * bell[0])),
        offset=float(options.offset * bell[1]),
        turn=np.array([[cosine, -sine], [sine, cosine]], np.float32),
        shift=(options.shift * bell[4:6]).astype(np.float32),
        coarse=float(options.coarsest ** chance[2]) if blurred else 1.0,
        spec=spec,
        meshed=bool(meshed),
        box=((_BOX_MIDDLES + _BOX_SCALES * box) * (spec.kind != BARE)).astype(np.float32),
    )
