"""The library: faces, embeddings and comparisons of photos, in files and in memory."""

import subprocess
import sys

import numpy as np
import pytest

import mfrkit
from mfrkit.errors import InputError, ShapeError
from mfrkit.io.images import read_image


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, mfrkit\n"
        "assert set(mfrkit.__all__) <= set(dir(mfrkit))\n"
        "light = 'numpy' not in sys.modules\n"
        "for name in mfrkit.__all__: getattr(mfrkit, name)\n"
        "sys.exit(0 if light and 'torch' not in sys.modules else 1)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'Recognizer'"):
        mfrkit.Recognizer  # noqa: B018


def test_faces_of_a_file_and_of_its_pixels_are_the_same(recogniser, portrait):
    (face,) = recogniser.faces(portrait)
    (again,) = recogniser.faces(read_image(portrait))
    assert np.array_equal(face.embedding, again.embedding)
    assert face.crop.shape == (112, 112, 3)
    assert face.cover.shape == (112, 112)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    x1, y1, x2, y2 = face.box
    assert ((face.points > (x1, y1)) & (face.points < (x2, y2))).all()
    assert not face.masked


def test_embeddings_are_those_of_the_commands(recogniser, worked, photos):
    stored = mfrkit.read_embeddings(worked.folder / "embeddings.h5")
    files = [photos / f"{key}.jpg" for key in stored.keys]
    assert recogniser.embed(files) == pytest.approx(stored.vectors, abs=1e-4)
    assert stored.attributes["weights_sha256"] == recogniser.card.sha256
    assert stored.skipped == {}


def test_one_photo_alone_is_one_photo(recogniser, portrait):
    assert recogniser.embed(portrait).shape == (1, recogniser.dim)
    assert recogniser.embed(str(portrait)).shape == (1, recogniser.dim)
    assert recogniser.embed(read_image(portrait)).shape == (1, recogniser.dim)
    assert recogniser.embed([]).shape == (0, recogniser.dim)


def test_a_photo_without_a_face_is_named_or_left_empty(recogniser, portrait):
    grey = np.full((90, 70, 3), 128, np.uint8)
    with pytest.raises(InputError, match="photo 1: no face found"):
        recogniser.embed([portrait, grey])
    vectors = recogniser.embed([portrait, grey], missing="nan")
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True]
    assert recogniser.faces(grey) == []
    with pytest.raises(InputError, match="no face found"):
        recogniser.compare(portrait, grey)


def test_pixels_of_another_kind_are_refused(recogniser):
    with pytest.raises(ShapeError, match="float64"):
        recogniser.faces(np.zeros((90, 70, 3)))
    with pytest.raises(ShapeError, match=r"\(90, 70\)"):
        recogniser.faces(np.zeros((90, 70), np.uint8))
    with pytest.raises(InputError, match="nowhere.jpg"):
        recogniser.faces("nowhere.jpg")


def test_masked_photos_are_seen_and_compared(recogniser, photos):
    first, second = (photos / "barack_obama" / f"barack_obama_000{n}.jpg" for n in (1, 2))
    face = recogniser.faces(first)[0]
    crops = mfrkit.MaskRenderer("surgical")(face.crop[None])
    (masked,) = recogniser.aligned(list(crops.faces))
    assert masked.masked
    assert np.mean(masked.cover > 127) > 0.1
    assert 0.3 < recogniser.compare(masked, second).similarity < 0.95
    with pytest.raises(InputError, match="60x50"):
        recogniser.aligned([np.zeros((50, 60, 3), np.uint8)])


def test_a_comparison_decides_by_the_threshold(recogniser, photos):
    one, other = (photos / "barack_obama" / f"barack_obama_000{n}.jpg" for n in (1, 2))
    stranger = photos / "joe_biden" / "joe_biden_0001.jpg"
    assert recogniser.compare(one, other, threshold=0.4).same is True
    assert recogniser.compare(one, stranger, threshold=0.4).same is False


def test_several_faces_come_main_one_first(recogniser, photos):
    middle = read_image(photos / "eileen_collins" / "eileen_collins_0001.jpg")
    height, width = middle.shape[:2]
    small = read_image(photos / "joe_biden" / "joe_biden_0001.jpg")[: height // 2 * 2 : 2, ::2]
    wide = np.full((height, width + 2 * small.shape[1], 3), 90, np.uint8)
    wide[:, small.shape[1] : small.shape[1] + width] = middle
    wide[: small.shape[0], : small.shape[1]] = small
    faces = recogniser.faces(wide)
    assert len(faces) == 2
    alone = recogniser.embed(middle)[0]
    assert float(faces[0].embedding @ alone) > 0.95
    assert float(faces[1].embedding @ alone) < 0.3
