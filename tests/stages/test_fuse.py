"""Fused embeddings: the cosine is the weighted mean of the parts' cosines."""

from dataclasses import replace

import numpy as np
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.stages.vectors import FuseOptions, fuse, parse_weights


def write(path, keys, vectors, model):
    block = replace(
        Rows.empty(),
        embeddings=np.asarray(vectors, np.float32),
        keys=list(keys),
        identities=[key[0] for key in keys],
        norms=np.ones(len(keys), np.float32),
        masked=np.ones(len(keys), np.int8),
        mask_type=["cloth"] * len(keys),
        positions=np.arange(len(keys)),
        skipped_keys=["lost"],
        skipped_reasons=["unreadable"],
        skipped_positions=np.array([9]),
    )
    attributes = {"model": model, "weights_sha256": model, "flip": True}
    write_embeddings(path, [block], block.embeddings.shape[1], attributes)
    return path


@pytest.fixture
def parts(tmp_path):
    """Two files of the same four pictures, in different orders, of 3 and 5 values."""
    generator = np.random.default_rng(0)
    a = {key: generator.normal(size=3) for key in "abcd"}
    b = {key: generator.normal(size=5) for key in "cdba"}
    files = [
        write(tmp_path / "a.h5", a, list(a.values()), "one"),
        write(tmp_path / "b.h5", b, list(b.values()), "two"),
    ]
    return files, a, b


def cosine(x, y):
    return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


@pytest.mark.parametrize(("weights", "share"), [((), 0.5), ((3.0, 1.0), 0.75)])
def test_the_cosine_is_the_weighted_mean(parts, tmp_path, weights, share):
    files, a, b = parts
    fuse(FuseOptions(files, tmp_path / "f.h5", weights), Console(-1))
    with EmbeddingReader(tmp_path / "f.h5") as reader:
        rows = reader.block(0, reader.count)
        assert (reader.dim, reader.attributes["model"]) == (8, "one & two")
        assert reader.skipped == {"lost": "unreadable"}
    assert rows.keys == list("abcd")
    assert (rows.identities, rows.mask_type) == (list("abcd"), ["cloth"] * 4)
    assert rows.masked.tolist() == [1] * 4
    assert np.isnan(rows.norms).all()
    for i, x in enumerate("abcd"):
        for j, y in enumerate("abcd"):
            wanted = share * cosine(a[x], a[y]) + (1 - share) * cosine(b[x], b[y])
            assert rows.embeddings[i] @ rows.embeddings[j] == pytest.approx(wanted, abs=1e-6)


def test_two_fusions_of_the_same_parts_belong_together(parts, tmp_path):
    files, *_ = parts
    seen = []
    for name, weights in (("f", (2.0, 1.0)), ("g", (4.0, 2.0)), ("h", (1.0, 2.0))):
        fuse(FuseOptions(files, tmp_path / f"{name}.h5", weights), Console(-1))
        with EmbeddingReader(tmp_path / f"{name}.h5") as reader:
            seen.append(reader.attributes["weights_sha256"])
    assert seen[0] == seen[1] != seen[2]


def test_a_part_without_direction_makes_no_vector(tmp_path):
    one = write(tmp_path / "a.h5", "ab", [[1, 0], [0, 1]], "one")
    two = write(tmp_path / "b.h5", "ab", [[1, 0], [0, 0]], "two")
    fuse(FuseOptions([one, two], tmp_path / "f.h5"), Console(-1))
    with EmbeddingReader(tmp_path / "f.h5") as reader:
        lengths = np.linalg.norm(reader.vectors(0, 2), axis=1)
    assert lengths.tolist() == pytest.approx([1, 0])


def test_mistakes_are_refused(parts, tmp_path):
    files, *_ = parts
    fewer = write(tmp_path / "c.h5", "ab", np.eye(2), "three")
    out = tmp_path / "f.h5"
    for wrong, message in [
        (FuseOptions(files[:1], out), "nothing to fuse"),
        (FuseOptions(files, out, (1.0,)), "1 for 2 files"),
        (FuseOptions([files[0], fewer], out), r"c.h5: lacks 2 of the 4 keys of .*a.h5: c, d;"),
        (FuseOptions([fewer, files[0]], out), r"c.h5: lacks 2 of the 4 keys"),
    ]:
        with pytest.raises(InputError, match=message):
            fuse(wrong, Console(-1))
    assert not out.exists()
    for text in ("1,x", "1,0", "-1,2", "inf,1"):
        with pytest.raises(InputError, match="--weights"):
            parse_weights(text)
