"""The chain as a user types it: default names, pipes, reruns, shards."""

import json

import numpy as np

from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.images import read_image


def records(output):
    return [json.loads(line) for line in output.decode().splitlines()]


def manifest(folder):
    return records((folder / "manifest.jsonl").read_bytes())


PAIRS = """barack_obama 1 2
barack_obama 1 3
barack_obama 1 joe_biden 1
eileen_collins 1 joe_biden 1
"""


def test_default_names_make_a_whole_run(worked):
    folder = worked.folder
    (folder / "pairs.txt").write_text(PAIRS)
    run = worked("eval", "pairs.txt", "--json", check=0)
    (result,) = json.loads(run.stdout)["results"]
    assert result["pairs"] == 4
    with (
        EmbeddingReader(folder / "embeddings.h5") as emb,
        EmbeddingReader(folder / "masked.h5") as m,
    ):
        assert emb.count == m.count == 5
        assert emb.attributes["model"] == "mfr"
        assert list(emb.attributes["input_size"]) == [112, 112]
        assert emb.masked.tolist() == [-1] * 5
        assert m.masked.tolist() == [1] * 5
        assert set(m.mask_types) <= {"surgical", "n95", "cloth"}
        assert list(emb.index) == [r["key"] for r in manifest(worked.folder / "crops")]
        vectors = emb.rows(np.arange(5))
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        obama = [emb.index[f"barack_obama/barack_obama_000{n}"] for n in (1, 2, 3)]
        biden = emb.index["joe_biden/joe_biden_0001"]
        scores = vectors @ vectors.T
        assert scores[obama[0], obama[1]] > 0.5 > scores[obama[0], biden]


def test_manifests_tell_how_each_file_came_about(worked):
    for crop, masked in zip(
        manifest(worked.folder / "crops"), manifest(worked.folder / "masked"), strict=True
    ):
        assert crop["identity"] == crop["key"].split("/")[0]
        align = crop["align"]
        assert align["score"] > 0.9
        assert np.array(align["points"]).shape == (5, 2)
        assert np.array(align["matrix"]).shape == (2, 3)
        assert masked["align"] == align, "a later stage keeps what it does not know"
        mask = masked["mask"]
        assert mask["seed"] == 7
        region = read_image(worked.folder / "masked" / mask["region"])
        assert 0.1 < (region > 127).mean() < 0.6
        clean = read_image(worked.folder / "crops" / crop["path"])
        drawn = read_image(worked.folder / "masked" / masked["path"])
        assert clean.shape == drawn.shape == (112, 112, 3)
        changed = np.abs(clean.astype(int) - drawn).max(2) > 12
        assert changed[region[:, :, 0] > 250].mean() > 0.5
        assert changed[:30].mean() < 0.05, "the forehead stays as it was"


def test_a_default_that_is_not_there_names_its_maker(mfr):
    for command, maker in (("synth-mask", "mfrkit align"), ("embed", "mfrkit align")):
        run = mfr(command, check=2)
        assert maker in run.stderr.decode()
    (mfr.folder / "pairs.txt").write_text(PAIRS)
    assert "mfrkit embed" in mfr("eval", "pairs.txt", check=2).stderr.decode()


def test_a_pipeline_runs_side_by_side_and_equals_the_separate_stages(mfr, photos, worked):
    run = mfr.line(
        f"mfrkit align {photos} -o crops | mfrkit embed - -o clean.h5"
        " | mfrkit synth-mask - -o masked --seed 7 | mfrkit embed - -o masked.h5"
    )
    assert run.returncode == 0, run.stderr.decode()
    assert [r["key"] for r in records(run.stdout)[:-1]] == [
        r["key"] for r in manifest(worked.folder / "crops")
    ]
    for name in ("crops", "masked"):
        assert (mfr.folder / name / "manifest.jsonl").read_bytes() == (
            worked.folder / name / "manifest.jsonl"
        ).read_bytes()
    for ours, theirs in (("clean.h5", "embeddings.h5"), ("masked.h5", "masked.h5")):
        with EmbeddingReader(mfr.folder / ours) as a, EmbeddingReader(worked.folder / theirs) as b:
            assert list(a.index) == list(b.index)
            assert np.allclose(a.rows(np.arange(5)), b.rows(np.arange(5)), atol=1e-5)


def test_masks_are_the_same_bytes_whatever_the_batch_worker_or_shard(mfr, worked):
    runs = {"one": ["-b", "1", "-j", "1"], "many": ["-b", "64", "-j", "4"]}
    for name, options in runs.items():
        mfr("synth-mask", worked.folder / "crops", "-o", name, "--seed", "7", *options, check=0)
    for index in (1, 2):
        part = ["--shard", f"{index}/2"]
        mfr("synth-mask", worked.folder / "crops", "-o", "parts", "--seed", "7", *part, check=0)
    for record in manifest(worked.folder / "masked"):
        for path in (record["path"], record["mask"]["region"]):
            wanted = (worked.folder / "masked" / path).read_bytes()
            for name in ("one", "many", "parts"):
                assert (mfr.folder / name / path).read_bytes() == wanted
    mfr("synth-mask", worked.folder / "crops", "-o", "other", "--seed", "8", check=0)
    first = manifest(worked.folder / "masked")[0]["path"]
    assert (mfr.folder / "other" / first).read_bytes() != (
        worked.folder / "masked" / first
    ).read_bytes()


def test_shards_of_embed_merge_to_the_whole(mfr, worked):
    for index in (1, 2, 3):
        part = ["--shard", f"{index}/3", "-o", f"p{index}.h5"]
        mfr("embed", worked.folder / "crops", *part, check=0)
    mfr("merge", "p2.h5", "p3.h5", "p1.h5", "-o", "all.h5", check=0)
    with (
        EmbeddingReader(mfr.folder / "all.h5") as merged,
        EmbeddingReader(worked.folder / "embeddings.h5") as whole,
    ):
        assert list(merged.index) == list(whole.index)
        assert np.allclose(merged.rows(np.arange(5)), whole.rows(np.arange(5)), atol=1e-5)
        assert "shard" not in merged.attributes
    run = mfr("merge", "p1.h5", "p3.h5", "-o", "half.h5", check=2)
    assert "shard 2/3 is missing" in run.stderr.decode()


def test_reruns_are_refused_resumed_or_replaced(worked):
    before = (worked.folder / "embeddings.h5").read_bytes()
    assert "--force" in worked("embed", check=2).stderr.decode()
    assert "complete already" in worked("embed", "--resume", check=0).stderr.decode()
    assert (worked.folder / "embeddings.h5").read_bytes() == before
    assert "--force" in worked("synth-mask", "--seed", "7", check=2).stderr.decode()
    worked("synth-mask", "--seed", "7", "--resume", check=0)
    assert (
        "seed=7, not 8" in worked("synth-mask", "--seed", "8", "--resume", check=2).stderr.decode()
    )


def test_every_face_of_a_group_photo(mfr, photos, tmp_path):
    """Two portraits side by side make a photo with two people."""
    from PIL import Image

    left = Image.open(photos / "eileen_collins/eileen_collins_0001.jpg")
    right = Image.open(photos / "joe_biden/joe_biden_0001.jpg").resize(left.size)
    both = Image.new("RGB", (left.width * 2, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    (tmp_path / "group").mkdir()
    both.save(tmp_path / "group/two.jpg", quality=95)
    mfr("align", "group", "-o", "all", "--select", "all", check=0)
    found = manifest(tmp_path / "all")
    assert sorted(r["key"] for r in found) == ["two", "two.face2"]
    assert {r["path"] for r in found} == {"two.png", "two.face2.png"}
    mfr("embed", "all", "-o", "all.h5", check=0)
    mfr("align", "group", "-o", "one", check=0)
    assert len(manifest(tmp_path / "one")) == 1


def test_aligned_crops_pass_through_unchanged(mfr, worked):
    mfr("align", worked.folder / "crops", "-o", "again", "--detector", "none", check=0)
    for record in manifest(worked.folder / "crops"):
        a = read_image(worked.folder / "crops" / record["path"])
        assert np.array_equal(a, read_image(mfr.folder / "again" / record["path"]))


def test_larger_and_wider_crops(mfr, photos):
    wide = ["--size", "224", "--margin", "0.5", "--format", "jpg"]
    mfr("align", photos, "-o", "big", *wide, check=0)
    first = manifest(mfr.folder / "big")[0]
    assert read_image(mfr.folder / "big" / first["path"]).shape == (224, 224, 3)
    mfr("synth-mask", "big", "-o", "bigmasked", check=0)
    run = mfr("embed", "big", "-o", "x.h5", check=3)
    assert "not a" in run.stderr.decode()


def test_align_takes_only_the_photos_of_a_list(mfr, photos):
    (mfr.folder / "pairs.txt").write_text("barack_obama 1 2\n")
    run = mfr("align", photos, "-o", "few", "--only", "pairs.txt", check=0)
    keys = [record["key"] for record in records(run.stdout)[:-1]]
    assert keys == ["barack_obama/barack_obama_0001", "barack_obama/barack_obama_0002"]
    (mfr.folder / "others.txt").write_text("nobody 1 2\n")
    run = mfr("align", photos, "-o", "none", "--only", "others.txt", check=2)
    assert "of those asked for" in run.stderr.decode()
