"""The bundled portraits as test pictures: of kinds of mask, of a template, of a recogniser."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.geometry import similarity_from_points, template, transform_points, warp
from mfrkit.io.files import refuse_existing
from mfrkit.io.images import read_image
from mfrkit.masks.kinds import KINDS, OWN, TEMPLATE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, mask_pictures
from mfrkit.masks.spec import sample_spec
from mfrkit.masks.template import ANCHORS, TemplateFile, find_problems
from mfrkit.models.device import resolve_device
from mfrkit.models.recogniser import Recogniser, embed_faces
from mfrkit.pages.contact_sheet import Cell, fit, write_contact_sheet
from mfrkit.stages.demo import PHOTOS
from mfrkit.stages.find_faces import load_detector

PORTRAITS = (
    "eileen_collins/eileen_collins_0001.jpg",
    "joe_biden/joe_biden_0001.jpg",
    "barack_obama/barack_obama_0001.jpg",
)
_SIDE, _MARGIN = 224, 0.12
_SHOWN = 480  # side of a template as it is shown, pixels
_INK, _LIGHT, _DARK = (220, 30, 60), 236, 204

Portrait = tuple[NDArray[np.uint8], NDArray[np.float64]]


def list_kinds(sheet: Path | None, *, seed: int, force: bool, console: Console) -> None:
    """Print what kinds of mask there are, and draw each on the bundled portraits if asked to."""
    if sheet is not None:
        refuse_existing(sheet, force=force)
    rows = [[name, kind.about, ", ".join(kind.textures)] for name, kind in KINDS.items()]
    console.table("kinds of mask", ["--type", "what", "--texture"], rows)
    if sheet is None:
        return
    portraits, renderer = list(load_portraits()), MaskRenderer()
    names = [name for name in KINDS if name not in OWN]
    cells = [
        Cell(_mask_portrait(renderer, portraits[place % len(portraits)], name, seed), name)
        for place, name in enumerate(names)
    ]
    write_contact_sheet(sheet, cells, columns=5, side=150)
    console.info(f"sheet -> {sheet}")


def check_template(picture: Path, path: Path, *, force: bool, console: Console) -> None:
    """Draw a template with its points, and on the bundled portraits.

    Raises:
        InputError: the template cannot be used; the sheet, if it can be drawn at all, shows why.
    """
    refuse_existing(path, force=force)
    file = TemplateFile.read(picture)
    problems = find_problems(file)
    cells = [Cell(_with_points(file), file.path.name)]
    renderer = MaskRenderer(file)
    for name, portrait in zip(PORTRAITS, load_portraits(), strict=True):
        cells.append(Cell(_mask_portrait(renderer, portrait, TEMPLATE, 0), Path(name).stem))
    write_contact_sheet(path, cells, columns=2, side=_SHOWN // 2)
    console.info(f"sheet -> {path}")
    if problems:
        raise InputError(f"{picture}: {'; '.join(problems)}")
    console.info(f"{picture}: fine, use it with --template {picture}")


def load_portraits() -> Iterator[Portrait]:
    """Yield crops of the bundled portraits, (H, W, 3) uint8, and their five points."""
    detector = load_detector("mtcnn", resolve_device("cpu"), 8, 60)
    target = template(_SIDE, _MARGIN)
    for name in PORTRAITS:
        photo = read_image(PHOTOS / name)
        points = detector([photo])[0][0].points
        matrix = similarity_from_points(points, target)
        yield warp(photo, matrix, _SIDE), transform_points(points, matrix)


def _mask_portrait(
    renderer: MaskRenderer, portrait: Portrait, kind: str, seed: int
) -> NDArray[np.uint8]:
    """Return a portrait, (H, W, 3) uint8, wearing a kind of mask."""
    crop, points = portrait
    spec = sample_spec(seed, kind, MaskOptions(types={kind: 1.0}, jitter=0.5))
    return mask_pictures(renderer, crop[None], points[None].astype(np.float32), [spec])[0][0]


def _with_points(file: TemplateFile) -> NDArray[np.uint8]:
    """Lay a template over a checkerboard, its points named."""
    shown = fit(file.layer[..., :3], _SHOWN)
    opacity = fit(file.layer[..., 3], _SHOWN)[..., None] / 255.0
    rows, columns = np.indices(shown.shape[:2]) // 16
    board = np.where((rows + columns) % 2, _LIGHT, _DARK)[..., None]
    laid = Image.fromarray((shown * opacity + board * (1 - opacity)).astype(np.uint8))
    draw = ImageDraw.Draw(laid)
    font = ImageFont.load_default(18)
    scale = shown.shape[1] / file.layer.shape[1]
    for name, (x, y) in zip(ANCHORS, (file.points * scale).tolist(), strict=True):
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline=_INK, width=2)
        side = "rs" if "right" in name else "ls"
        draw.text((x, y - 8), name, _INK, font=font, anchor=side)
    return np.asarray(laid)


# Eyes, nose tip and mouth corners in the photos, pixels: no detector has to be run.
_POINTS = {
    "barack_obama_0001": (351.2, 167.8, 438.1, 168.7, 392.1, 218.6, 346.8, 255.1, 437.4, 256),
    "barack_obama_0002": (188.6, 273.9, 280.7, 286.7, 213.5, 334.6, 186, 390, 263.8, 395.6),
    "barack_obama_0003": (284, 149.5, 332, 154.1, 312.6, 170.5, 284.4, 198.2, 327.8, 203.3),
    "eileen_collins_0001": (204.8, 101.6, 246.6, 103.1, 224.2, 130.2, 200.5, 140.5, 245.2, 141.7),
    "joe_biden_0001": (218.3, 130.8, 267.4, 141.4, 243.3, 166, 211.8, 188.6, 255.3, 195.7),
}


def try_out(recogniser: Recogniser, name: str, console: Console) -> None:
    """Say how a network of another program is fed, and warn if it cannot be right."""
    console.info(f"{name}: {recogniser.card.note}")
    doubt = find_doubt(recogniser)
    if doubt is not None:
        console.warn(f"{name}: {doubt}; it may be fed wrongly: --colour, --mean and --std say how")


@torch.inference_mode()
def find_doubt(recogniser: Recogniser) -> str | None:
    """Return what speaks against the way a network is fed, None if nothing does.

    Nothing does if the two portraits of one person that are least alike are more alike than any of
    two people.
    """
    names = list(_POINTS)
    faces = torch.stack([_crop(name, recogniser.card.input_size) for name in names])
    device = recogniser.mean.device
    vectors = torch.nn.functional.normalize(embed_faces(recogniser, faces.to(device)).float()).cpu()
    cosines = (vectors @ vectors.T).numpy()
    people = np.array([_person(name) for name in names])
    same = people[:, None] == people
    above = np.triu(np.ones_like(same), 1)
    genuine, impostor = cosines[same & above].min(), cosines[~same & above].max()
    if genuine > impostor:
        return None
    return (
        f"on the bundled portraits two of one person have a cosine of {genuine:.2f}, two of "
        f"different people {impostor:.2f}"
    )


def _person(name: str) -> str:
    return name.rpartition("_")[0]


def _crop(name: str, size: tuple[int, int] | None) -> Tensor:
    """Return a portrait's face, (3, H, W) float32 RGB in [0, 1]."""
    side = max(size or (112, 112))
    points = np.array(_POINTS[name]).reshape(5, 2)
    matrix = similarity_from_points(points, template(side))
    crop = torch.from_numpy(warp(read_image(PHOTOS / _person(name) / f"{name}.jpg"), matrix, side))
    face = crop.permute(2, 0, 1).float() / 255
    if size is not None and size != (side, side):
        face = torch.nn.functional.interpolate(face[None], size, mode="bilinear", antialias=True)[0]
    return face
