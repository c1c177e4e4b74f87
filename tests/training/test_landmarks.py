"""The mesh network learns what lies under masks: settings, crops of any size, losses, the check."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mfrkit.errors import ImageError, InputError
from mfrkit.faces.detect import Mesh, select
from mfrkit.faces.geometry import template, transform_points, warp
from mfrkit.faces.mesh import MeanMesh
from mfrkit.io.images import read_image
from mfrkit.io.manifest import Record
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.realign import WIDE, WIDE_MARGIN, Jitter
from mfrkit.methods.views import PairedViews, ViewOptions, draw_view
from mfrkit.models.registry import load_network
from mfrkit.stages.demo import PHOTOS
from mfrkit.stages.find_faces import FaceFinder, fit_crop
from mfrkit.training.crops import TrainFace, read_wide
from mfrkit.training.landmarks import (
    PRESETS,
    LandmarkCheck,
    LandmarkOptions,
    LandmarkTask,
    Teacher,
    resolve,
)
from mfrkit.training.options import TrainRequest


def request(**options):
    return TrainRequest(data=("crops",), output=Path("x.safetensors"), **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_kinds_of_the_check_are_held_out(preset):
    settings = resolve(request(preset=preset))
    assert not set(settings.masks.parsed().types) & set(
        settings.check.masks(settings.masks)["unseen"].types
    )
    assert 0 < settings.masks.probability < 1  # bare faces must not be lost


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("views.rotation=3", "must be 0"),
        ("views.shift=0.1", "must be 0"),
        ("check.types=hat", "unknown mask type"),
        ("check.faces=-1", "must not be negative"),
        ("teacher.name=x", "no table 'teacher'"),
    ],
)
def test_settings_that_make_no_sense(text, message):
    with pytest.raises(InputError, match=message):
        resolve(request(assignments=(text,)))


def face(folder, pixels, **align):
    path = folder / "face.png"
    Image.fromarray(pixels).save(path)
    record = Record("face", "face.png", "face.png", blocks={"align": align} if align else {})
    return TrainFace(path, record, -1)


@pytest.mark.parametrize(("size", "margin"), [(112, 0.0), (224, 0.0), (224, 0.5), (448, 1.5)])
def test_a_crop_of_any_size_shows_the_face_in_the_same_place(tmp_path, size, margin):
    spots = template(size, margin)
    pixels = np.zeros((size, size, 3), np.uint8)
    for x, y in spots.round().astype(int):
        pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    found = read_wide(face(tmp_path, pixels, margin=margin, points=spots.tolist()))
    crop, points = found.pixels, found.place.points
    assert crop.shape == (WIDE, WIDE, 3)
    assert points == pytest.approx(template(WIDE, WIDE_MARGIN), abs=1e-3)
    for x, y in points.round().astype(int):
        assert crop[y, x].min() > 100


def test_a_wide_crop_is_read_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (WIDE, WIDE, 3), dtype=np.uint8)
    crop = read_wide(face(tmp_path, pixels, margin=0.5)).pixels
    assert (crop == pixels).all()


@pytest.mark.parametrize(
    ("shape", "align"),
    [((100, 100), {}), ((224, 112), {}), ((224, 224), {"margin": "wide"})],
)
def test_what_is_no_crop_is_refused(tmp_path, shape, align):
    with pytest.raises(ImageError):
        read_wide(face(tmp_path, np.zeros((*shape, 3), np.uint8), **align))


def test_the_network_itself_has_no_error_on_a_second_look(worked):
    network = load_network("facemesh")[0]
    teacher = Teacher(load_network("facemesh")[0])
    faces = [
        TrainFace(path, Record(path.stem, path.name, path.name), -1)
        for path in sorted((worked.folder / "crops").rglob("*.png"))
    ]
    check = LandmarkCheck(
        faces,
        teacher=teacher,
        masks={"seen": MaskOptions.parse(types="surgical")},
        jitter=Jitter(shift=0.02, scale=0.05, turn=3),
        device=torch.device("cpu"),
    )
    figures = check(network, network.state_dict())
    assert figures["check_none_upper_twice"] < figures["check_none_upper"] < 0.06
    assert figures["check_none_upper"] < figures["check_seen_upper"]
    assert figures["check_seen_upper"] < figures["check_seen_hidden"]
    once = (figures["check_none_upper"] + figures["check_seen_upper"]) / 2
    assert figures["check_error"] == pytest.approx(once)


def test_a_check_without_a_face_is_refused():
    network = load_network("facemesh")[0]
    missing = TrainFace(Path("nowhere.png"), Record("a", "nowhere.png", "nowhere.png"), -1)
    chosen = {"masks": {}, "jitter": Jitter(), "device": torch.device("cpu")}
    with pytest.raises(InputError, match="none of the 1 crops"):
        LandmarkCheck([missing], teacher=Teacher(network), **chosen)


# Begun from before it was taught, it has much to learn.
ORIGINAL = Path(__file__).parents[1] / "data" / "facemesh_original.safetensors"


def choose(faces, size):
    return select(faces, "center", size, min_score=0.6, min_size=12)


@pytest.fixture(scope="module")
def crops():
    finder = FaceFinder("yunet", torch.device("cpu"), mesh=True, min_size=40)
    photos = [read_image(path) for path in sorted(PHOTOS.rglob("*.jpg"))]
    wide = []
    for photo, found in zip(photos, finder(photos, choose), strict=True):
        matrix, _ = fit_crop(found.chosen[0], finder.mean, WIDE, WIDE_MARGIN)
        wide.append(warp(photo, matrix, WIDE))
    return torch.from_numpy(np.stack(wide)).permute(0, 3, 1, 2)


@pytest.fixture
def batch(crops):
    points = torch.from_numpy(template(WIDE, WIDE_MARGIN)).float().expand(len(crops), 5, 2)
    masks = MaskOptions.parse(types="surgical,cloth")
    draws = [draw_view(0, 0, index, ViewOptions(), masks) for index in range(len(crops))]
    unknown, index = torch.full((len(crops),), -1), torch.arange(len(crops))
    return PairedViews()(crops, points, unknown, index, draws)


def make_task(options=None, real_from=99):
    student = load_network(str(ORIGINAL))[0]
    teacher = Teacher(copy.deepcopy(student))
    return LandmarkTask(
        student=student,
        teacher=teacher,
        options=options or LandmarkOptions(),
        real_from=real_from,
    )


def test_learns_masked_faces(batch):
    task = make_task().train()
    optimiser = torch.optim.AdamW(task.groups()["main"], 1e-4)
    before = copy.deepcopy(task.teacher.network.state_dict())
    losses = []
    for _ in range(12):
        torch.manual_seed(0)
        named = task(batch)
        optimiser.zero_grad()
        named["loss"].backward()
        optimiser.step()
        losses.append(float(named["loss"].detach()))
    assert losses[-1] < 0.7 * losses[0]
    after = task.teacher.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_teacher_sees_bare_faces_as_align_does(crops):
    task = make_task()
    meshes, score = task.teacher.targets(crops.float() / 255)
    assert (score > 0.99).all()
    mean = MeanMesh(task.student.mean.numpy())
    for vertices in meshes.double().numpy():
        # The crop was cut by a mesh of the photo: fitted anew it stays where it is.
        moved = mean.matrix(Mesh(vertices, 1.0), WIDE, WIDE_MARGIN) - np.eye(2, 3)
        assert np.abs(moved[:, :2]).max() < 0.03
        assert np.abs(moved[:, 2]).max() < 5


def test_nothing_is_to_learn_where_nothing_is_masked_or_moved(crops, batch):
    still = LandmarkOptions(
        first=0.0, again_shift=0.0, again_scale=0.0, again_turn=0.0, elsewhere=0.0
    )
    same = type(batch)(batch.clean, batch.clean, batch.region, batch.label, batch.index)
    with torch.no_grad():
        named = make_task(still).eval()(same)
    # Not quite nothing: the target is a second look, this is a third.
    assert max(float(named[name]) for name in ("upper", "hidden", "fit")) < 0.02


def test_what_a_real_mask_hides_is_not_learned(batch):
    task = make_task(real_from=0).train()
    named = task(batch)
    assert float(named["hidden"].detach()) == 0
    assert float(named["upper"].detach()) > 0


def test_a_face_the_teacher_does_not_see_teaches_no_vertex(batch):
    noise = torch.rand_like(batch.clean)
    named = make_task()(replace(batch, masked=noise, clean=noise))
    assert named["upper"].item() == named["fit"].item() == 0
    assert float(named["score"]) > 0


def test_corners_are_those_of_the_fitted_crop():
    task = make_task()
    mean = MeanMesh(task.student.mean.numpy())
    turn = np.array([[1.4, -0.3], [0.3, 1.4]])
    vertices = mean.vertices.copy()
    vertices[:, :2] = vertices[:, :2] @ turn.T + [30, 20]
    found = task._corners(torch.from_numpy(vertices[None, :, :2]).float())[0].numpy()
    back = transform_points(found, mean.matrix(Mesh(vertices, 1.0), 112, 0.0))
    assert np.abs(back - [[0, 0], [111, 0], [0, 111], [111, 111]]).max() < 1e-2


@pytest.mark.parametrize("wrong", [{"upper": -1}, {"turn": -2}, {"first": 1.5}, {"elsewhere": 2}])
def test_refuses_useless_options(wrong):
    with pytest.raises(InputError, match="must not be negative|are shares"):
        LandmarkOptions(**wrong)
