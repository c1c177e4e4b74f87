"""Kinds that are not cloth: the drawings of published benchmarks, and the user's own picture."""

from mfrkit.masks.catalog import TEMPLATE, WORN, Kind, Shape


def _nist(code: str, about: str, shape: Shape) -> Kind:
    """Return one of the drawn shapes of the NIST face mask tests: flat colour on the lower face."""
    return Kind(
        name=f"nist-{code}",
        about=f"NIST-style flat shape {code}: {about}",
        shape=shape,
        colors={"lightblue": 1.0, "black": 1.0, "white": 1.0},
        flat=True,
    )


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
    Kind(
        name="maskinv",
        about="the flat paste of the MaskInv code, 8 pixels to the left as published",
        shape=Shape(outline="pasted", cut="none"),
        colors={"grey": 1.0},
        flat=True,
    ),
    Kind(
        name="maskinv-centred",
        about="the same paste without its 8-pixel shift",
        shape=Shape(outline="pasted", cut="none"),
        colors={"grey": 1.0},
        flat=True,
    ),
)

PUBLISHED = (*_NIST, *_PICTURES)
