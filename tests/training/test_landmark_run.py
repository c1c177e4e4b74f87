"""What a landmark run is made of: settings, crops of any size, and how it is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mfrkit.errors import ImageError, InputError
from mfrkit.faces.geometry import template
from mfrkit.io.manifest import Record
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.landmarks import Teacher
from mfrkit.methods.realign import WIDE, WIDE_MARGIN, Jitter
from mfrkit.models.registry import load_network
from mfrkit.training.checks import LandmarkCheck
from mfrkit.training.crops import TrainFace, read_wide
from mfrkit.training.landmarks import PRESETS, resolve
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
