"""Lay pictures out on one sheet, with captions: the quickest way to see what a stage did."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mfrkit.io.images import write_image

_GAP = 8
_CAPTION = 18
_PAPER = (250, 250, 248)
_INK = (60, 60, 64)


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet: (H, W, 3) uint8 RGB, and the words under it."""

    picture: NDArray[np.uint8]
    caption: str = ""


def contact_sheet(
    cells: Sequence[Cell], *, columns: int, side: int = 160, heading: str = ""
) -> NDArray[np.uint8]:
    """Arrange pictures in rows, each fitted into a square of `side` pixels and centred; RGB."""
    rows = -(-len(cells) // columns)
    step = side + _GAP
    top = _GAP + (26 if heading else 0)
    height = top + rows * (step + _CAPTION)
    sheet = Image.new("RGB", (_GAP + columns * step, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if heading:
        draw.text((_GAP, _GAP), heading, _INK, font=ImageFont.load_default(16))
    small = ImageFont.load_default(12)
    for place, cell in enumerate(cells):
        left = _GAP + place % columns * step
        upper = top + place // columns * (step + _CAPTION)
        fitted = fit(cell.picture, side)
        inset = (side - fitted.shape[1]) // 2, (side - fitted.shape[0]) // 2
        sheet.paste(Image.fromarray(fitted), (left + inset[0], upper + inset[1]))
        caption = _shorten(cell.caption, small, side)
        draw.text((left, upper + side + 2), caption, _INK, font=small)
    return np.asarray(sheet)


def write_contact_sheet(
    path: Path, cells: Sequence[Cell], *, columns: int, side: int = 160, heading: str = ""
) -> None:
    """Write a sheet as PNG or JPEG; see `contact_sheet`."""
    write_image(path, contact_sheet(cells, columns=columns, side=side, heading=heading))


def fit(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale a picture so that its longer side is `side`, without aliasing."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, size, interpolation=method).astype(np.uint8, copy=False)


def _shorten(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """Cut a caption to the width of its picture."""
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip("…") + "…" if len(text) > 2 else ""
    return text
