"""How far a mask moves what `align` cuts out: the misalignment students are to be trained with.

Every photo is aligned as `mfrkit align` does it, once as it is and once with a mask drawn on it.
From a pixel of the masked photo's crop to the same spot of the clean one's leads a similarity:
rotation, scale, and shift of the middle. Their spread (half the width of the middle 68 %), their
tails (degrees of freedom of Student's t that fits best), quantiles and correlations are what
`views.rotation`, `views.scale`, `views.shift` and `views.tail` stand for. The same for the
detector's boxes, from which the mesh network starts.

    python examples/measure_misalignment.py LFW people.txt --count 1500

LFW is a folder of photos per person, people.txt names people, one a line.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from mfrkit.faces.detect import select
from mfrkit.faces.geometry import invert, transform_points
from mfrkit.io.images import read_image
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import sample_spec
from mfrkit.stages.find_faces import FaceFinder, fit_crop

NAMES = ("rotation, degrees", "log scale", "shift x, pixels", "shift y, pixels")
BOX_NAMES = ("eye line, degrees", "log side", "shift x, sides", "shift y, sides")
MIDDLE = np.array([55.5, 55.5])
TAILS = (2, 2.5, 3, 4, 5, 7, 10, 15, 30, 100)


def find(finder, photo):
    """The face in the middle of a photo, and its matrix; None where there is none."""
    (found,) = finder([photo], lambda faces, size: select(faces, "center", size, min_score=0.6))
    if not found.chosen or found.turned:
        return None
    return found.chosen[0], *fit_crop(found.chosen[0], finder.mean, 112, 0.0)


def with_mask(renderer, photo, face, key, seed):
    """The photo with a mask drawn on the face."""
    spec = sample_spec(seed, key, MaskOptions(probability=1.0))
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    marks = None if face.mesh is None else torch.from_numpy(face.mesh.landmarks)[None].float()
    drawn = renderer(pixels, torch.from_numpy(face.points)[None], [spec], marks)
    return to_uint8(drawn.masked)[0].permute(1, 2, 0).contiguous().numpy()


def misalignment(clean, masked):
    """Rotation, log scale and shift from the masked photo's crop to the clean one's."""
    back = invert(masked)
    linear = clean[:, :2] @ back[:, :2]
    moved = transform_points(transform_points(MIDDLE[None], back), clean)[0]
    shift = moved - MIDDLE
    turn = math.degrees(math.atan2(linear[1, 0], linear[0, 0]))
    return turn, math.log(math.hypot(linear[0, 0], linear[1, 0])), *shift


def box_change(clean, masked, matrix):
    """Turn of the eye line, log ratio of the sides and shift of the box, as the crop shows it."""
    sides = [float(np.max(face.box[2:] - face.box[:2])) for face in (clean, masked)]
    middles = [(face.box[:2] + face.box[2:]) / 2 for face in (clean, masked)]
    eyes = [face.points[1] - face.points[0] for face in (clean, masked)]
    turn = np.degrees(np.arctan2(eyes[1][1], eyes[1][0]) - np.arctan2(eyes[0][1], eyes[0][0]))
    scale = np.hypot(*matrix[:, 0])
    shift = (matrix[:, :2] / scale) @ (middles[1] - middles[0]) / sides[0]
    return (turn + 180) % 360 - 180, math.log(sides[1] / sides[0]), *shift


def spread(values):
    """Half the width of the middle 68 %."""
    low, high = np.quantile(values, (0.1587, 0.8413))
    return (high - low) / 2


def tail(values):
    """Degrees of freedom of the Student's t that fits best, its own scale by its quartiles."""
    centred = values - np.median(values)
    best = (-math.inf, 0.0, 0.0)
    for freedom in TAILS:
        for scale in spread(centred) * np.linspace(0.6, 1.2, 31):
            constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
            constant -= math.log(math.pi * freedom) / 2 + math.log(scale)
            square = (centred / scale) ** 2 / freedom
            fit = constant - (freedom + 1) / 2 * float(np.log1p(square).mean())
            best = max(best, (fit, freedom, scale))
    return best[1:]


def report(title, names, rows):
    print(f"\n{title} ({len(rows)} faces)")
    print(f"{'':20} median spread  t: df scale   |.| 50 %   90 %   95 %   99 %")
    for name, values in zip(names, rows.T, strict=True):
        freedom, scale = tail(values)
        sizes = np.quantile(np.abs(values), (0.5, 0.9, 0.95, 0.99))
        print(
            f"{name:20} {np.median(values):6.3f} {spread(values):6.3f} {freedom:6} {scale:6.3f}  "
            + " ".join(f"{size:6.3f}" for size in sizes)
        )
    ranks = rows.argsort(0).argsort(0)
    print("rank correlations", np.corrcoef(ranks.T)[np.triu_indices(4, 1)].round(2).tolist())
    sizes = np.abs(rows).argsort(0).argsort(0)
    print("of sizes         ", np.corrcoef(sizes.T)[np.triu_indices(4, 1)].round(2).tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("people", type=Path)
    parser.add_argument("--count", type=int, default=1500, help="photos")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    finder = FaceFinder("yunet", torch.device("cpu"), mesh=True, min_size=40)
    renderer = MaskRenderer()
    people = options.people.read_text().split()
    paths = [path for name in people for path in sorted((options.photos / name).glob("*.jpg"))]
    paths = [paths[at] for at in np.linspace(0, len(paths) - 1, options.count).astype(int)]
    crops, boxes, lost, by_points = [], [], 0, 0
    for path in paths:
        photo = read_image(path)
        clean = find(finder, photo)
        if clean is None or clean[2] != "mesh":
            continue
        masked = find(finder, with_mask(renderer, photo, clean[0], path.stem, options.seed))
        if masked is None:
            lost += 1
            continue
        by_points += masked[2] != "mesh"
        crops.append(misalignment(clean[1], masked[1]))
        boxes.append(box_change(clean[0], masked[0], clean[1]))
    print(f"{len(paths)} photos; {lost} lost under the mask, {by_points} fitted by five points")
    report("crop of the masked photo -> crop of the clean one", NAMES, np.array(crops))
    report("box of the clean photo -> box of the masked one", BOX_NAMES, np.array(boxes))


if __name__ == "__main__":
    main()
