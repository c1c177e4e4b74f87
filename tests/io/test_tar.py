"""WebDataset shards written with the standard library, whole and damaged."""

import io
import itertools
import json
import tarfile

import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.io.images import encode_image, read_image
from mfrkit.io.source import open_source
from mfrkit.io.tar import TarSource, read_members


def picture(value: int) -> bytes:
    return encode_image(np.full((8, 6, 3), value, np.uint8), ".png")


def write(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


POINTS = [[1.0, 2.0], [3.0, 2.0], [2.0, 3.0], [1.0, 4.0], [3.0, 4.0]]
SAMPLES = {
    "000.json": json.dumps({"identity": "ada", "points": POINTS}).encode(),
    "000.png": picture(0),
    "001.PNG": picture(1),
    "001.cls": b"12\n",
    "002.png": picture(2),
    "002.cls": b"3",
    "002.json": b'{"identity": 12, "key": "x/y", "mask": {"type": "none"}}',
    "./eve/003.png": picture(3),
    "a.b/" + "l" * 120 + ".png": picture(4),
    "README.txt": b"not a sample",
}


def test_samples_are_read_in_any_order(tmp_path):
    source = open_source(str(write(tmp_path / "train.tar", SAMPLES)))
    items = list(source)
    assert [item.record.identity for item in items] == ["ada", "12", "12", "eve", "a.b"]
    assert [item.record.key for item in items[:4]] == ["000", "001", "x/y", "eve/003"]
    assert source.labels.tolist() == [0, 1, 1, 2, 3]
    assert list(source.people) == ["ada", "12", "eve", "a.b"]
    assert items[0].record.blocks["align"] == {"points": POINTS}
    assert items[2].record.blocks == {"mask": {"type": "none"}}
    for number in (4, 0, 3, 1, 2):
        assert source[number].record == items[number].record
        assert read_image(source[number].path)[0, 0].tolist() == [number] * 3


def test_shards_follow_each_other(tmp_path):
    for shard in range(8, 11):
        members = {f"{shard}.png": picture(shard), f"{shard}.cls": b"%d" % (shard % 2)}
        write(tmp_path / f"s-{shard:02d}.tar", members)
    source = open_source(str(tmp_path / "s-{08..10}.tar"))
    assert [item.record.key for item in source] == ["8", "9", "10"]
    assert source.labels.tolist() == [0, 1, 0]
    assert [read_image(item.path)[0, 0, 0] for item in source] == [8, 9, 10]
    with pytest.raises(InputError, match="s-07.tar: no such tar file"):
        open_source(str(tmp_path / "s-{07..10}.tar"))


def test_unusable_samples_are_inputs_with_a_reason(tmp_path):
    members = {
        "a.json": b"{}",
        "b.png": picture(1),
        "b.json": b"{broken",
        "c.left.png": picture(2),
        "c.right.png": picture(3),
        "../d.png": picture(4),
    }
    source = TarSource([str(write(tmp_path / "t.tar", members))])
    reasons = [item.record.reason for item in source]
    assert reasons[0] == "no picture in the sample"
    assert reasons[1].startswith("damaged sample: ")
    assert reasons[2] is None
    assert reasons[3] == "second picture of a sample"
    assert "leaves its folder" in reasons[4]
    assert source.usable().tolist() == [2]
    assert source[2].record.key == "c"


def test_damage_costs_the_members_it_hits(tmp_path):
    path = write(tmp_path / "t.tar", {f"{n}.png": picture(n) for n in range(4)})
    content = bytearray(path.read_bytes())
    starts = [member.offset for member in read_members(path)]
    content[starts[1] - 512 : starts[1] - 400] = b"\xff" * 112  # the second head
    path.write_bytes(content[: starts[3] + 20])  # and an end in the fourth picture
    items = list(TarSource([str(path)]))
    assert [item.record.reason is None for item in items] == [True, False, True, False]
    assert "damaged tar archive" in items[1].record.reason
    assert "truncated" in items[3].record.reason
    assert read_image(items[2].path)[0, 0, 0] == 2


def test_joined_archives_are_one(tmp_path):
    parts = [write(tmp_path / f"{n}.tar", {f"{n}.png": picture(n)}) for n in range(2)]
    whole = tmp_path / "whole.tar"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert [item.record.key for item in TarSource([str(whole)])] == ["0", "1"]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b" + bytes(range(256)) * 9, b"\0" * 10240])
def test_what_is_no_tar_file_is_refused(tmp_path, content):
    path = tmp_path / "t.tar"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.tar: not a plain tar archive"):
        TarSource([str(path)])


def head(name, kind=b"0", size=b"00000000000\0"):
    """Return the head of a member, whatever it says of its size."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[148:157] = size, b" " * 8 + kind
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(entry):
    length = b"%011o\0" % len(entry)
    return head("x", b"x", length) + entry.ljust(512, b"\0")


@pytest.mark.parametrize(
    "rest",
    [
        head("b.png", size=b"\xff" * 10 + b"\xfe\0"),  # -512 bytes: back to where it began
        extended(b"15 size=-10240\n") + head("b.png"),
        head("x", b"x", b"\x80" + (1 << 80).to_bytes(11, "big")),
        head("x", b"x", b"\x80" + (1 << 40).to_bytes(11, "big")),
        head("x", b"L", b"\x80" + (1 << 40).to_bytes(11, "big")),
        head("x", b"x") * 3000,
        head("x", b"L") * 3000,
        extended(b"22 GNU.sparse.map=a,b\n") + head("b.png"),
        extended(b"22 GNU.sparse.major=1\n" + b"22 GNU.sparse.minor=0\n") + head("b.png"),
        head("b.png", b"S"),
    ],
)
def test_heads_that_lie_cost_no_sample_before_them(tmp_path, rest):
    path = write(tmp_path / "odd.tar", {"a.png": picture(7)})
    content = path.read_bytes()[:1024]
    path.write_bytes(content + rest + bytes(1024))
    members = list(itertools.islice(read_members(path), 9))
    assert [member.name for member in members if not member.fault] == ["a.png"]
    assert 2 <= len(members) < 9
