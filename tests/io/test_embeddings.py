from dataclasses import replace

import h5py
import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings


def rows(start, count, dim=4, skipped=()):
    vectors = np.random.default_rng(start).normal(size=(count, dim)).astype(np.float32)
    places = np.arange(start, start + count, dtype=np.int64)
    return replace(
        Rows.empty(dim),
        embeddings=vectors,
        keys=[f"p{n}/ü {n}" for n in places],
        identities=[f"p{n}" for n in places],
        norms=np.linalg.norm(vectors, axis=1),
        masked=np.array([n % 3 - 1 for n in places], np.int8),
        mask_type=["surgical" if n % 2 else "" for n in places],
        positions=places,
        skipped_keys=[key for key, _ in skipped],
        skipped_reasons=[reason for _, reason in skipped],
        skipped_positions=np.arange(start + count, start + count + len(skipped)),
    )


def test_blocks_come_back_as_written(tmp_path):
    blocks = [rows(0, 5, skipped=[("gone", "no face found")]), rows(6, 3), rows(9, 0)]
    path = tmp_path / "e.h5"
    assert write_embeddings(path, blocks, 4, {"model": "arcface", "flip": True}) == 8
    with EmbeddingReader(path) as reader:
        assert (reader.count, reader.dim) == (8, 4)
        assert reader.attributes["model"] == "arcface"
        assert reader.attributes["complete"]
        assert reader.attributes["count"] == 8
        wanted = np.concatenate([b.embeddings for b in blocks])
        assert np.array_equal(reader.rows(np.arange(8)), wanted)
        assert np.array_equal(reader.rows(np.array([7, 0, 7])), wanted[[7, 0, 7]])
        assert reader.index["p3/ü 3"] == 3
        assert reader.identities[:2] == ["p0", "p1"]
        assert reader.masked.tolist() == [-1, 0, 1, -1, 0, -1, 0, 1]
        assert reader.mask_types[1] == "surgical"
        assert reader.skipped == {"gone": "no face found"}


def test_scattered_rows_of_a_large_file(tmp_path):
    path = tmp_path / "e.h5"
    write_embeddings(path, [rows(0, 5000)], 4, {})
    wanted = rows(0, 5000).embeddings
    places = np.array([4999, 3, 2500, 3])
    with EmbeddingReader(path) as reader:
        assert np.array_equal(reader.rows(places), wanted[places])
        assert reader.rows(np.array([], int)).shape == (0, 4)


def test_a_foreign_file_with_the_two_datasets_will_do(tmp_path):
    path = tmp_path / "theirs.h5"
    with h5py.File(path, "w") as file:
        file["embeddings"] = np.eye(3, dtype=np.float64)
        file["keys"] = ["a", "b", "c"]
    with EmbeddingReader(path) as reader:
        assert reader.rows(np.array([1])).dtype == np.float32
        assert reader.index == {"a": 0, "b": 1, "c": 2}
        assert reader.identities == ["", "", ""]
        assert reader.masked.tolist() == [-1, -1, -1]
        assert reader.skipped == {}


def test_files_that_are_not_ours_are_refused(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("hello")
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["data"] = np.zeros(3)
    odd = tmp_path / "odd.h5"
    with h5py.File(odd, "w") as file:
        file["embeddings"] = np.zeros((3, 2), np.float32)
        file["keys"] = ["a", "b"]
    half = tmp_path / "half.h5"
    with h5py.File(half, "w") as file:
        file["embeddings"] = np.zeros((1, 2), np.float32)
        file["keys"] = ["a"]
        file.attrs["complete"] = False
    for path, message in [
        (tmp_path / "absent.h5", "no such file"),
        (text, "not a readable HDF5 file"),
        (other, "no dataset 'embeddings'"),
        (odd, "N keys"),
        (half, "unfinished"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            EmbeddingReader(path)
        assert str(path) in str(caught.value)


def test_a_repeated_key_is_refused(tmp_path):
    path = tmp_path / "e.h5"
    write_embeddings(path, [rows(0, 2), rows(0, 2)], 4, {})
    with EmbeddingReader(path) as reader, pytest.raises(InputError, match="appears twice"):
        _ = reader.index


def test_a_failed_write_leaves_nothing(tmp_path):
    def blocks():
        yield rows(0, 5)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_embeddings(tmp_path / "e.h5", blocks(), 4, {})
    assert list(tmp_path.iterdir()) == []
