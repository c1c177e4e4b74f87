"""Verification files become crops with a pair list, and crops become verification files."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mfrkit.console import Console
from mfrkit.errors import InputError, PartialError
from mfrkit.io.pairs import read_pairs
from mfrkit.io.source import open_source
from mfrkit.io.verification_bin import read_bin, write_bin
from mfrkit.stages.pack import pack_bin, unpack_bin

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
