"""Measure mesh networks under masks: how far vertices are from those of the bare photo.

    python examples/measure_mesh.py PHOTOS facemesh landmarks.safetensors --truth facemesh

PHOTOS is a folder per person, people who were not trained on. What the network `--truth` finds in
a bare photo by two looks is taken for true. A mask is drawn on each photo, the face is detected
anew, and each network looks once and twice, at the masked photo and at the bare one. Vertices are
measured in % of the distance between the eyes, in the plane of the picture, with the interval of
95 % over resampled people; the crop by how far its corners are from where the bare photo's mesh
puts them, in pixels of the 112-pixel crop. The last lines tell where the detector's regions lie:
the settings `right`, `down`, `larger`, `shift`, `scale` and `turn` of `mfrkit train-landmarks`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from mfrkit.faces.detect import select
from mfrkit.faces.geometry import invert, transform_points
from mfrkit.faces.mesh import (
    SIDE,
    MeanMesh,
    MeshFinder,
    box_region,
    eye_distance,
    mesh_region,
    upper_part,
)
from mfrkit.faces.yunet import YuNetDetector
from mfrkit.io.images import read_image
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import sample_spec
from mfrkit.models.device import single_core_pool
from mfrkit.models.registry import load_network

CORNERS = np.array([[0.0, 0], [111, 0], [0, 111], [111, 111]])


def largest(detector, photo):
    """The face `align` chooses, or None."""
    faces = select(detector([photo])[0], "center", photo.shape[:2], min_score=0.6, min_size=40)
    return faces[0] if faces else None


def pairs_of_photos(paths, detector, seed):
    """Photos with and without a mask: person, both pictures, both faces."""
    renderer, masks = MaskRenderer(), MaskOptions()
    for path in paths:
        bare = read_image(path)
        face = largest(detector, bare)
        if face is None:
            continue
        picture = torch.from_numpy(bare).permute(2, 0, 1)[None].float() / 255
        points = torch.from_numpy(face.points)[None]
        drawn = renderer(picture, points, [sample_spec(seed, path.stem, masks)]).masked
        masked = to_uint8(drawn)[0].permute(1, 2, 0).numpy()
        yield path.parent.name, (bare, face), (masked, largest(detector, masked))


def where(region, own):
    """Where a region lies about another one: right, down, larger, turn."""
    move = region[:, :2] @ np.linalg.inv(own[:, :2])
    middle = np.full((1, 2), (SIDE - 1) / 2)
    at = transform_points(transform_points(middle, invert(region)), own) - middle
    angle = np.degrees(np.arctan2(move[1, 0], move[0, 0]))
    return [*at[0] / SIDE, -np.log(np.hypot(move[0, 0], move[1, 0])), angle]


def errors(mean, mesh, true):
    """Upper and hidden vertices in % of the eyes' distance; corners of the crop in its pixels."""
    upper = upper_part(mean.vertices)
    apart = np.linalg.norm((mesh.vertices - true.vertices)[:, :2], axis=1)
    apart *= 100 / eye_distance(true.vertices)
    back = invert(mean.matrix(true, 112, 0))
    moved = transform_points(transform_points(CORNERS, back), mean.matrix(mesh, 112, 0)) - CORNERS
    return apart[upper].mean(), apart[~upper].mean(), np.linalg.norm(moved, axis=1).mean()


def interval(values, people):
    """Half the width of the interval of 95 % over resampled people."""
    names, owner = np.unique(people, return_inverse=True)
    sums = np.stack([np.bincount(owner, column) for column in values.T], 1)
    counts = np.bincount(owner)
    generator = np.random.default_rng(0)
    chosen = generator.integers(0, len(names), (1000, len(names)))
    means = sums[chosen].sum(1) / counts[chosen].sum(1)[:, None]
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return (high - low) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--truth", default="facemesh")
    parser.add_argument("--every", type=int, default=1, help="use every N-th photo")
    parser.add_argument("--seed", type=int, default=7, help="of the masks")
    options = parser.parse_args()

    pool = single_core_pool(1)
    device = torch.device("cpu")
    detector = YuNetDetector(load_network("yunet")[0].graph.numpy())
    truth = load_network(options.truth)[0]
    mean = MeanMesh(truth.mean.numpy())
    paths = sorted(options.photos.rglob("*.jpg"))[:: options.every]
    found = list(pairs_of_photos(paths, detector, options.seed))
    true = MeshFinder(truth, device, pool, looks=2)(
        *zip(*(bare for _, bare, _ in found), strict=True)
    )
    lost = sum(face is None for _, _, (_, face) in found)
    print(f"{len(paths)} photos, {len(found)} faces, {lost} of them not found under the mask")

    print("model  looks  photos  upper %  hidden %  crop px  score below 0.1")
    for model in options.models:
        network = load_network(model)[0]
        for looks in (1, 2):
            finder = MeshFinder(network, device, pool, looks)
            for sort, column in (("masked", 2), ("bare", 1)):
                rows = [(row, own) for row, own in zip(found, true, strict=True) if row[column][1]]
                meshes = finder(*zip(*(row[column] for row, _ in rows), strict=True))
                found_errors = np.array(
                    [errors(mean, mesh, own) for mesh, (_, own) in zip(meshes, rows, strict=True)]
                )
                half = interval(found_errors, [row[0] for row, _ in rows])
                told = "  ".join(
                    f"{m:.2f}±{h:.2f}" for m, h in zip(found_errors.mean(0), half, strict=True)
                )
                unsure = sum(mesh.score <= 0.1 for mesh in meshes)
                print(f"{Path(model).stem}  {looks}  {sort}  {told}  {unsure}", flush=True)

    for sort, column in (("masked", 2), ("bare", 1)):
        places = [
            where(box_region(face.box, face.points), mesh_region(own.vertices))
            for row, own in zip(found, true, strict=True)
            for _, face in [row[column]]
            if face is not None
        ]
        middle, spread = np.mean(places, 0), np.std(places, 0)
        print(f"regions of boxes, {sort}: right {middle[0]:.3f}, down {middle[1]:.3f}, larger "
              f"{middle[2]:.3f}; shift {np.hypot(*spread[:2]) / 2**0.5:.3f} "
              f"({spread[0]:.3f}, {spread[1]:.3f}), scale {spread[2]:.3f}, turn {spread[3]:.1f} "
              f"(mean {middle[3]:.1f})")  # fmt: skip


if __name__ == "__main__":
    main()
