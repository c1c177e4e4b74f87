"""Aligning wide crops in a batch is what `align` does to photos one by one."""

import json

import numpy as np
import pytest
import torch

from mfrkit.faces.detect import Face
from mfrkit.faces.geometry import transform_points
from mfrkit.io.images import read_image
from mfrkit.methods.realign import MeshAligner
from mfrkit.stages.find_faces import fit_crop, load_mesh, load_mesh_finder

CPU = torch.device("cpu")
CORNERS = np.array([[0.0, 0], [223, 0], [0, 223], [223, 223]])


@pytest.fixture(scope="module")
def faces(wide_crops):
    """The wide crops as pictures, boxes and eyes in their pixels."""
    lines = (wide_crops / "manifest.jsonl").read_text().splitlines()
    found = []
    for record in map(json.loads, lines):
        align = record["align"]
        matrix = np.array(align["matrix"])
        points = transform_points(np.array(align["points"]), matrix)
        box = transform_points(np.array(align["box"]).reshape(2, 2), matrix)
        half = np.ptp(np.array(align["box"]).reshape(2, 2), 0).max() * np.hypot(*matrix[:, 0]) / 2
        box = np.concatenate([box.mean(0) - half, box.mean(0) + half])
        found.append((read_image(wide_crops / record["path"]), Face(box, 1.0, points)))
    return found


@pytest.fixture(scope="module")
def shown(faces):
    pictures = torch.from_numpy(np.stack([picture for picture, _ in faces]))
    boxes = []
    for _, face in faces:
        eyes = face.points[1] - face.points[0]
        middle, side = (face.box[:2] + face.box[2:]) / 2, face.box[2] - face.box[0]
        boxes.append([*middle, side, np.degrees(np.arctan2(eyes[1], eyes[0]))])
    return pictures.permute(0, 3, 1, 2).float() / 255, torch.tensor(np.array(boxes)).float()


def test_a_batch_is_aligned_as_the_command_aligns(faces, shown):
    finder, mean = load_mesh_finder(CPU)
    matrices, sure = MeshAligner(*load_mesh(CPU))(*shown, 112)
    assert sure.all()
    meshes = finder([picture for picture, _ in faces], [face for _, face in faces])
    for (_, face), mesh, matrix in zip(faces, meshes, matrices, strict=True):
        wanted, fit = fit_crop(Face(face.box, 1.0, face.points, mesh=mesh), mean, 112, 0.0)
        assert fit == "mesh"
        apart = transform_points(CORNERS, matrix.double().numpy()) - transform_points(
            CORNERS, wanted
        )
        assert np.abs(apart).max() < 0.2  # of 224


def test_a_clean_face_stays_where_it_is(shown):
    """The middle of a wide crop is where the mesh put it; looking again finds the same."""
    matrices, _ = MeshAligner(*load_mesh(CPU))(*shown, 112)
    moved = transform_points(CORNERS / 2 + 56, matrices.double().numpy())
    assert np.abs(moved - CORNERS / 2).max() < 2


@pytest.mark.parametrize(
    ("change", "score", "believed"),
    [
        (lambda mesh: mesh, 5.0, True),
        (lambda mesh: mesh, -5.0, False),
        (lambda mesh: mesh[:, [1, 0, 2]], 5.0, False),  # on its side
        (lambda mesh: mesh / 10, 5.0, False),  # ten times too small
        (lambda mesh: mesh * torch.nan, 5.0, False),
        (torch.zeros_like, 5.0, False),
    ],
)
def test_only_fits_that_align_would_believe_count(shown, change, score, believed):
    mean = load_mesh(CPU)[1]

    def network(squares):
        mesh = change(mean * 1.5).expand(len(squares), -1, -1)
        return mesh, torch.full((len(squares),), score)

    matrices, sure = MeshAligner(network, mean, 1)(*shown, 112)
    assert sure.tolist() == [believed] * len(shown[1])
    assert matrices.isfinite().all() or not believed
