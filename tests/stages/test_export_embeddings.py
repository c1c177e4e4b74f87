"""Embeddings in other forms come back as they were."""

import csv

import numpy as np
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import Rows, write_embeddings
from mfrkit.stages import export_embeddings as module
from mfrkit.stages.export_embeddings import export_embeddings
from mfrkit.stages.file_options import ExportOptions

KEYS = ["ada/1", "bob\t\\2", "Zoë, the\n2nd", "x", "y"]


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return Rows(
        embeddings=random.standard_normal((5, 3)).astype(np.float32),
        keys=KEYS,
        identities=["ada", "bob", "", "x", "y"],
        norms=np.array([1.5, 2, np.nan, 4, 5], np.float32),
        masked=np.array([0, 1, -1, 0, 1], np.int8),
        mask_type=["", "cloth", "", "", "n95"],
        positions=np.arange(5),
        skipped_keys=["wall"],
        skipped_reasons=["no face found"],
        skipped_positions=np.array([5]),
    )


@pytest.fixture
def write(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 2)
    write_embeddings(tmp_path / "e.h5", [rows], 3, {})

    def run(name, **options):
        path = tmp_path / name
        count = export_embeddings(ExportOptions(tmp_path / "e.h5", path, **options), Console(-1))
        assert count == 5
        assert not list(tmp_path.glob(".*"))
        return path

    return run


def test_npz(write, rows):
    found = np.load(write("e.npz"))
    assert np.array_equal(found["embeddings"], rows.embeddings)
    assert found["keys"].tolist() == KEYS
    assert found["identities"].tolist() == rows.identities
    assert found["masked"].tolist() == rows.masked.tolist()
    assert np.array_equal(found["norms"], rows.norms, equal_nan=True)
    assert found["mask_type"].tolist() == rows.mask_type


def test_csv(write, rows):
    with write("e.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [line["key"] for line in found] == KEYS
    assert [line["masked"] for line in found] == ["false", "true", "", "false", "true"]
    assert [line["norm"] for line in found] == ["1.5", "2", "", "4", "5"]
    vectors = np.array([[line[f"e{n}"] for n in range(3)] for line in found], np.float32)
    assert np.array_equal(vectors, rows.embeddings)


def test_sql(write, rows):
    text = write("e.sql", table="faces").read_text()
    head, _, data = text.partition("COPY faces FROM stdin;\n")
    assert "embedding vector(3)" in head
    *lines, end, last = data.split("\n")
    assert (end, last, len(lines)) == ("\\.", "", 5)
    second = lines[1].split("\t")
    assert second[:5] == ["bob\\t\\\\2", "bob", "true", "cloth", "2"]
    assert lines[2].split("\t")[:5] == ["Zoë, the\\n2nd", "\\N", "\\N", "\\N", "\\N"]
    vector = np.array(second[5].strip("[]").split(","), np.float32)
    assert np.array_equal(vector, rows.embeddings[1])


def test_faiss(write, rows):
    faiss = pytest.importorskip("faiss")
    path = write("e.faiss")
    index = faiss.read_index(str(path))
    assert np.array_equal(index.reconstruct_n(0, 5), rows.embeddings)
    with open(f"{path}.csv", newline="") as file:
        assert [line["key"] for line in csv.DictReader(file)] == KEYS


def test_parquet(write, rows):
    pq = pytest.importorskip("pyarrow.parquet")
    found = pq.read_table(write("e.parquet")).to_pydict()
    assert found["key"] == KEYS
    assert found["masked"] == [False, True, None, False, True]
    assert np.array_equal(np.array(found["embedding"], np.float32), rows.embeddings)


def test_what_cannot_be_written_is_refused(write, tmp_path):
    for wrong, said in (
        ({"output": tmp_path / "e.xls"}, "ending in .parquet, .npz"),
        ({"output": tmp_path / "e.sql", "table": "a; DROP"}, "--table"),
    ):
        with pytest.raises(InputError, match=said):
            export_embeddings(ExportOptions(tmp_path / "e.h5", **wrong), Console(-1))
    (tmp_path / "e.faiss.csv").write_text("mine")
    with pytest.raises(InputError, match=r"e\.faiss\.csv"):
        export_embeddings(ExportOptions(tmp_path / "e.h5", tmp_path / "e.faiss"), Console(-1))
    with pytest.raises(InputError, match="no such file"):
        export_embeddings(ExportOptions(tmp_path / "none.h5", tmp_path / "n.csv"), Console(-1))
    assert not (tmp_path / "n.csv").exists()
