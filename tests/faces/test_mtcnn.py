"""The bundled detector on the bundled portraits and on pictures meant to break it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file

import mfrkit
from mfrkit.errors import InputError, ShapeError
from mfrkit.faces import mtcnn as module
from mfrkit.faces.mtcnn import MTCNNDetector
from mfrkit.io.images import read_image
from mfrkit.models.detectors import MTCNN

DATA = Path(mfrkit.__file__).parent / "data"


def make_detector(**options):
    networks = MTCNN()
    networks.load_state_dict(load_file(DATA / "weights" / "mtcnn.safetensors"))
    return MTCNNDetector(networks, **options)


@pytest.fixture(scope="module")
def detector():
    return make_detector()


@pytest.fixture(scope="module")
def portraits():
    """The bundled photos, small enough for a quick scan."""
    photos = [read_image(path) for path in sorted((DATA / "photos").rglob("*.jpg"))]
    return [cv2.resize(p, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA) for p in photos]


def largest(faces):
    return max(faces, key=lambda face: np.prod(face.box[2:] - face.box[:2]))


def assert_same(some, others, tolerance=1e-2):
    assert len(some) == len(others)
    for a, b in zip(some, others, strict=True):
        np.testing.assert_allclose(a.box, b.box, atol=tolerance)
        np.testing.assert_allclose(a.points, b.points, atol=tolerance)
        assert a.score == pytest.approx(b.score, abs=1e-4)


def test_every_portrait_has_a_plausible_face(detector, portraits):
    for photo, faces in zip(portraits, detector(portraits), strict=True):
        face = largest(faces)
        assert face.score > 0.99
        assert face.box.shape == (4,)
        assert face.points.shape == (5, 2)
        assert face.box.dtype == face.points.dtype == np.float32
        assert (face.points > face.box[:2]).all()
        assert (face.points < face.box[2:]).all()
        left_eye, right_eye, nose, left_mouth, right_mouth = face.points
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        assert face.points.max() < max(photo.shape)


def test_mirrored_photo_gives_mirrored_points(detector, portraits):
    mirrored = detector([photo[:, ::-1] for photo in portraits])
    for photo, faces, others in zip(portraits, detector(portraits), mirrored, strict=True):
        points = largest(others).points[[1, 0, 2, 4, 3]]
        points = np.stack([photo.shape[1] - 1 - points[:, 0], points[:, 1]], 1)
        face = largest(faces)
        side = (face.box[2:] - face.box[:2]).max()
        # The published networks count pixels from 1: a mirror image shows twice the difference.
        assert np.abs(points - face.points).max() < 2.3 + 0.06 * side


def test_shifted_photo_gives_shifted_points(detector, portraits):
    photo = portraits[0]
    moved = cv2.copyMakeBorder(photo, 30, 0, 17, 0, cv2.BORDER_REPLICATE)
    face, other = (largest(faces) for faces in detector([photo, moved]))
    np.testing.assert_allclose(other.points - face.points, [[17, 30]] * 5, atol=2.5)


def test_company_does_not_matter(detector, portraits):
    noise = np.random.default_rng(0).integers(0, 256, (300, 120, 3), dtype=np.uint8)
    mixed = [noise, *portraits, portraits[0][:, :-1], portraits[0]]
    together = detector(mixed)
    for photo, faces in zip(mixed, together, strict=True):
        assert_same(detector([photo])[0], faces)
    assert_same(together[1], together[-1])


def test_portions_do_not_matter(detector, portraits, monkeypatch):
    whole = detector(portraits)
    monkeypatch.setattr(module, "_BATCH_PIXELS", 1)
    for some, others in zip(whole, detector(portraits), strict=True):
        assert_same(some, others)


def test_best_score_first(detector, portraits):
    pair = np.concatenate([cv2.resize(p, (200, 250)) for p in portraits], axis=1)
    scores = [face.score for face in detector([pair])[0]]
    assert len(scores) >= 5
    assert scores == sorted(scores, reverse=True)


def test_hundreds_of_faces(portraits):
    face = largest(make_detector()([portraits[0]])[0])
    x0, y0, x1, y1 = face.box.astype(int)
    tile = cv2.resize(portraits[0][y0 - 15 : y1 + 15, x0 - 15 : x1 + 15], (48, 48))
    crowd = np.tile(tile, (9, 13, 1))
    found = make_detector(min_size=24)([crowd])[0]
    assert len(found) > 0.9 * 9 * 13
    centres = np.array([(f.box[:2] + f.box[2:]) / 2 for f in found])
    assert len(np.unique((centres // 48).astype(int), axis=0)) > 0.9 * 9 * 13


@pytest.mark.parametrize(
    "shape", [(1, 1), (11, 11), (12, 12), (40, 40), (1, 4000), (4000, 41), (41, 4000), (0, 5)]
)
@pytest.mark.parametrize("value", [0, 255])
def test_odd_shapes_without_a_face(detector, shape, value):
    assert detector([np.full((*shape, 3), value, np.uint8)]) == [[]]


def test_smallest_window(portraits):
    detector = make_detector(min_size=12)
    noise = np.random.default_rng(0).integers(0, 256, (13, 12, 3), dtype=np.uint8)
    assert len(detector([noise, noise[:12]])) == 2


def test_no_photos(detector):
    assert detector([]) == []


def test_huge_photo_is_searched_at_reduced_size(detector, portraits, monkeypatch):
    photo = portraits[0]
    monkeypatch.setattr(module, "_PHOTO_PIXELS", photo.shape[0] * photo.shape[1])
    big = cv2.resize(photo, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    found, expected = largest(detector([big])[0]), largest(detector([photo])[0])
    # Pixel centres: (x + 0.5) * 3 - 0.5.
    np.testing.assert_allclose(found.points, expected.points * 3 + 1, atol=6)


@pytest.mark.parametrize(
    "photo", [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 4), np.uint8), np.zeros((50, 50, 3))]
)
def test_not_a_photo(detector, photo):
    with pytest.raises(ShapeError, match=r"expected an RGB uint8 photo"):
        detector([photo])


def test_smallest_face_has_a_limit():
    with pytest.raises(InputError, match="needs 12"):
        make_detector(min_size=11)


def test_high_threshold_finds_nothing(portraits):
    assert make_detector(thresholds=(0.6, 0.7, 1.0))(portraits[:1]) == [[]]
    assert make_detector(thresholds=(1.1, 0.7, 0.7))(portraits[:1]) == [[]]


def test_a_photo_without_a_face_is_searched_again_between_the_sizes(portrait, monkeypatch):
    """The first search is made to find nothing; the second one must, at other sizes."""
    detector = make_detector(min_size=40)
    photo = read_image(portrait)
    search, sizes = detector._detect, []

    def unlucky_first(photos, min_size):
        sizes.append(min_size)
        blank = [np.zeros_like(p) for p in photos]
        return search(blank if len(sizes) == 1 else photos, min_size)

    monkeypatch.setattr(detector, "_detect", unlucky_first)
    (faces,) = detector([photo])
    assert len(faces) == 1
    assert sizes == [40, 48]
