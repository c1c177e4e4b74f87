"""Crops to train on: plain ones, and those that show what is round the face."""

import json
import shutil

import numpy as np
import pytest

from mfrkit.errors import ImageError
from mfrkit.io.images import read_image
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.views import ViewOptions
from mfrkit.training.crops import read_crop
from mfrkit.training.data import Batches, open_train_set

SIZE = (112, 112)


def first(folder):
    return open_train_set([str(folder)]).faces[0]


@pytest.fixture
def changed(wide_crops, tmp_path):
    """Return the wide crops with something else in the `align` blocks."""

    def change(**values):
        folder = tmp_path / "changed"
        shutil.copytree(wide_crops, folder)
        manifest = folder / "manifest.jsonl"
        records = [json.loads(line) for line in manifest.read_text().splitlines()]
        for record in records:
            record["align"] |= values
            record["align"] = {k: v for k, v in record["align"].items() if v is not None}
        manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
        return first(folder)

    return change


def test_the_middle_of_a_wide_crop_is_the_plain_one(wide_crops, worked):
    wide = {face.record.key: face for face in open_train_set([str(wide_crops)]).faces}
    for face in open_train_set([str(worked.folder / "crops")]).faces:
        plain, middle = (read_crop(each, SIZE) for each in (face, wide[face.record.key]))
        assert np.abs(plain.pixels.astype(int) - middle.pixels).mean() < 2.5
        np.testing.assert_allclose(middle.place.points, plain.place.points, atol=1e-2)
        np.testing.assert_allclose(middle.place.landmarks, plain.place.landmarks, atol=1e-2)
        assert plain.context is None
        assert middle.context.picture.shape == (224, 224, 3)
        assert np.array_equal(middle.context.picture[56:168, 56:168], middle.pixels)


def test_the_box_is_round_the_face(wide_crops):
    for face in open_train_set([str(wide_crops)]).faces:
        crop = read_crop(face, SIZE)
        x, y, side, turn = crop.context.box
        assert 45 < x < 67
        assert 50 < y < 75
        assert 85 < side < 130
        eyes = crop.place.points[1] - crop.place.points[0]
        assert turn == pytest.approx(np.degrees(np.arctan2(eyes[1], eyes[0])), abs=0.1)


def test_a_wider_crop_is_cut_to_what_is_used(wide_crops, worked):
    worked(
        "align", wide_crops, "--detector", "none", "--size", "448", "--margin", "1.5", "-o", "wider"
    )
    assert read_image(first(worked.folder / "wider").path).shape == (448, 448, 3)
    crop = read_crop(first(worked.folder / "wider"), SIZE)
    assert crop.context.picture.shape == (224, 224, 3)
    assert crop.pixels.shape == (112, 112, 3)


@pytest.mark.parametrize(
    "values",
    [{"margin": 0}, {"margin": None}, {"margin": "much"}, {"margin": 1.5}, {"matrix": None}],
)
def test_what_shows_the_face_at_another_size_is_no_crop(changed, values):
    with pytest.raises(ImageError, match="224x224 is no crop of 112x112, run mfrkit align"):
        read_crop(changed(**values), SIZE)


def test_a_record_without_box_has_the_usual_one_and_a_malformed_one_is_named(changed, tmp_path):
    crop = read_crop(changed(box=None), SIZE)
    assert crop.context.box[3] == 0
    shutil.rmtree(tmp_path / "changed")
    with pytest.raises(ImageError, match="malformed align block: box"):
        read_crop(changed(box=[1, 2, 3]), SIZE)


def test_wide_and_plain_crops_share_a_batch(wide_crops, noise_crops):
    data = open_train_set([str(noise_crops), str(wide_crops)])
    batches = Batches(
        data, size=SIZE, views=ViewOptions(), masks=MaskOptions(), seed=1, batch_size=len(data)
    )
    raw = batches.load(0)
    wide = raw.index[raw.context.place]
    assert sorted(wide.tolist()) == list(range(12, len(data)))
    assert raw.context.pictures.shape == (len(wide), 3, 224, 224)
    assert raw.crops.shape == (len(data), 3, 112, 112)
    known = raw.landmarks.isfinite().all(2).all(1)
    assert known.nonzero().flatten().tolist() == raw.context.place.tolist()
