"""Embedding files joined by position, or fused: the weighted mean of the parts' cosines."""

from dataclasses import replace

import numpy as np
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader, Rows, write_embeddings
from mfrkit.stages.file_options import FuseOptions, MergeOptions, parse_weights
from mfrkit.stages.vectors import fuse, merge

MODEL = {"model": "arcface", "weights_sha256": "ab", "flip": True}


def part(path, positions, *, attributes=MODEL, prefix="k", lost=(), dim=3):
    places = np.asarray(positions, np.int64)
    rows = replace(
        Rows.empty(dim),
        embeddings=np.repeat(places[:, None], dim, 1).astype(np.float32),
        keys=[f"{prefix}{p}" for p in positions],
        identities=[f"id{p}" for p in positions],
        norms=places.astype(np.float32),
        masked=np.zeros(len(places), np.int8),
        mask_type=[""] * len(places),
        positions=places,
        skipped_keys=[f"lost{p}" for p in lost],
        skipped_reasons=["no face"] * len(lost),
        skipped_positions=np.asarray(lost, np.int64),
    )
    write_embeddings(path, [rows], dim, attributes)
    return path


def joined(parts, output, **options):
    merge(MergeOptions(parts, output, **options), Console(-1))
    with EmbeddingReader(output) as reader:
        return reader.block(0, reader.count), reader.skipped, reader.attributes


def shards(tmp_path, total=10, count=3, lost=(4,)):
    parts = []
    for index in range(count):
        mine = [p for p in range(total) if p % count == index]
        parts.append(
            part(
                tmp_path / f"s{index}.h5",
                [p for p in mine if p not in lost],
                attributes={**MODEL, "shard": f"{index + 1}/{count}"},
                lost=[p for p in mine if p in lost],
            )
        )
    return parts


def test_shards_come_out_in_input_order_whatever_the_argument_order(tmp_path):
    parts = shards(tmp_path)
    rows, skipped, attributes = joined([parts[2], parts[0], parts[1]], tmp_path / "all.h5")
    kept = [p for p in range(10) if p != 4]
    assert rows.keys == [f"k{p}" for p in kept]
    assert rows.positions.tolist() == kept
    assert rows.embeddings[:, 0].tolist() == kept
    assert rows.identities == [f"id{p}" for p in kept]
    assert skipped == {"lost4": "no face"}
    assert "shard" not in attributes
    assert attributes["model"] == "arcface"


def test_blocks_of_any_size_give_the_same_file(tmp_path, monkeypatch):
    parts = shards(tmp_path, total=50, count=4)
    whole, _, _ = joined(parts, tmp_path / "a.h5")
    monkeypatch.setattr("mfrkit.stages.vectors.BLOCK_ROWS", 7)
    blocks, _, _ = joined(parts, tmp_path / "b.h5")
    assert blocks.keys == whole.keys
    assert np.array_equal(blocks.embeddings, whole.embeddings)


def test_files_that_are_no_shards_follow_each_other(tmp_path):
    parts = [
        part(tmp_path / "a.h5", [0, 1, 3], lost=[2]),
        part(tmp_path / "b.h5", [0, 1], prefix="q"),
    ]
    rows, _, _ = joined(parts, tmp_path / "all.h5")
    assert rows.keys == ["k0", "k1", "k3", "q0", "q1"]
    assert rows.positions.tolist() == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("leave_out", [0, 1, 2])
def test_a_missing_shard_is_named(tmp_path, leave_out):
    parts = shards(tmp_path)
    del parts[leave_out]
    with pytest.raises(InputError, match=f"shard {leave_out + 1}/3 is missing"):
        joined(parts, tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    first = part(tmp_path / "a.h5", [0, 1])
    other = part(tmp_path / "b.h5", [2], attributes={**MODEL, "weights_sha256": "cd"})
    with pytest.raises(InputError, match="b.h5: weights_sha256 is cd, but ab"):
        joined([first, other], tmp_path / "all.h5")
    same = part(tmp_path / "c.h5", [1, 2])
    with pytest.raises(InputError, match="key 'k1' appears twice"):
        joined([first, same], tmp_path / "all.h5")
    with pytest.raises(InputError, match="named twice"):
        joined([first, first], tmp_path / "all.h5")
    wide = part(tmp_path / "d.h5", [7], dim=5)
    with pytest.raises(InputError, match="dim is 5, but 3"):
        joined([first, wide], tmp_path / "all.h5")


def test_an_existing_result_is_kept_unless_forced(tmp_path):
    parts = shards(tmp_path)
    (tmp_path / "all.h5").write_text("precious")
    with pytest.raises(InputError, match="--force"):
        joined(parts, tmp_path / "all.h5")
    assert (tmp_path / "all.h5").read_text() == "precious"
    joined(parts, tmp_path / "all.h5", force=True)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("1/100000000", "shard 2/100000000, 3/100000000, 4/100000000 is missing"),
        ("1/x", "a.h5: is shard '1/x', beside"),
        ("0/3", "a.h5: is shard '0/3', beside"),
        ("1/" + "9" * 5000, "a.h5: is shard '1/999"),
    ],
)
def test_shard_numbers_that_make_no_sense(tmp_path, shard, message):
    made = part(tmp_path / "a.h5", [0, 1], attributes={**MODEL, "shard": shard})
    with pytest.raises(InputError, match=message):
        joined([made], tmp_path / "out.h5")


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
