"""From photos to fitted faces: turned photos, fits that are not to be trusted, and batches."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face, Mesh, select
from mfrkit.faces.geometry import transform_points
from mfrkit.io.images import read_image
from mfrkit.stages.demo import PHOTOS
from mfrkit.stages.find_faces import FaceFinder, fit_crop

PATHS = sorted(PHOTOS.rglob("*.jpg"))


def choose(faces, size):
    return select(faces, "center", size, min_score=0.6, min_size=12)


@pytest.fixture(scope="module")
def finder():
    return FaceFinder("yunet", torch.device("cpu"), mesh=True, min_size=40, workers=2)


@pytest.fixture(scope="module")
def upright(finder):
    return finder([read_image(path) for path in PATHS], choose)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("detector", ["yunet", "mtcnn"])
def test_turned_photos_give_the_same_faces(detector, quarters, upright):
    finder = FaceFinder(detector, torch.device("cpu"), mesh=True, min_size=40, workers=2)
    photos = [np.ascontiguousarray(np.rot90(read_image(path), -quarters)) for path in PATHS]
    for photo, found, wanted in zip(photos, finder(photos, choose), upright, strict=True):
        assert found.turned == 90 * quarters
        face, other = found.chosen[0], wanted.chosen[0]
        matrix, fit = fit_crop(face, finder.mean, 112, 0.0)
        before, _ = fit_crop(other, finder.mean, 112, 0.0)
        assert fit == "mesh"
        height, width = photo.shape[:2]
        assert (face.box >= -20).all()
        assert (face.box <= [width + 20, height + 20] * 2).all()
        # The same crop: its corners come from the same places of the upright photo.
        corners = np.array([[0.0, 0], [111, 0], [0, 111], [111, 111]])
        there = transform_points(corners, np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2])
        upright_there = transform_points(corners, np.linalg.inv(np.vstack([before, [0, 0, 1]]))[:2])
        x, y = there.T
        back = {1: (y, width - 1 - x), 2: (width - 1 - x, height - 1 - y), 3: (height - 1 - y, x)}[
            quarters
        ]
        side = np.hypot(*(upright_there[1] - upright_there[0]))
        assert np.abs(np.stack(back, 1) - upright_there).max() < 0.06 * side


def test_upright_photos_are_not_turned(upright):
    assert [found.turned for found in upright] == [0] * len(PATHS)


def test_batch_and_workers_change_no_number(finder, upright):
    photos = [read_image(path) for path in PATHS]
    alone = FaceFinder("yunet", torch.device("cpu"), mesh=True, min_size=40)
    for photo, wanted in zip(photos, upright, strict=True):
        found = alone([photo], choose)[0].chosen[0]
        assert (found.mesh.vertices == wanted.chosen[0].mesh.vertices).all()
        assert found.mesh.score == wanted.chosen[0].mesh.score
    many = finder(photos[::-1] * 3, choose)
    for found, wanted in zip(many, upright[::-1] * 3, strict=True):
        assert (found.chosen[0].mesh.vertices == wanted.chosen[0].mesh.vertices).all()


def test_photo_without_a_face(finder):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    found = finder([noise], choose)[0]
    assert (found.chosen, found.turned) == ([], 0)


def test_unsure_mesh_leaves_the_five_points(finder, upright):
    face = upright[0].chosen[0]
    unsure = dataclasses.replace(face, mesh=Mesh(face.mesh.vertices, 0.1))
    assert fit_crop(unsure, finder.mean, 112, 0.0)[1] == "five"
    assert fit_crop(face, None, 112, 0.0)[1] == "five"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: np.ones_like(v),
        lambda v: v * [0.1, 0.1, 1],
        lambda v: v * [9, 9, 1],
        lambda v: v * [-1, -1, 1],
        lambda v: v[:, [1, 0, 2]] * [-1, 1, 1],
        lambda v: v * np.nan,
    ],
    ids=["one point", "tiny", "huge", "upside down", "on its side", "nan"],
)
def test_wild_mesh_leaves_the_five_points(finder, upright, spoil):
    face = upright[0].chosen[0]
    wild = dataclasses.replace(face, mesh=Mesh(spoil(face.mesh.vertices), 1.0))
    matrix, fit = fit_crop(wild, finder.mean, 112, 0.0)
    assert fit == "five"
    assert (matrix == fit_crop(face, None, 112, 0.0)[0]).all()


def test_points_that_disagree_with_the_box_give_no_crop():
    points = np.array([[40.0, 60], [41, 60], [40, 61], [40, 62], [41, 62]])
    with pytest.raises(InputError, match="box"):
        fit_crop(Face(np.array([0.0, 0, 300, 300]), 1.0, points), None, 112, 0.0)


def test_face_that_leaves_its_photo_is_still_found(finder):
    photo = read_image(PATHS[0])
    found = finder([photo], choose)[0].chosen[0]
    top = int(found.box[1] + 0.25 * (found.box[3] - found.box[1]))
    cut = finder([np.ascontiguousarray(photo[top:])], choose)[0].chosen
    assert len(cut) == 1
    moved = cut[0].mesh.vertices[:, :2] + [0, top]
    eyes = np.hypot(*(found.mesh.vertices[33] - found.mesh.vertices[263])[:2])
    assert np.abs(moved - found.mesh.vertices[:, :2]).mean() < 0.15 * eyes


def test_mesh_does_not_depend_on_the_photo_s_size(finder, upright):
    photo = cv2.resize(read_image(PATHS[0]), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    found = finder([photo], choose)[0].chosen[0]
    wanted = upright[0].chosen[0].mesh.vertices[:, :2]
    eyes = np.hypot(*(wanted[33] - wanted[263]))
    assert np.abs(((found.mesh.vertices[:, :2] + 0.5) / 3 - 0.5) - wanted).mean() < 0.03 * eyes
