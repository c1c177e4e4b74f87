"""The kinds of mask there are, as data, and the words they are described in.

Lengths are in face units, the distance between the eyes; heights grow downwards from the eyes
(the mouth is near 1, the chin near 1.8). What the numbers of a kind mean is told by `Kind`. Some
are not cloth: the drawings of published benchmarks, and the user's own picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Color = tuple[float, float, float]
Weights = Mapping[str, float]

COLORS: Mapping[str, Color] = {
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

# How far the upper edge moves down from its ordinary place on the bridge of the nose, and how
# far the whole mask slides with it. In order: the first covers most.
COVERAGES: Mapping[str, tuple[float, float]] = {
    "above": (0.0, 0.0),
    "on": (0.20, 0.03),
    "below": (0.50, 0.08),
    "chin": (0.98, 0.22),
}


@dataclass(frozen=True)
class Shape:
    """Outline of a mask worn straight on the mean face; which numbers count depends on `outline`.

    Attributes:
        outline: Name in `outline.OUTLINES`.
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
        paint: Name in `paint.PAINTERS`.
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
    textures: Weights = field(default_factory=lambda: {"plain": 1.0})
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

# The kinds that paste a flat picture (see `flat_paste`). In training its points are shifted by
# whole pixels from minus these up to one less, across and down; its colour's channels stay below
# 150.
PASTED = ("maskinv", "maskinv-centred")
PASTED_SHIFTS = (10, 40)
PASTED_COLORS = 150


def _drawing(name: str, about: str, shape: Shape, *colors: str) -> Kind:
    """Return a kind of a benchmark's drawings: flat, of any of these colours alike."""
    return Kind(name=name, about=about, shape=shape, colors=dict.fromkeys(colors, 1.0), flat=True)


def _nist(code: str, about: str, shape: Shape) -> Kind:
    """Return one of the drawn shapes of the NIST face mask tests: flat colour on the lower face."""
    about = f"NIST-style flat shape {code}: {about}"
    return _drawing(f"nist-{code}", about, shape, "lightblue", "black", "white")


# Ngan, Grother, Hanaoka, NISTIR 8311 (2020): wide or round, three heights on the nose. There the
# outlines run through 68 landmarks; here through the same landmarks of the mean face.
_NIST = (
    _nist("a", "wide, high", Shape(outline="wide", top=0.25, knee=0.28, inner=0.9, fall=0.0)),
    _nist("b", "round, high", Shape(outline="round", top=0.10, side=0.78, bottom=1.80)),
    _nist("c", "wide, medium", Shape(outline="wide", top=0.30, knee=0.5, inner=-0.16, fall=-0.16)),
    _nist("d", "round, medium", Shape(outline="round", top=0.38, side=0.78, bottom=1.80)),
    _nist("e", "wide, low", Shape(outline="wide", top=0.70, knee=0.22, inner=0.0, fall=-0.57)),
    _nist("f", "round, low", Shape(outline="round", top=0.71, side=0.78, bottom=1.80)),
)

_PASTE = Shape(outline="pasted", cut="none")
_PICTURES = (
    Kind(
        name=TEMPLATE,
        about="the picture given with --template",
        shape=Shape(outline=TEMPLATE, top=0.30, bottom=1.86),
        colors={"white": 1.0},
        paint="printed",
        bulge=0.08,
        crease=(0.0, 0.008),
    ),
    Kind(
        name=WORN,
        about="masks that people wore on photos, of the file given with --worn-from",
        shape=Shape(outline=TEMPLATE, top=0.30, bottom=1.86),
        colors={"white": 1.0},
        paint="photographed",
        cord=0.018,
        shaded=True,
    ),
    _drawing(
        "maskinv",
        "the flat paste of the MaskInv code, 8 pixels to the left as published",
        _PASTE,
        "grey",
    ),
    _drawing("maskinv-centred", "the same paste without its 8-pixel shift", _PASTE, "grey"),
)


_PRINTED = {
    "plain": 0.48,
    "stripes": 0.12,
    "check": 0.12,
    "dots": 0.11,
    "print": 0.14,
    "lips": 0.03,
}
_DYES = {
    "black": 0.26, "white": 0.08, "grey": 0.14, "navy": 0.14, "red": 0.07, "maroon": 0.05,
    "pink": 0.06, "teal": 0.06, "olive": 0.05, "purple": 0.04, "beige": 0.05,
}  # fmt: skip
_RESPIRATOR = {"white": 0.78, "grey": 0.06, "black": 0.10, "blue": 0.06}
_CUP = Shape(
    top=0.24, peak=0.20, fall=0.56, side=0.87, taper=0.10,
    bottom=1.86, chin=0.52, jaw=0.94, corner=0.30,
)  # fmt: skip
_FOLDED = Shape(
    top=0.22, peak=0.10, fall=0.60, side=0.93, taper=0.16,
    bottom=1.88, chin=0.22, jaw=0.92, corner=0.14,
)  # fmt: skip
_STRAPS = ((0.80, 0.12), (1.22, 0.98))

_WORN = (
    Kind(
        name="surgical",
        about="pleated disposable mask with a nose wire and ear loops",
        shape=Shape(
            top=0.28, peak=0.16, fall=0.34, side=0.94, taper=0.13,
            bottom=1.86, chin=0.42, corner=0.16,
        ),
        colors={"blue": 0.45, "white": 0.22, "black": 0.15, "green": 0.10, "pink": 0.08},
        paint="surgical",
        pleats=(2, 4),
        bulge=0.10,
        crease=(0.004, 0.012),
        cord=0.018,
        everyday=3.0,
    ),
    Kind(
        name="n95",
        about="stiff cup respirator with head straps",
        shape=_CUP,
        colors=_RESPIRATOR,
        paint="cup",
        bulge=0.24,
        crease=(0.0, 0.004),
        cord=0.026,
        anchors=_STRAPS,
        everyday=0.6,
    ),
    Kind(
        name="kn95",
        about="flat-fold KN95 or FFP2 with a centre ridge and ear loops",
        shape=_FOLDED,
        colors=_RESPIRATOR,
        paint="folded",
        bulge=0.06,
        ridge=0.16,
        crease=(0.002, 0.006),
        cord=0.02,
        everyday=0.8,
    ),
    Kind(
        name="valve",
        about="cup respirator with an exhalation valve",
        shape=_CUP,
        colors=_RESPIRATOR,
        paint="valve",
        bulge=0.24,
        crease=(0.0, 0.004),
        cord=0.026,
        anchors=_STRAPS,
        everyday=0.3,
    ),
    Kind(
        name="cloth",
        about="sewn cloth mask, plain or patterned",
        shape=Shape(top=0.27, peak=0.22, fall=0.46, taper=0.22, chin=0.46, corner=0.22),
        colors=_DYES,
        paint="cloth",
        textures=_PRINTED,
        bulge=0.16,
        crease=(0.006, 0.02),
        cord=0.03,
        cord_white=0.0,
        everyday=2.0,
    ),
    Kind(
        name="sponge",
        about="moulded sponge or neoprene mask with a centre seam",
        shape=Shape(
            top=0.26, peak=0.12, fall=0.62, side=1.0, taper=0.30,
            bottom=1.84, chin=0.36, corner=0.24,
        ),
        colors={"black": 0.6, "grey": 0.2, "navy": 0.06, "pink": 0.06, "white": 0.08},
        paint="sponge",
        bulge=0.10,
        ridge=0.10,
        crease=(0.0, 0.005),
        cord=0.055,
        cord_white=0.0,
        everyday=0.6,
    ),
    Kind(
        name="window",
        about="cloth mask with a transparent window over the mouth",
        shape=Shape(top=0.28, peak=0.22, fall=0.46, taper=0.20, bottom=1.85, chin=0.5, corner=0.22),
        colors=_DYES,
        paint="window",
        bulge=0.12,
        crease=(0.002, 0.008),
        cord=0.025,
        cord_white=0.0,
        everyday=0.1,
    ),
    Kind(
        name="bandana",
        about="folded bandana, its corner hanging below the chin",
        shape=Shape(
            cut="jaw", top=0.34, peak=0.30, fall=0.26, side=1.24, taper=0.30,
            bottom=2.50, chin=0.30, jaw=1.05, corner=0.12,
        ),
        colors=_DYES,
        paint="hanging",
        textures={"plain": 0.25, "print": 0.45, "dots": 0.2, "check": 0.1},
        bulge=0.12,
        crease=(0.015, 0.04),
        everyday=0.3,
    ),
    Kind(
        name="gaiter",
        about="stretch neck gaiter pulled over the nose",
        shape=Shape(
            cut="jaw", top=0.34, peak=0.28, fall=0.30, side=1.30, taper=0.30,
            bottom=2.90, chin=0.6, jaw=0.1, corner=0.10,
        ),
        colors=_DYES,
        paint="hanging",
        textures={"plain": 0.75, "print": 0.15, "stripes": 0.1},
        bulge=0.10,
        crease=(0.01, 0.03),
        everyday=0.3,
    ),
)  # fmt: skip

_OCCLUDERS = (
    Kind(
        name="scarf",
        about="wool scarf over mouth and chin",
        shape=Shape(
            top=0.62, peak=0.5, fall=-0.10, side=1.55, taper=0.05,
            bottom=2.90, chin=0.6, jaw=0.1, corner=0.10, cut="jaw",
        ),
        colors=_DYES,
        paint="hanging",
        textures={"plain": 0.3, "stripes": 0.4, "check": 0.3},
        bulge=0.2,
        crease=(0.03, 0.06),
    ),
    Kind(
        name="hand",
        about="hand held before the mouth",
        shape=Shape(outline="hand", top=0.62, cut="none"),
        colors={"beige": 1.0},
        paint="skin",
        skin=True,
        crease=(0.004, 0.012),
    ),
    _drawing(
        "rectangle",
        "flat rectangle over the lower face, as in occlusion studies",
        Shape(outline="box", top=0.45, side=0.95, bottom=1.75, cut="none"),
        "black", "white", "red", "green", "navy", "lightblue",
    ),
)  # fmt: skip


KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (*_WORN, *_OCCLUDERS, *_NIST, *_PICTURES)}
