"""Measure face completion against leaving the mask on, pasting a mean face, and OpenCV's Telea.

    python examples/measure_completion.py CROPS [--model completion] [--region-model region]
        [--count 500] [--json completion.json] [--sheet sheet.png]

CROPS are unmasked crops of 112x112 that `mfrkit align` wrote, of people the generator has not
seen. All ways of filling see the same masked faces. PSNR and SSIM count only the pixels of the true
region, grown by the generator's margin; identity is the cosine between the embeddings that
`arcface` gives the filled and the true face. Edge and detail compare gradients with the true
picture's, on the border of the hole and inside it: 1 is right, a seam has more, a blur less.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from mfrkit.masks.kinds import KINDS, TEMPLATE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.models.completion import composite
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import FaceFeatures
from mfrkit.models.region import is_masked, load_region
from mfrkit.models.registry import load_for_task
from mfrkit.pages.contact_sheet import Cell, write_contact_sheet
from mfrkit.pages.table import Table, to_markdown
from mfrkit.stages.flow import batched
from mfrkit.training.checks import Likeness, read_faces, stack_crops, wear_masks
from mfrkit.training.data import open_train_set

CPU = torch.device("cpu")
SIZE = (112, 112)
BATCH = 32
SHOWN = 8
RING = 8  # pixels round the hole from which the paste takes its colours
COLUMNS = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "identity": "identity",
    "edge": "edge",
    "detail": "detail",
}


class Fillers:
    """Every way of filling a hole, by name; each takes masked faces, region and hole."""

    def __init__(self, model, region_model, mean_face):
        self.generator, _ = load_for_task(model, "completion", CPU)
        self.finder = load_region(region_model)
        self.mean_face = mean_face
        self.ways = {
            "mask left on": lambda masked, *_: masked,
            "mean face": self.paste,
            "Telea": self.telea,
            "completion, true region": lambda masked, region, _: self.generator(masked, region),
            "completion, predicted region": self.as_the_command_does,
        }

    def paste(self, masked, _, hole):
        """Lay the mean face in, its colours spread round the hole as the picture's are."""
        ring = grown(hole, RING) - hole
        mean, spread = moments(masked, ring)
        own, own_spread = moments(self.mean_face.expand_as(masked), ring)
        matched = (self.mean_face - own) * (spread / own_spread).clamp(0.5, 2) + mean
        return composite(matched.clamp(0, 1), masked, hole)

    def telea(self, masked, _, hole):
        """Telea, "An Image Inpainting Technique Based on the Fast Marching Method", 2004."""
        pictures = to_uint8(masked).permute(0, 2, 3, 1).contiguous().numpy()
        holes = (hole[:, 0] > 0).byte().numpy()
        pairs = zip(pictures, holes, strict=True)
        filled = [cv2.inpaint(*pair, 3, cv2.INPAINT_TELEA) for pair in pairs]
        return torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2).float() / 255

    def as_the_command_does(self, masked, *_):
        """A face found unmasked keeps what it wears."""
        region = self.finder.find(masked, straps=True)
        found = is_masked(region)[:, None, None, None]
        return torch.where(found, self.generator(masked, region), masked)


def grown(region, pixels):
    return F.max_pool2d(region, 2 * pixels + 1, 1, pixels)


def moments(pictures, weight):
    """Mean and standard deviation of each picture's channels, (B, 3, 1, 1), where it counts."""
    total = weight.sum((2, 3), keepdim=True).clamp_min(1e-6)
    mean = (pictures * weight).sum((2, 3), keepdim=True) / total
    variance = ((pictures - mean).square() * weight).sum((2, 3), keepdim=True) / total
    return mean, variance.sqrt().clamp_min(1e-3)


def steepness(pictures, where):
    """Mean length of the gradients of each picture's brightness over some pixels, (B,)."""
    grey = F.pad(pictures.mean(1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    across, down = grey.diff(dim=3)[:, :, :-1], grey.diff(dim=2)[..., :-1]
    length = (across.square() + down.square()).sqrt()
    return (length * where).sum((1, 2, 3)) / where.sum((1, 2, 3)).clamp_min(1e-6)


def measure(faces, masks, fillers, likeness):
    """Mean of every figure for every way; and the pictures of the first faces."""
    renderer, figures, shown = MaskRenderer(), {}, {}
    for part in batched(faces, BATCH):
        true = stack_crops(part, CPU)
        drawn = wear_masks(renderer, part, true, masks)
        hole = fillers.generator.hole(drawn.region)
        inside = -grown(-hole, 2)
        border = grown(hole, 1) - inside
        for name, fill in fillers.ways.items():
            made = fill(drawn.masked, drawn.region, hole)
            row = likeness(made, true, hole)
            row["edge"] = steepness(made, border) / steepness(true, border).clamp_min(1e-3)
            row["detail"] = steepness(made, inside) / steepness(true, inside).clamp_min(1e-3)
            for figure in COLUMNS:
                figures.setdefault(name, {}).setdefault(figure, []).append(row[figure])
            shown.setdefault(name, made[:SHOWN])
        shown.setdefault("true", true[:SHOWN])
    means = {
        name: {figure: float(torch.cat(parts).mean()) for figure, parts in row.items()}
        for name, row in figures.items()
    }
    return means, shown


def write_sheet(path, shown):
    cells = [
        Cell(picture, name)
        for name, pictures in shown.items()
        for picture in to_uint8(pictures).permute(0, 2, 3, 1).contiguous().numpy()
    ]
    write_contact_sheet(path, cells, columns=len(cells) // len(shown), side=SIZE[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops")
    parser.add_argument("--model", default="completion")
    parser.add_argument("--region-model", default="region")
    parser.add_argument("--count", type=int, default=500, help="faces, evenly spread")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="the first faces, filled in every way")
    arguments = parser.parse_args()
    data = list(open_train_set([arguments.crops]).faces)
    measured = data[:: max(1, len(data) // arguments.count)][: arguments.count]
    faces = read_faces(measured, SIZE)
    likeness = Likeness(FaceFeatures(load_recogniser("arcface")))
    fillers = Fillers(arguments.model, arguments.region_model, stack_crops(faces, CPU).mean(0))
    other = ",".join(name for name, kind in KINDS.items() if not kind.everyday if name != TEMPLATE)
    results = {}
    for title, masks in (("everyday masks", MaskOptions()), ("others", MaskOptions.parse(other))):
        with torch.inference_mode():
            results[title], shown = measure(faces, masks, fillers, likeness)
        rows = [
            [name, *(f"{row[figure]:.{1 if figure == 'psnr' else 3}f}" for figure in COLUMNS)]
            for name, row in results[title].items()
        ]
        print(to_markdown(Table(title, ["filled by", *COLUMNS.values()], rows, [])), end="\n\n")
        if arguments.sheet and title == "everyday masks":
            write_sheet(arguments.sheet, shown)
    print(f"{len(faces)} faces")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
