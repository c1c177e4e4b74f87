"""The words masks are described in: colours, coverage, shape, and what makes a kind.

Lengths are in face units, the distance between the eyes; heights grow downwards from the eyes (the
mouth is near 1, the chin near 1.8). The kinds themselves are in `kinds`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Color = tuple[float, float, float]
Weights = Mapping[str, float]

COLORS: Mapping[str, Color] = MappingProxyType(
    {
        "white": (0.86, 0.87, 0.88),
        "black": (0.09, 0.09, 0.10),
        "grey": (0.50, 0.51, 0.52),
        "blue": (0.56, 0.74, 0.87),
        "green": (0.62, 0.83, 0.74),
        "pink": (0.93, 0.71, 0.77),
        "navy": (0.12, 0.17, 0.32),
        "red": (0.70, 0.13, 0.16),
        "maroon": (0.40, 0.10, 0.16),
        "yellow": (0.90, 0.78, 0.30),
        "orange": (0.88, 0.50, 0.20),
        "purple": (0.42, 0.28, 0.55),
        "teal": (0.10, 0.45, 0.47),
        "olive": (0.38, 0.40, 0.24),
        "beige": (0.84, 0.76, 0.66),
        "brown": (0.38, 0.25, 0.17),
        "lightblue": (0.678, 0.847, 0.902),
    }
)

# How far the upper edge moves down from its ordinary place on the bridge of the nose, and how
# far the whole mask slides with it. In order: the first covers most.
COVERAGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"above": (0.0, 0.0), "on": (0.20, 0.03), "below": (0.50, 0.08), "chin": (0.98, 0.22)}
)


@dataclass(frozen=True)
class Shape:
    """Outline of a mask worn straight on the mean face; which numbers count depends on `outline`.

    Attributes:
        outline: Name in `mask_shapes.OUTLINES`.
        top: Height of the upper edge on the mid-line.
        peak: Radius with which the upper edge bends over the nose.
        fall: Slope of the upper edge on the cheeks.
        side: Half width at the height of the mouth.
        taper: Half width lost per unit of height.
        bottom: Height of the lower edge on the mid-line.
        chin: Radius of the lower edge round the chin.
        jaw: Slope of the lower edge along the jaw.
        corner: Radius of the corners.
        knee: Distance from the mid-line at which a straight upper edge changes its slope.
        inner: Its slope up to the knee; `fall` is its slope beyond.
        cut: "head" if the silhouette of the head cuts it off, "jaw" if it hangs clear below the
            mouth, "none" if it reaches past the head.
    """

    outline: str = "shield"
    top: float = 0.3
    peak: float = 0.2
    fall: float = 0.4
    side: float = 0.9
    taper: float = 0.15
    bottom: float = 1.85
    chin: float = 0.45
    jaw: float = 0.95
    corner: float = 0.2
    knee: float = 0.0
    inner: float = 0.0
    cut: str = "head"


@dataclass(frozen=True)
class Kind:
    """One kind of mask.

    Attributes:
        name: What `--type` calls it.
        about: One line for a list.
        shape: Its outline.
        colors: Name in `COLORS` to weight, the natural mix.
        paint: Name in `mask_paint.PAINTERS`.
        textures: Texture name to weight, the natural mix; the first is the plainest.
        pleats: Fewest and most horizontal folds.
        bulge: How far the middle stands out from the face.
        ridge: How steeply the two halves of a folded mask fall away from the middle.
        crease: Least and greatest depth of random wrinkles.
        cord: Half width of the ear loops or straps; 0 for none.
        cord_white: How far they are white rather than of the mask's colour, [0, 1].
        anchors: For the upper and the lower cord: where on the mask's side it starts (height) and
            where on the head's side it ends (height).
        shaded: Whether its picture has folds and shade of its own.
        skin: Whether it has the colour of the face rather than one of its own.
        flat: A benchmark's drawing: one colour, no jitter, no light, no shadow, no coverage.
        everyday: Weight in the default mix, 0 for never.
    """

    name: str
    about: str
    shape: Shape
    colors: Weights
    paint: str = "plain"
    textures: Weights = field(default_factory=lambda: MappingProxyType({"plain": 1.0}))
    pleats: tuple[int, int] = (0, 0)
    bulge: float = 0.0
    ridge: float = 0.0
    crease: tuple[float, float] = (0.0, 0.01)
    cord: float = 0.0
    cord_white: float = 0.7
    anchors: tuple[tuple[float, float], tuple[float, float]] = ((0.66, 0.18), (1.28, 0.62))
    shaded: bool = False
    skin: bool = False
    flat: bool = False
    everyday: float = 0.0


# The kind of a face that is left alone, and those whose pictures the user has: one, and many.
BARE = "none"
TEMPLATE = "template"
WORN = "worn"
OWN = {TEMPLATE: "--template", WORN: "--worn-from"}  # by the option that names them

# The kinds that paste a flat picture (see `maskinv`). In training its points are shifted by
# whole pixels from minus these up to one less, across and down; its colour's channels stay below
# 150.
PASTED = ("maskinv", "maskinv-centred")
PASTED_SHIFTS = (10, 40)
PASTED_COLORS = 150
