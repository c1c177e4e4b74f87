"""The best of many vectors."""

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.recognition import nearest
from mfrkit.recognition.nearest import Approximate, Exact


def unit(count, seed, dim=16):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_blocks_find_what_one_product_finds(monkeypatch, rows):
    monkeypatch.setattr(nearest, "_ROWS", rows)
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
