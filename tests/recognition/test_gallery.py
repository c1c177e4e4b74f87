"""Templates of people, the index that keeps them, and who a face is taken for."""

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.models.cards import STATES, Operating
from mfrkit.models.registry import read_card
from mfrkit.recognition import gallery as module
from mfrkit.recognition.decision import fmr_for, fpir_for
from mfrkit.recognition.gallery import Approximate, Exact, Probe, answer_all, pooled, search_decider
from mfrkit.recognition.gallery_index import enrol, index_path
from mfrkit.recognition.look import PhotoFace

SIDE = np.zeros(4, np.float32)
ARCFACE = read_card("arcface")[0]


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


def unit(count, seed, dim=16):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_blocks_find_what_one_product_finds(monkeypatch, rows):
    monkeypatch.setattr(module, "_ROWS", rows)
    known, probes = unit(50, 0), unit(9, 1)
    found = Exact(known)(probes, 3)
    scores = probes @ known.T
    assert found.places.tolist() == np.argsort(-scores, axis=1)[:, :3].tolist()
    assert found.scores == pytest.approx(-np.sort(-scores, axis=1)[:, :3], abs=1e-6)


def test_fewer_vectors_than_asked_for_leave_gaps():
    found = Exact(unit(1, 0))(unit(2, 1), 2)
    assert found.places.tolist() == [[0, -1], [0, -1]]
    assert np.isneginf(found.scores[:, 1]).all()


def test_an_index_is_kept_and_made_anew_for_other_vectors(tmp_path):
    pytest.importorskip("faiss")
    known, path = unit(2000, 0), tmp_path / "g.faiss"
    probes = known[::100] + unit(20, 1) * 0.1
    exact = Exact(known)(probes, 2)
    made = Approximate(known, path)(probes, 2)
    assert made.places[:, 0].tolist() == exact.places[:, 0].tolist()
    written = path.stat().st_mtime_ns
    assert Approximate(known, path)(probes, 2).places.tolist() == made.places.tolist()
    assert path.stat().st_mtime_ns == written
    other = unit(2000, 5)
    assert Approximate(other, path)(other[:3], 1).places[:, 0].tolist() == [0, 1, 2]
    path.write_bytes(b"half")
    assert Approximate(known, path)(known[:3], 1).places[:, 0].tolist() == [0, 1, 2]


def test_an_index_of_another_kind_is_made_anew(tmp_path):
    faiss = pytest.importorskip("faiss")
    known, path = unit(100, 0), tmp_path / "g.faiss"
    flat = faiss.IndexFlatIP(known.shape[1])
    flat.add(known)
    faiss.write_index(flat, str(path))
    assert Approximate(known, path)(known[:3], 1).places[:, 0].tolist() == [0, 1, 2]


def test_without_faiss_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(InputError, match=r"pip install 'mfrkit\[index\]'"):
        Approximate(unit(4, 0), tmp_path / "g.faiss")


NO_THRESHOLDS = replace(read_card("arcface")[0], thresholds={})


def card(*points):
    held = [
        Operating(fmr=fmr, threshold=value, fnmr=0.1, genuine=9, impostors=99)
        for fmr, value in points
    ]
    return replace(NO_THRESHOLDS, thresholds=dict.fromkeys(STATES, held))


@pytest.fixture
def gallery():
    vectors = np.array([[1, 0, 0], [0.6, 0.8, 0]], np.float32)
    return pooled(["ada/1", "bob"], ["ada", "bob"], vectors, np.zeros(2, np.int8), {})


def probe(*vector, shot="s"):
    return Probe(shot, 1, np.array(vector, np.float32), masked=False)


def test_known_unknown_and_without_a_face(gallery):
    decider, remark = search_decider(card((1e-4, 0.7)), 2, fmr=1e-4)
    probes = [probe(0.8, 0.6, 0), Probe("t", reason="no face found"), probe(0, 0, 1.0)]
    ada, none, stranger = answer_all(gallery, probes, decider)
    assert remark is None
    assert (ada.person, ada.runner_up, ada.known) == ("bob", "ada", True)
    assert (ada.score, ada.runner_up_score) == pytest.approx((0.96, 0.8))
    assert (none.person, none.known, none.to_json()["reason"]) == (None, None, "no face found")
    assert (stranger.person, stranger.known) == ("unknown", False)
    assert stranger.to_json()["best"] == "ada"


def test_without_thresholds_nobody_is_named(gallery):
    decider, remark = search_decider(NO_THRESHOLDS, 2)
    (answer,) = answer_all(gallery, [probe(1, 0, 0)], decider)
    assert (answer.person, answer.best) == (None, "ada")
    assert "--threshold" in remark
    decider, remark = search_decider(NO_THRESHOLDS, 2, threshold=0.9)
    assert remark is None
    assert next(answer_all(gallery, [probe(1, 0, 0)], decider)).person == "ada"


def test_more_people_ask_for_a_higher_threshold():
    assert fpir_for(fmr_for(0.03, 500), 500) == pytest.approx(0.03)
    held = card((1e-2, 0.2), (1e-6, 0.6))
    few, many = (search_decider(held, people, fpir=0.01)[0] for people in (1, 100))
    assert few.threshold(False, False).value == pytest.approx(0.2)
    assert many.threshold(False, False).value == pytest.approx(0.4, abs=1e-3)


def test_a_card_that_does_not_reach_so_far_says_what_it_reaches():
    decider, remark = search_decider(card((1e-2, 0.2), (1e-3, 0.3)), 500)
    assert decider.threshold(False, False).value == pytest.approx(0.3)
    assert "end at FMR 0.001" in remark
    assert "0.39 of all strangers" in remark


def test_rates_that_cannot_be_are_refused():
    for wrong in ({"fpir": 0.1, "fmr": 0.1}, {"fpir": 0.0}, {"fmr": 1.0}):
        with pytest.raises(InputError):
            search_decider(card((1e-3, 0.3)), 5, **wrong)
