"""The kinds of mask there are, as data; see `mask_catalog.Kind` for what the numbers mean."""

from collections.abc import Mapping
from types import MappingProxyType

from mfrkit.masks.catalog import Kind, Shape
from mfrkit.masks.published import PUBLISHED

_PRINTED = MappingProxyType(
    {"plain": 0.48, "stripes": 0.12, "check": 0.12, "dots": 0.11, "print": 0.14, "lips": 0.03}
)
_DYES = MappingProxyType(
    {
        "black": 0.26, "white": 0.08, "grey": 0.14, "navy": 0.14, "red": 0.07, "maroon": 0.05,
        "pink": 0.06, "teal": 0.06, "olive": 0.05, "purple": 0.04, "beige": 0.05,
    }
)  # fmt: skip
_RESPIRATOR = MappingProxyType({"white": 0.78, "grey": 0.06, "black": 0.10, "blue": 0.06})
_PRIMARIES = MappingProxyType(
    dict.fromkeys(("black", "white", "red", "green", "navy", "lightblue"), 1.0)
)
_CUP = Shape(
    top=0.24,
    peak=0.20,
    fall=0.56,
    side=0.87,
    taper=0.10,
    bottom=1.86,
    chin=0.52,
    jaw=0.94,
    corner=0.30,
)
_FOLDED = Shape(
    top=0.22,
    peak=0.10,
    fall=0.60,
    side=0.93,
    taper=0.16,
    bottom=1.88,
    chin=0.22,
    jaw=0.92,
    corner=0.14,
)
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
    Kind(
        name="rectangle",
        about="flat rectangle over the lower face, as in occlusion studies",
        shape=Shape(outline="box", top=0.45, side=0.95, bottom=1.75, cut="none"),
        colors=_PRIMARIES,
        flat=True,
    ),
)  # fmt: skip


KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.name: kind for kind in (*_WORN, *_OCCLUDERS, *PUBLISHED)}
)
