"""Compute the mean mesh that faces are fitted to, and write it into a model file of `facemesh`.

    python examples/mean_mesh.py LFW people.txt facemesh.safetensors -o facemesh.safetensors

LFW is a folder of photos per person, people.txt lists photos as `Name/Name_0001` or people as
`Name`, one a line. Each face is found and placed in the crop by MTCNN and its five points, as the
bundled recognisers were trained; the mean is the median of its vertices there, over the faces
whose mesh is sure.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mfrkit.faces.detect import select
from mfrkit.faces.geometry import similarity_from_points, template, transform_points
from mfrkit.faces.mesh import MeshFinder
from mfrkit.faces.mtcnn import MTCNNDetector
from mfrkit.io.images import read_image
from mfrkit.models.device import single_core_pool
from mfrkit.models.registry import load_network, save_network

SURE = 0.9  # least score of a mesh that counts here
BATCH = 32


def wanted(folder, listed):
    """The photos a list names, by photo or by person."""
    for line in listed.read_text().splitlines():
        name = line.split("\t")[0].strip()
        path = folder / f"{name}.jpg"
        yield from [path] if path.is_file() else sorted((folder / name).glob("*.jpg"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("people", type=Path)
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--every", type=int, default=2, help="use every N-th photo")
    options = parser.parse_args()

    network, card = load_network(options.model)
    finder = MeshFinder(network, torch.device("cpu"), single_core_pool(2), looks=2)
    detector = MTCNNDetector(load_network("mtcnn")[0], min_size=60)
    paths = list(wanted(options.photos, options.people))[:: options.every]
    meshes = []
    for start in range(0, len(paths), BATCH):
        photos = [read_image(path) for path in paths[start : start + BATCH]]
        chosen = [
            (photo, face)
            for photo, faces in zip(photos, detector(photos), strict=True)
            for face in select(faces, "center", photo.shape[:2], min_score=0.9)
        ]
        found = finder([photo for photo, _ in chosen], [face for _, face in chosen])
        for (_, face), mesh in zip(chosen, found, strict=True):
            if mesh is not None and mesh.score > SURE:
                matrix = similarity_from_points(face.points, template())
                plane = transform_points(mesh.vertices[:, :2], matrix)
                depth = mesh.vertices[:, 2:] * np.hypot(matrix[0, 0], matrix[1, 0])
                meshes.append(np.concatenate([plane, depth], 1))
    network.half()  # loses nothing: the published weights are of half precision
    network.mean = torch.from_numpy(np.median(meshes, axis=0)).float()
    save_network(options.output, network, replace(card, sha256=""))
    print(f"median of {len(meshes)} of {len(paths)} photos -> {options.output}")


if __name__ == "__main__":
    main()
