"""Templates of people, and the index that keeps them."""

import os

import numpy as np
import pytest
from PIL import Image

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.models.cards import ARCFACE
from mfrkit.recognition.gallery import pooled
from mfrkit.recognition.gallery_index import enrol, index_path
from mfrkit.recognition.photo_face import PhotoFace

SIDE = np.zeros(4, np.float32)


class Counting:
    """An embedder of flat pictures: the grey level makes the vector; black shows no face."""

    card = ARCFACE

    def __init__(self):
        self.looked_at = 0
        self.origin = {"model": "grey", "flip": True}

    def faces_of(self, photos):
        self.looked_at += len(photos)
        return [[self.face(int(photo[0, 0, 0]))] if photo.any() else [] for photo in photos]

    def aligned(self, crops):
        return [self.face(int(crop[0, 0, 0])) for crop in crops]

    def face(self, grey):
        vector = np.zeros(ARCFACE.embedding_dim, np.float32)
        vector[grey] = 1
        empty = np.zeros((2, 2), np.uint8)
        return PhotoFace(SIDE, 1.0, SIDE, empty, empty, grey > 99, vector, 1.0)


def write(folder, name, grey):
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (grey,) * 3).save(path)


@pytest.fixture
def staff(tmp_path):
    folder = tmp_path / "staff"
    for name, grey in {"ada/1": 10, "ada/2": 11, "bob": 12, "eve/1": 120, "nobody": 0}.items():
        write(folder, name, grey)
    return folder


def enrolled(folder, embedder, **options):
    gallery = enrol(str(folder), ARCFACE, embedder, Console(-1), **options)
    return {
        name: (np.flatnonzero(template).tolist(), int(worn))
        for name, template, worn in zip(
            gallery.names, gallery.templates, gallery.masked, strict=True
        )
    }, gallery


def test_people_are_folders_or_files(staff):
    found, gallery = enrolled(staff, Counting())
    assert found == {"ada": ([10, 11], 0), "bob": ([12], 0), "eve": ([120], 1)}
    assert np.linalg.norm(gallery.templates, axis=1) == pytest.approx(1)
    assert gallery.photos == ["ada/1", "bob", "eve/1"]
    assert gallery.skipped == {"nobody": "no face found"}
    assert index_path(str(staff)).is_file()


def test_only_photos_that_changed_are_looked_at_again(staff, tmp_path):
    first = Counting()
    enrolled(staff, first)
    assert first.looked_at == 5
    again = Counting()
    assert enrolled(staff, again)[0]["bob"] == ([12], 0)
    assert again.looked_at == 0
    write(staff, "bob", 13)
    os.utime(staff / "bob.png", ns=(1, 1))
    write(staff, "new", 14)
    (staff / "eve" / "1.png").unlink()
    some = Counting()
    found, gallery = enrolled(staff, some)
    assert found == {"ada": ([10, 11], 0), "bob": ([13], 0), "new": ([14], 0)}
    assert some.looked_at == 2
    assert gallery.skipped == {"nobody": "no face found"}


def test_another_model_or_alignment_makes_the_index_anew(staff):
    enrolled(staff, Counting())
    other = Counting()
    other.origin = {"model": "grey", "flip": False}
    enrolled(staff, other)
    assert other.looked_at == 5


def test_a_file_that_is_no_index_is_left_alone(staff, tmp_path):
    mine = tmp_path / "mine.h5"
    mine.write_bytes(b"my notes")
    with pytest.raises(InputError, match=r"mine\.h5"):
        enrolled(staff, Counting(), index=mine)
    assert mine.read_bytes() == b"my notes"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no pictures found"):
        enrolled(tmp_path / "empty", Counting())


def test_an_unfinished_index_leaves_the_old_one(staff):
    enrolled(staff, Counting())
    before = index_path(str(staff)).read_bytes()
    write(staff, "new", 14)

    class Failing(Counting):
        def faces_of(self, photos):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enrolled(staff, Failing())
    assert index_path(str(staff)).read_bytes() == before
    assert sorted(p.name for p in staff.parent.iterdir()) == ["staff", "staff.index.h5"]


def test_masks_of_a_template():
    def masks(*worn):
        vectors = np.eye(len(worn), dtype=np.float32)
        people, keys = ["a"] * len(worn), [str(n) for n in range(len(worn))]
        return int(pooled(keys, people, vectors, np.array(worn, np.int8), {}).masked[0])

    assert [masks(1, 1), masks(1, 0), masks(1, -1), masks(-1, 0)] == [1, 0, -1, 0]


def test_vectors_without_direction_are_skipped():
    vectors = np.array([[0, 0], [3, 4], [np.nan, 1]], np.float32)
    gallery = pooled(["a", "b", "c"], ["a", "b", "c"], vectors, np.zeros(3, np.int8), {})
    assert gallery.names == ["b"]
    assert sorted(gallery.skipped) == ["a", "c"]
    with pytest.raises(InputError, match="nobody"):
        pooled(["a"], ["a"], vectors[:1], np.zeros(1, np.int8), {})
