"""Compare masks that follow a jaw line with masks on the mean head.

    python examples/measure_jaw.py CROPS [--kinds surgical,n95,cloth]

CROPS is a folder whose manifest has 68 landmarks (`align --detector face-alignment`, or your own
under `align.landmarks`). Masks of no jitter are drawn on grey, 50 pixels between the eyes, and what
lies below the mouth is compared with the polygon of the jaw line there.
"""

import argparse
import dataclasses
import sys

import cv2
import numpy as np
import torch

from mfrkit.io.source import open_source
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.sampling import sample_spec

EYES, SIZE, MIDDLE = 50, (280, 260), (130, 110)  # pixels: between eyes, canvas, mean of the points
JAW, MOUTH = slice(0, 17), slice(48, 55)  # of the 68
BATCH = 32


def read_faces(source):
    """Five points (N, 5, 2) and landmarks (N, 68, 2) on the canvas."""
    points, landmarks = [], []
    for item in open_source(source):
        align = item.record.blocks.get("align", {})
        if align.get("landmarks") is None:
            continue
        face, marks = np.array(align["points"], float), np.array(align["landmarks"], float)
        scale = EYES / np.linalg.norm(face[1] - face[0])
        points.append((face - face.mean(axis=0)) * scale + MIDDLE)
        landmarks.append((marks - face.mean(axis=0)) * scale + MIDDLE)
    if not points:
        sys.exit(f"measure_jaw: no face of {source} has 68 landmarks")
    return np.array(points, np.float32), np.array(landmarks, np.float32)


def compare(region, marks):
    """Overlap with the jaw's polygon below the mouth, and area over its area."""
    jaw = cv2.fillPoly(np.zeros(SIZE, np.uint8), [marks[JAW].round().astype(np.int32)], 1) > 0
    top = int(marks[MOUTH, 1].mean())
    mask, jaw = region[top:], jaw[top:]
    return (mask & jaw).sum() / (mask | jaw).sum(), mask.sum() / jaw.sum()


def measure(kind, points, landmarks, follow):
    """(N, 2) comparisons of one kind."""
    renderer = MaskRenderer()
    spec = sample_spec(0, "face", MaskOptions(types={kind: 1.0}, jitter=0))
    spec = dataclasses.replace(spec, cords=False)
    rows = []
    for start in range(0, len(points), BATCH):
        part = slice(start, start + BATCH)
        places = torch.from_numpy(points[part])
        grey = torch.full((len(places), 3, *SIZE), 0.5)
        marks = torch.from_numpy(landmarks[part]) if follow else None
        drawn = renderer(grey, places, [spec] * len(places), marks).region[:, 0].numpy() > 0.5
        rows += [compare(*pair) for pair in zip(drawn, landmarks[part], strict=True)]
    return np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops")
    parser.add_argument("--kinds", default="surgical,n95,cloth")
    arguments = parser.parse_args()
    points, landmarks = read_faces(arguments.crops)
    print(f"{len(points)} faces")
    for kind in arguments.kinds.split(","):
        for name, follow in (("mean head", False), ("jaw line", True)):
            overlap, area = measure(kind, points, landmarks, follow).T
            print(
                f"{kind:<10} {name:<10} overlap {overlap.mean():.3f}   "
                f"area {area.mean():.3f} of the jaw's, deviation {area.std():.3f}"
            )


if __name__ == "__main__":
    main()
