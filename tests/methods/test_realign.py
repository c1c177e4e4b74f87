"""Squares cut out of wide crops, the way back, and where regions are moved to."""

import json

import numpy as np
import pytest
import torch

from mfrkit.faces.detect import Face
from mfrkit.faces.geometry import transform_points, warp
from mfrkit.faces.mesh import SIDE, mesh_region
from mfrkit.io.images import read_image
from mfrkit.methods.realign import (
    WIDE,
    Jitter,
    MeshAligner,
    cut,
    from_square,
    regions_of,
    to_square,
    usual_region,
)
from mfrkit.models.registry import load_network
from mfrkit.stages.find_faces import fit_crop, load_mesh, load_mesh_finder


@pytest.fixture(scope="module")
def mean():
    return load_network("facemesh")[0].mean


@pytest.fixture(scope="module")
def region(mean):
    return usual_region(mean)


def test_a_square_is_cut_as_align_cuts_it(region):
    wide = np.random.default_rng(0).integers(0, 255, (WIDE, WIDE, 3), dtype=np.uint8)
    tensor = torch.from_numpy(wide).permute(2, 0, 1)[None].float()
    ours = cut(tensor, region[None])[0].permute(1, 2, 0).numpy()
    theirs = warp(wide, region.numpy().astype(np.float64), SIDE).astype(np.float32)
    assert ours.shape == (SIDE, SIDE, 3)
    assert np.abs(ours - theirs).mean() < 1.5  # OpenCV places pixels on a grid of 1/32


def test_vertices_go_there_and_back(mean, region):
    regions = Jitter(shift=0.1, scale=0.2, turn=30).draw(region.expand(4, 2, 3))
    meshes = mean + torch.rand(4, 1, 3)
    assert (from_square(to_square(meshes, regions), regions) - meshes).abs().max() < 1e-3


def test_the_usual_region_is_that_of_the_mean_face(mean, region):
    wide = mean + torch.tensor([WIDE / 4, WIDE / 4, 0.0])
    found = regions_of(wide[None], torch.zeros(2, 3))[0]
    torch.testing.assert_close(found, region, atol=1e-3, rtol=0)


def test_a_mesh_without_extent_gets_the_usual_region(region):
    assert torch.equal(regions_of(torch.ones(1, 468, 3), region)[0], region)


def test_regions_stay_without_jitter(region):
    assert torch.allclose(Jitter().draw(region[None])[0], region, atol=1e-5)


def test_regions_lie_as_the_jitter_says(region):
    own = region.expand(4000, 2, 3)
    drawn = Jitter(0.1, -0.2, 0.3, 0.02, 0.05, 4.0).draw(own, torch.Generator().manual_seed(0))
    linear, shift = drawn[:, :, :2].double(), drawn[:, :, 2:].double()
    middle = torch.full((2, 1), (SIDE - 1) / 2, dtype=torch.float64)
    there = torch.linalg.solve(linear, middle - shift)  # of each drawn square, in the wide crop
    at = (own[0, :, :2].double() @ there + own[0, :, 2:] - middle)[..., 0] / SIDE
    larger = -(torch.linalg.vector_norm(linear[:, :, 0], dim=1) / own[0, :, 0].norm()).log()
    turn = _degrees(linear) - _degrees(own[:1, :, :2])
    assert at.mean(0).tolist() == pytest.approx([0.1, -0.2], abs=0.002)
    assert at.std(0).tolist() == pytest.approx([0.02, 0.02], abs=0.001)
    assert [float(larger.mean()), float(larger.std())] == pytest.approx([0.3, 0.05], abs=0.004)
    assert [float(turn.mean()), float(turn.std())] == pytest.approx([0, 4], abs=0.2)


def _degrees(linear):
    return torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))


def test_one_seed_one_draw(region):
    jitter, own = Jitter(shift=0.1), region.expand(3, 2, 3)
    first, again, other = (
        jitter.draw(own, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_region_agrees_with_the_one_of_align(mean):
    vertices = mean.numpy().astype(np.float64) + np.array([40, 60, 0])
    ours = regions_of(torch.from_numpy(vertices)[None], torch.zeros(2, 3))[0]
    assert np.abs(ours.numpy() - mesh_region(vertices)).max() < 1e-4


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
