"""Compare the mask renderer with the flat six-point paste, and time synth-mask's three parts.

    python examples/bench_masks.py CROPS [--count 512] [--processes 2] [--sheet sheet.png]

CROPS is what `mfrkit align` wrote. The baseline is what most published masked sets were made with,
written here in its smallest form: one picture of a mask, a homography from six of its points to six
of the face's, a hard paste, brightness matched as a whole. Both see the same decoded crops and the
same landmarks, in turns, so that whatever else the machine does slows both alike; times are
processor seconds of this process, and the ratio is the median over the turns.
"""

import argparse
import itertools
import multiprocessing
import sys
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch

from mfrkit.faces.geometry import similarity_from_points, template, transform_points
from mfrkit.io.images import decode_image, encode_image
from mfrkit.io.source import open_source
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, mask_pictures
from mfrkit.masks.spec import sample_spec
from mfrkit.pages.contact_sheet import Cell, write_contact_sheet

BATCH = 64
# The paste's control points on its picture, and on a crop aligned to the template.
CONTROL = np.array(
    [[20, 100], [310, 20], [600, 100], [600, 325], [310, 470], [20, 325]], np.float64
)
FACE = np.array([[17, 72], [56, 62], [95, 72], [89, 95], [56, 119], [23, 95]], np.float64)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops", type=Path)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sheet", type=Path)
    return parser.parse_args()


def read_crops(folder, count):
    """Keys, JPEG bytes, pictures and points of evenly spread crops."""
    items = [item for item in open_source(str(folder)) if item.path is not None]
    items = items[:: max(1, len(items) // count)][:count]
    if not items:
        sys.exit(f"bench_masks: no crops in {folder}")
    pictures, points = [], []
    for item in items:
        align = item.record.blocks["align"]
        pictures.append(decode_image(item.path.read_bytes()))
        points.append(transform_points(np.array(align["points"]), np.array(align["matrix"])))
    files = [encode_image(picture, ".jpg") for picture in pictures]
    return [item.record.key for item in items], files, pictures, np.array(points, np.float32)


def draw_paste_picture():
    """A light blue mask with three folds, RGB and opacity, 620 x 500."""
    layer = np.zeros((500, 620, 4), np.uint8)
    cv2.fillPoly(layer, [CONTROL.astype(np.int32)], (150, 190, 220, 255))
    for row in (180, 250, 320):
        cv2.line(layer, (30, row), (590, row), (110, 150, 180, 255), 5)
    return layer


def paste(picture, points, layer):
    """Lay the layer over one face, flat."""
    to_crop = similarity_from_points(points.astype(np.float64), template())
    back = np.linalg.inv(np.vstack([to_crop, [0, 0, 1]]))[:2]
    homography, _ = cv2.findHomography(CONTROL, transform_points(FACE, back))
    height, width = picture.shape[:2]
    warped = cv2.warpPerspective(layer, homography, (width, height))
    region = warped[..., 3] > 0
    hsv = cv2.cvtColor(warped[..., :3], cv2.COLOR_RGB2HSV).astype(np.float32)
    light = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 2].mean()
    change = (light - hsv[..., 2][region].mean()) / 255 if region.any() else 0
    hsv[..., 2] *= 1 + change
    hsv[..., 1] *= 1 - change
    cloth = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
    return np.where(region[..., None], cloth, picture)


def render(renderer, pictures, points, specs):
    """Uint8 in, uint8 out, as in synth-mask: the conversions count."""
    return mask_pictures(renderer, np.stack(pictures), points, specs)[0]


def compare(keys, pictures, points, turns=5):
    """Processor seconds a face of both, in turns, on one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    renderer, layer = MaskRenderer(), draw_paste_picture()
    specs = [sample_spec(0, key, MaskOptions.parse("surgical,n95,cloth")) for key in keys]
    seconds = []
    for turn in range(turns + 1):
        start = time.process_time()
        for i in range(0, len(pictures), BATCH):
            part = slice(i, i + BATCH)
            ours = render(renderer, pictures[part], points[part], specs[part])
        middle = time.process_time()
        theirs = [paste(p, q, layer) for p, q in zip(pictures, points, strict=True)]
        if turn:  # the first warms up
            seconds.append((middle - start, time.process_time() - middle))
    del ours, theirs
    return np.array(seconds) / len(pictures)


def hold_crops(keys, pictures, points):
    """Prepare a process that draws on slices of these crops."""
    global draw_slice
    torch.set_num_threads(1)
    renderer = MaskRenderer()
    specs = [sample_spec(0, key, MaskOptions.parse("surgical,n95,cloth")) for key in keys]

    def draw_slice(part):
        return len(render(renderer, pictures[part], points[part], specs[part]))


def draw(part):
    """Draw on a slice of the crops this process holds."""
    return draw_slice(part)


def in_parallel(keys, pictures, points, processes):
    """Faces per second on the clock, batches side by side in processes as in synth-mask."""
    parts = [slice(i, i + BATCH) for i in range(0, len(pictures), BATCH)] * 4
    best = 0.0
    context = multiprocessing.get_context("forkserver")
    with context.Pool(processes, hold_crops, (keys, pictures, points)) as pool:
        for _ in range(5):
            start = time.perf_counter()
            drawn = sum(pool.imap(draw, parts))
            best = max(best, drawn / (time.perf_counter() - start))
    return best


def shares(keys, files, points):
    """Processor seconds a face of decoding, drawing and encoding JPEG, one thread."""
    renderer, spent = MaskRenderer(), defaultdict(float)
    specs = [sample_spec(0, key, MaskOptions.parse("surgical,n95,cloth")) for key in keys]
    for i in range(0, len(files), BATCH):
        part = slice(i, i + BATCH)
        marks = [time.process_time()]
        pictures = [decode_image(file) for file in files[part]]
        marks.append(time.process_time())
        masked = render(renderer, pictures, points[part], specs[part])
        marks.append(time.process_time())
        for picture in masked:
            encode_image(picture, ".jpg")
        marks.append(time.process_time())
        for name, (a, b) in zip(
            ("decode", "draw", "encode"), itertools.pairwise(marks), strict=True
        ):
            spent[name] += (b - a) / len(files)
    return spent


def write_sheet(path, keys, pictures, points):
    """The same faces plain, with the flat paste, and rendered."""
    chosen = list(range(0, len(keys), max(1, len(keys) // 8)))[:8]
    specs = [sample_spec(0, keys[i], MaskOptions.parse("surgical", "blue")) for i in chosen]
    drawn = render(MaskRenderer(), [pictures[i] for i in chosen], points[chosen], specs)
    layer = draw_paste_picture()
    cells = [Cell(pictures[i], "crop") for i in chosen]
    cells += [Cell(paste(pictures[i], points[i], layer), "six-point paste") for i in chosen]
    cells += [Cell(picture, "mfrkit") for picture in drawn]
    write_contact_sheet(path, cells, columns=len(chosen), side=130)


def main():
    arguments = parse_arguments()
    keys, files, pictures, points = read_crops(arguments.crops, arguments.count)
    seconds = compare(keys, pictures, points)
    ours, theirs = np.median(seconds, axis=0)
    spent = shares(keys, files, points)
    total = sum(spent.values())
    rate = in_parallel(keys, pictures, points, arguments.processes)
    rows = [
        ("crops", f"{len(pictures)} of {pictures[0].shape[1]}x{pictures[0].shape[0]}"),
        ("mfrkit renderer", f"{1 / ours:.0f} faces per processor second"),
        ("six-point paste", f"{1 / theirs:.0f} faces per processor second"),
        ("speed ratio", f"{np.median(seconds[:, 1] / seconds[:, 0]):.2f} (median of the turns)"),
        (
            f"renderer, {arguments.processes} processes",
            f"{rate:.0f} faces/s on the clock, best of 5",
        ),
        *((name, f"{1e3 * t:.2f} ms a face, {t / total:.0%}") for name, t in spent.items()),
        ("JPEG to JPEG", f"{1 / total:.0f} faces per processor second"),
    ]
    for name, value in rows:
        print(f"{name:<24} {value}")
    if arguments.sheet:
        write_sheet(arguments.sheet, keys, pictures, points)


if __name__ == "__main__":
    main()
