"""Templates: pooling is that of the IJB protocols, and eval compares what was pooled."""

from pathlib import Path

import numpy as np
import pytest

from mfrkit.console import Console
from mfrkit.io.embedding_rows import Rows, write_embeddings
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.template_lists import read_templates
from mfrkit.stages.eval_options import EvalOptions
from mfrkit.stages.evaluate import evaluate
from mfrkit.stages.templates import PooledTemplates

IJB = "1.jpg 10 69544\nimg/2.jpg 10 69544\n3.jpg 20 7\n4.jpg 10 8\n"


def embeddings(path: Path, keys, vectors) -> Path:
    count = len(keys)
    rows = Rows(
        np.asarray(vectors, np.float32), list(keys), [""] * count, np.ones(count, np.float32),
        np.zeros(count, np.int8), [""] * count, np.arange(count), [], [], np.arange(0),
    )  # fmt: skip
    write_embeddings(path, [rows], np.shape(vectors)[1], {})
    return path


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "t.txt").write_text(text)
        return read_templates(tmp_path / "t.txt")

    return read


def test_a_template_worked_by_hand(tmp_path, read):
    """Two frames of a video and a photo: (mean of (1,0) and (0,1)) + (0,1) = (0.5, 1.5)."""
    path = embeddings(tmp_path / "e.h5", ["1", "img/2", "3", "4"], [[3, 0], [0, 5], [0, 0], [0, 1]])
    with EmbeddingReader(path) as reader:
        pooled = PooledTemplates(reader, read(IJB))
        assert pooled.index == {"10": 0}
        assert pooled.skipped == {"20": "none of its 1 pictures has one"}
        assert pooled.missing == 1
        np.testing.assert_allclose(
            pooled.rows(np.array([0])), [[0.5 / 2.5**0.5, 1.5 / 2.5**0.5]], rtol=1e-6
        )


def test_pooling_against_a_plain_loop_in_blocks_of_every_size(tmp_path, read, monkeypatch):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 4))
    lines = [f"i{n} t{random.integers(6)} m{random.integers(12)}" for n in range(60)]
    lines += [f"gone{n} t{n} m1" for n in range(3)]
    templates = read("\n".join(lines))
    path = embeddings(tmp_path / "e.h5", [f"i{n}" for n in range(60)], vectors)
    expected = {}
    for name in templates.names:
        media = {}
        for n, line in enumerate(lines[:60]):
            _, template, medium = line.split()
            if template == name:
                media.setdefault(medium, []).append(vectors[n] / np.linalg.norm(vectors[n]))
        total = sum(np.mean(group, axis=0) for group in media.values())
        expected[name] = total / np.linalg.norm(total)
    for block in (1, 2, 7, 1000):
        monkeypatch.setattr("mfrkit.stages.templates._BLOCK", block)
        with EmbeddingReader(path) as reader:
            pooled = PooledTemplates(reader, templates)
            for name, row in pooled.index.items():
                np.testing.assert_allclose(
                    pooled.rows(np.array([row]))[0], expected[name], atol=1e-6
                )
            assert pooled.missing == 3


def test_an_empty_file_has_no_templates(tmp_path, read):
    path = embeddings(tmp_path / "e.h5", [], np.empty((0, 4)))
    with EmbeddingReader(path) as reader:
        pooled = PooledTemplates(reader, read(IJB))
    assert (pooled.index, len(pooled.skipped), pooled.missing) == ({}, 2, 4)


def test_eval_compares_templates(tmp_path, capsys):
    random = np.random.default_rng(1)
    people = random.normal(size=(20, 8)).repeat(6, axis=0)
    vectors = people + 0.8 * random.normal(size=people.shape)
    keys = [f"p{n // 6}/{n % 6}" for n in range(120)]
    path = embeddings(tmp_path / "e.h5", keys, vectors)
    lines = [f"{key}.jpg {n // 3} {n // 2}" for n, key in enumerate(keys)] + ["lost.jpg 0 99"]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    pairs = [f"{2 * n} {2 * n + 1} 1\n{2 * n} {(2 * n + 3) % 40} 0\n" for n in range(20)]
    (tmp_path / "pairs.txt").write_text("".join(pairs))
    options = EvalOptions(tmp_path / "pairs.txt", (path,), templates=tmp_path / "t.txt")
    result = evaluate(options, Console())[0]
    assert result["genuine"]["count"] == result["impostor"]["count"] == 20
    assert result["eer"]["rate"] < 0.05
    assert "no embedding for 1 of the 121 pictures" in capsys.readouterr().err
