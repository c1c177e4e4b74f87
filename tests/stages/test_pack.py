"""Crops packed into one large file or few, verification files written and parted again."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError, PartialError
from mfrkit.faces.geometry import template
from mfrkit.io.pairs import read_pairs
from mfrkit.io.rec import unpack_entry, unpack_record
from mfrkit.io.source import open_source
from mfrkit.io.verification_bin import read_bin, write_bin
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.views import ViewOptions
from mfrkit.stages.pack import PackOptions, pack, pack_bin, unpack_bin
from mfrkit.training.data import Batches, open_train_set


def run(source, output, **options):
    return pack(PackOptions(str(source), output, RunOptions(**options)), Console(-1))


def contents(source):
    return [item.path.read_bytes() for item in open_source(str(source))]


@pytest.mark.parametrize("name", ["train.rec", "train.tar"])
def test_pictures_come_back_byte_for_byte(noise_crops, tmp_path, name):
    tally = run(noise_crops, tmp_path / name)
    assert (tally.written, tally.skipped) == (12, 0)
    assert contents(tmp_path / name) == contents(noise_crops)
    packed, plain = open_train_set([str(tmp_path / name)]), open_train_set([str(noise_crops)])
    assert [face.label for face in packed.faces] == [face.label for face in plain.faces]


def test_a_rec_file_is_what_insightface_expects(noise_crops, tmp_path):
    run(noise_crops, tmp_path / "train.rec")
    assert (tmp_path / "property").read_text() == "3,112,112\n"
    assert (tmp_path / "train.lst").read_text().splitlines()[4] == "5\t1\tp1/p1_0"
    index = dict(line.split("\t") for line in (tmp_path / "train.idx").read_text().splitlines())
    assert list(index) == [str(n) for n in range(16)]
    records = (tmp_path / "train.rec").read_bytes()
    labels = [unpack_entry(unpack_record(records[int(at) :]))[0] for at in index.values()]
    assert labels[0] == [13, 16]
    assert labels[1:13] == [[float(i // 4)] for i in range(12)]
    assert labels[13:] == [[1, 5], [5, 9], [9, 13]]


def test_people_that_come_back_have_no_ranges(noise_crops, tmp_path):
    names = ["p0/p0_0.png", "p1/p1_0.png", "p0/p0_1.png"]
    lines = [json.dumps({"path": name}) + "\n" for name in names]
    (noise_crops / "manifest.jsonl").write_text("".join(lines))
    run(noise_crops, tmp_path / "train.rec")
    records = (tmp_path / "train.rec").read_bytes()
    assert unpack_entry(unpack_record(records))[0] == [4, 4]
    assert open_source(str(tmp_path / "train.rec")).labels.tolist() == [0, 1, 0]


def test_shards_share_the_crops_and_keep_the_records(noise_crops, tmp_path):
    points = (template() + 1).round(2).tolist()
    records = [
        {"path": f"p{i // 4}/p{i // 4}_{i % 4}.png", "align": {"points": points, "size": 112}}
        for i in range(12)
    ]
    manifest = noise_crops / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
    pattern = tmp_path / "t-{0..4}.tar"
    run(noise_crops, pattern)
    assert sorted(path.name for path in tmp_path.glob("t-*.tar")) == [
        f"t-{n}.tar" for n in range(5)
    ]
    items = list(open_source(str(pattern)))
    assert [item.record.key for item in items[:3]] == ["p0/p0_0", "p1/p1_1", "p2/p2_2"]
    assert {item.record.identity for item in items} == {"p0", "p1", "p2"}
    assert all(item.record.blocks["align"]["points"] == points for item in items)
    first = (tmp_path / "t-0.tar").read_bytes()
    run(noise_crops, pattern, force=True)
    assert (tmp_path / "t-0.tar").read_bytes() == first


@pytest.mark.parametrize("name", ["train.rec", "train.tar"])
def test_unreadable_pictures_are_counted_and_left_out(noise_crops, tmp_path, name):
    (noise_crops / "p0" / "p0_2.png").write_bytes(b"no picture")
    tally = run(noise_crops, tmp_path / name)
    assert (tally.written, dict(tally.reasons)) == (11, {"not a picture": 1})
    assert open_source(str(tmp_path / name)).count() == 11
    for path in noise_crops.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(PartialError, match="no usable picture"):
        run(noise_crops, tmp_path / "other" / name)
    assert not list((tmp_path / "other").iterdir())


def test_outputs_are_checked_first(noise_crops, tmp_path):
    with pytest.raises(InputError, match=r"expected a name that ends in \.rec or \.tar"):
        run(noise_crops, tmp_path / "train.zip")
    (tmp_path / "property").write_text("mine")
    with pytest.raises(InputError, match="property: exists already"):
        run(noise_crops, tmp_path / "train.rec")
    assert not (tmp_path / "train.rec").exists()


def test_a_step_sees_the_same_from_every_form(noise_crops, tmp_path):
    run(noise_crops, tmp_path / "a.rec")
    run(noise_crops, tmp_path / "b.tar")
    sources = [noise_crops, tmp_path / "a.rec", tmp_path / "b.tar"]
    plain, rec, tar = (
        Batches(
            open_train_set([str(source)]),
            size=(112, 112),
            views=ViewOptions(),
            masks=MaskOptions(),
            seed=3,
            batch_size=5,
        ).load(7)
        for source in sources
    )
    for packed in (rec, tar):
        assert torch.equal(packed.crops, plain.crops)
        assert torch.equal(packed.label, plain.label)
        assert torch.equal(packed.index, plain.index)
        np.testing.assert_allclose(packed.points, plain.points)


QUIET = Console(-1)


def crop(seed: int, kind: str = "JPEG", side: int = 112) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def test_unpacked_pictures_keep_their_bytes_and_pairs(tmp_path):
    pictures = [crop(0), crop(1, "PNG"), crop(2), crop(3)]
    write_bin(tmp_path / "x.bin", pictures, [True, False])
    tally = unpack_bin(tmp_path / "x.bin", tmp_path / "x", QUIET)
    assert (tally.written, tally.skipped) == (4, 0)
    items = list(open_source(str(tmp_path / "x")))
    assert [item.path.read_bytes() for item in items] == pictures
    assert [item.path.name for item in items][:2] == ["000001_a.jpg", "000001_b.png"]
    assert [item.record.identity for item in items] == [None] * 4
    pairs = read_pairs(tmp_path / "x" / "pairs.txt")
    assert (pairs.a, pairs.b) == (["000001_a", "000002_a"], ["000001_b", "000002_b"])
    assert pairs.same.tolist() == [True, False]


def test_damaged_pictures_are_recorded_and_their_pairs_stay(tmp_path):
    other = io.BytesIO()
    Image.new("RGB", (112, 112)).save(other, "BMP")
    write_bin(tmp_path / "x.bin", [crop(0), crop(1)[:500], b"", other.getvalue()], [True, False])
    tally = unpack_bin(tmp_path / "x.bin", tmp_path / "x", QUIET)
    assert (tally.written, tally.skipped) == (1, 3)
    lines = (tmp_path / "x" / "manifest.jsonl").read_text().splitlines()
    reasons = [json.loads(line).get("reason", "") for line in lines]
    assert reasons[1].startswith("damaged picture")
    assert reasons[2:] == ["empty file", "neither JPEG nor PNG"]
    assert len(read_pairs(tmp_path / "x" / "pairs.txt")) == 2


def test_nothing_but_damage_is_a_failure(tmp_path):
    write_bin(tmp_path / "x.bin", [b"a", b"b"], [True])
    with pytest.raises(PartialError):
        unpack_bin(tmp_path / "x.bin", tmp_path / "x", QUIET)


def test_an_earlier_result_is_kept_unless_forced(tmp_path):
    write_bin(tmp_path / "x.bin", [crop(0), crop(1)], [True])
    unpack_bin(tmp_path / "x.bin", tmp_path / "x", QUIET)
    write_bin(tmp_path / "x.bin", [crop(2, "PNG"), crop(3)], [False])
    with pytest.raises(InputError, match="--force"):
        unpack_bin(tmp_path / "x.bin", tmp_path / "x", QUIET)
    unpack_bin(tmp_path / "x.bin", tmp_path / "x", QUIET, force=True)
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert names == ["000001_a.png", "000001_b.jpg", "manifest.jsonl", "pairs.txt", "run.json"]
    assert not read_pairs(tmp_path / "x" / "pairs.txt").same[0]


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for seed, name in enumerate("abcdef"):
        (folder / f"{name}.jpg").write_bytes(crop(seed))
    return folder


def test_packing_goes_fold_by_fold_and_round_trips(tmp_path, crops):
    listed = "a,b,same,fold\na,b,1,1\nc,d,0,0\ne,a,1,1\nf,b,0,0\n"
    (tmp_path / "pairs.csv").write_text(listed)
    count = pack_bin(tmp_path / "pairs.csv", str(crops), tmp_path / "x.bin", QUIET, force=False)
    assert count == 4
    packed = read_bin(tmp_path / "x.bin")
    assert packed.same.tolist() == [False, False, True, True]
    expected = [(crops / f"{name}.jpg").read_bytes() for name in "cdfbabea"]
    assert packed.pictures == expected


def test_packing_says_what_is_wrong(tmp_path, crops):
    pairs, output = tmp_path / "pairs.txt", tmp_path / "x.bin"

    def pack():
        pack_bin(pairs, str(crops), output, QUIET, force=False)

    pairs.write_text("a x 1\ny z 0\n")
    with pytest.raises(InputError, match=r"lacks 3 of the 4 crops of .*pairs.txt: x, y, z"):
        pack()
    pairs.write_text("a b 1\n")
    (crops / "b.jpg").write_bytes(crop(1)[:300])
    with pytest.raises(InputError, match=r"b.jpg: damaged picture"):
        pack()
    Image.new("RGB", (112, 112)).save(crops / "b.jpg", "BMP")
    with pytest.raises(InputError, match="b.jpg: neither JPEG nor PNG"):
        pack()
    assert not output.exists()
    (crops / "b.jpg").write_bytes(crop(1))
    pack()
    with pytest.raises(InputError, match="exists already"):
        pack()


def test_photos_that_are_no_crops_are_remarked_on(tmp_path, crops, capsys):
    (crops / "b.jpg").write_bytes(crop(1, side=200))
    (tmp_path / "pairs.txt").write_text("a b 1\n")
    pack_bin(tmp_path / "pairs.txt", str(crops), tmp_path / "x.bin", Console(), force=False)
    assert "not 112x112: 1 of 2 pictures (b: 200x200)" in capsys.readouterr().err
