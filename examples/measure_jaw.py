"""Compare masks on the mean head, on a jaw line, and on a mesh whose turn is known.

    python examples/measure_jaw.py CROPS [--kinds surgical,n95,cloth] [--least-yaw 0]

CROPS is a folder whose manifest has 68 landmarks: those of the mesh (`align`), or annotated ones
(`align --detector face-alignment`, or your own under `align.landmarks`). Masks of no jitter are
drawn on grey, 50 pixels between the eyes, and what lies below the mouth is compared with the
polygon of the jaw line there. `jaw line` takes the landmarks for annotated ones and the turn from
the five points, `mesh` both from the mesh.
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
from mfrkit.masks.spec import sample_spec

EYES, SIZE, MIDDLE = 50, (280, 260), (130, 110)  # pixels: between eyes, canvas, mean of the points
JAW, MOUTH = slice(0, 17), slice(48, 55)  # of the 68
BATCH = 32


def read_faces(source, least_yaw):
    """Five points (N, 5, 2) and landmarks (N, 68, 2) on the canvas, turns (N, 2) in degrees."""
    points, landmarks, turns = [], [], []
    for item in open_source(source):
        align = item.record.blocks.get("align", {})
        meshed = align.get("fit") == "mesh"
        turn = (align["yaw"], align["pitch"]) if meshed else (np.nan, np.nan)
        if align.get("landmarks") is None or abs(turn[0]) < least_yaw:
            continue
        face, marks = np.array(align["points"], float), np.array(align["landmarks"], float)
        scale = EYES / np.linalg.norm(face[1] - face[0])
        points.append((face - face.mean(axis=0)) * scale + MIDDLE)
        landmarks.append((marks - face.mean(axis=0)) * scale + MIDDLE)
        turns.append(turn)
    if not points:
        sys.exit(f"measure_jaw: no face of {source} has 68 landmarks")
    return (np.array(each, np.float32) for each in (points, landmarks, turns))


def compare(region, marks):
    """Overlap with the jaw's polygon below the mouth, and area over its area."""
    jaw = cv2.fillPoly(np.zeros(SIZE, np.uint8), [marks[JAW].round().astype(np.int32)], 1) > 0
    top = int(marks[MOUTH, 1].mean())
    mask, jaw = region[top:], jaw[top:]
    return (mask & jaw).sum() / (mask | jaw).sum(), mask.sum() / jaw.sum()


def measure(kind, points, landmarks, *known):
    """(N, 2) comparisons of one kind, drawn by the points and what else is known of the heads."""
    renderer = MaskRenderer()
    spec = sample_spec(0, "face", MaskOptions(types={kind: 1.0}, jitter=0))
    spec = dataclasses.replace(spec, cords=False)
    rows = []
    for start in range(0, len(points), BATCH):
        part = slice(start, start + BATCH)
        places = torch.from_numpy(points[part])
        grey = torch.full((len(places), 3, *SIZE), 0.5)
        told = [torch.from_numpy(each[part]) for each in known]
        drawn = renderer(grey, places, [spec] * len(places), *told).region[:, 0].numpy() > 0.5
        rows += [compare(*pair) for pair in zip(drawn, landmarks[part], strict=True)]
    return np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("crops")
    parser.add_argument("--kinds", default="surgical,n95,cloth")
    parser.add_argument("--least-yaw", type=float, default=0, help="degrees, of meshed faces")
    arguments = parser.parse_args()
    points, landmarks, turns = read_faces(arguments.crops, arguments.least_yaw)
    known = {"mean head": (), "jaw line": (landmarks,)}
    if np.isfinite(turns).any():
        known["mesh"] = landmarks, turns
    print(f"{len(points)} faces")
    for kind in arguments.kinds.split(","):
        for name, each in known.items():
            overlap, area = measure(kind, points, landmarks, *each).T
            print(
                f"{kind:<10} {name:<10} overlap {overlap.mean():.3f}   "
                f"area {area.mean():.3f} of the jaw's, deviation {area.std():.3f}"
            )


if __name__ == "__main__":
    main()
