"""The default detector on the bundled portraits: sizes, tiles, borders, order and silence."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from mfrkit.errors import ShapeError
from mfrkit.faces import yunet
from mfrkit.faces.detect import select
from mfrkit.faces.yunet import YuNetDetector
from mfrkit.io.images import read_image
from mfrkit.models.registry import load_network
from mfrkit.stages.demo import PHOTOS

PATHS = sorted(PHOTOS.rglob("*.jpg"))


@pytest.fixture(scope="module")
def graph():
    return load_network("yunet")[0].graph.numpy()


@pytest.fixture(scope="module")
def detector(graph):
    return YuNetDetector(graph, workers=2)


def resized(path, side):
    photo = read_image(path)
    scale = side / max(photo.shape[:2])
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def test_finds_one_face_in_every_portrait(detector):
    photos = [read_image(path) for path in PATHS]
    for faces in detector(photos):
        best = faces[0]
        left, right, nose, *mouth = best.points
        assert best.score > 0.9
        assert left[0] < nose[0] < right[0]
        assert max(left[1], right[1]) < nose[1] < min(point[1] for point in mouth)
        assert (best.box[:2] < best.points.min(0)).all()
        assert (best.box[2:] > best.points.max(0)).all()


def test_a_photo_is_found_alike_alone_and_in_company(graph, detector):
    photos = [read_image(path) for path in PATHS]
    alone = [YuNetDetector(graph)([photo])[0] for photo in photos]
    for some, others in zip(alone, detector(photos), strict=True):
        assert [face.score for face in some] == [face.score for face in others]
        for one, other in zip(some, others, strict=True):
            assert (one.box == other.box).all()
            assert (one.points == other.points).all()


@pytest.mark.parametrize("scale", [2, 5])
def test_large_photos_are_searched_in_tiles(graph, scale, monkeypatch):
    monkeypatch.setattr(yunet, "_TILE", 400)
    photo = read_image(PATHS[0])
    large = cv2.resize(photo, None, fx=scale, fy=scale)
    wanted = YuNetDetector(graph)([photo])[0][0]
    found = select(YuNetDetector(graph, min_size=20)([large])[0], "center", large.shape[:2])
    assert found[0].box / scale == pytest.approx(wanted.box, abs=20)
    assert found[0].points / scale == pytest.approx(wanted.points, abs=20)


def test_small_faces_far_apart_in_a_large_photo(graph):
    small = resized(PATHS[0], 110)  # its face is some 30 pixels high
    photo = np.full((1500, 2600, 3), 120, np.uint8)
    places = [(3, 5), (1380, 2480), (700, 1270)]
    for top, left in places:
        photo[top : top + small.shape[0], left : left + small.shape[1]] = small
    found = YuNetDetector(graph, min_size=20)([photo])[0]
    corners = sorted((face.box[1] // 300, face.box[0] // 300) for face in found)
    assert corners == sorted((top // 300, left // 300) for top, left in places)


@pytest.mark.parametrize("change", ["grey", "dark"])
def test_grey_and_dark_photos(detector, change):
    photos = [read_image(path) for path in PATHS]
    if change == "grey":
        photos = [
            np.repeat(photo.mean(2, keepdims=True), 3, 2).astype(np.uint8) for photo in photos
        ]
    else:
        photos = [photo // 8 for photo in photos]
    assert all(faces and faces[0].score > 0.7 for faces in detector(photos))


def test_face_cut_by_the_border(detector):
    photo = read_image(PATHS[0])
    face = detector([photo])[0][0]
    middle = int((face.box[0] + face.box[2]) / 2 + 0.15 * (face.box[2] - face.box[0]))
    found = detector([np.ascontiguousarray(photo[:, :middle])])[0]
    assert found
    assert abs(found[0].box[1] - face.box[1]) < 0.2 * (face.box[3] - face.box[1])


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (9, 400, 3), (400, 9, 3), (10, 10, 3), (11, 3000, 3), (3000, 40, 3)]
)
def test_odd_shapes_hold_no_face(detector, shape):
    assert detector([np.zeros(shape, np.uint8)]) == [[]]


def test_photos_one_after_another_share_a_network(graph, monkeypatch):
    loaded, load = [], yunet._load
    monkeypatch.setattr(yunet, "_load", lambda graph: loaded.append(1) or load(graph))
    detector = YuNetDetector(graph, workers=16)
    for _ in range(40):
        detector([np.zeros((64, 64, 3), np.uint8)])
    assert len(loaded) == 1


def test_not_a_photo(detector):
    with pytest.raises(ShapeError):
        detector([np.zeros((9, 9), np.uint8)])


def test_says_nothing_on_standard_error():
    code = (
        "import numpy as np\n"
        "from mfrkit.faces.yunet import YuNetDetector\n"
        "from mfrkit.models.registry import load_network\n"
        "graph = load_network('yunet')[0].graph.numpy()\n"
        "YuNetDetector(graph, workers=3)([np.zeros((300, 300, 3), np.uint8)] * 6)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
