import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mfrkit.config import Every
from mfrkit.errors import ImageError, InputError
from mfrkit.io.clips import Frame, _Reader, chosen, decoded
from mfrkit.io.images import read_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.io.source import open_source

SHADE = 6  # grey levels from one frame to the next


def write_clip(path, frames, *, code="mp4v", rate=10):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def write_shades(path, count=25, **options):
    """Write a clip whose frame n is grey, n times SHADE."""
    return write_clip(
        path, [np.full((64, 96, 3), n * SHADE, np.uint8) for n in range(count)], **options
    )


def frames(source):
    return [item.record.key for item in source if item.path is not None]


def faults(source):
    return {item.record.key: item.record.reason for item in source if item.path is None}


def test_every_is_frames_or_seconds():
    assert Every.parse("25") == Every(25, "frames")
    assert Every.parse("0.5s") == Every(0.5, "seconds")
    assert str(Every.parse(" 2 s")) == "2s"
    for text in ("", "0", "0s", "-1", "1.5", "s", "1m", "nan"):
        with pytest.raises(InputError, match="--every"):
            Every.parse(text)


def test_seconds_are_those_at_which_frames_are_shown():
    """Of a clip that stutters, not of an average rate."""
    times = np.array([5.0, 5.1, 5.2, 8.0, 8.1, 8.9, 9.0])
    assert chosen(Every(1, "seconds"), times).tolist() == [0, 3, 6]
    assert chosen(Every(0.1, "seconds"), times[:3]).tolist() == [0, 1, 2]
    assert chosen(Every(9, "seconds"), times).tolist() == [0]
    assert chosen(Every(3, "frames"), times).tolist() == [0, 3, 6]
    assert chosen(Every(1, "seconds"), times[:1]).tolist() == [0]
    assert chosen(Every(1, "seconds"), times[:0]).tolist() == []
    assert chosen(Every(1e-3, "seconds"), np.array([0.0, 1e15])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "code"), [("c.mp4", "mp4v"), ("c.avi", "MJPG"), ("c.mkv", "mp4v")]
)
def test_a_key_says_which_frame_it_is(tmp_path, name, code):
    source = open_source(str(write_shades(tmp_path / name, code=code)), every=Every.parse("0.7s"))
    items = list(source)
    assert [item.record.key for item in items] == ["c/000000", "c/000007", "c/000014", "c/000021"]
    assert [item.record.blocks["clip"]["seconds"] for item in items] == [0, 0.7, 1.4, 2.1]
    assert [item.position for item in items] == [0, 1, 2, 3]
    assert source.count() == 4
    for item, number in zip(decoded(items), (0, 7, 14, 21), strict=True):
        assert read_image(item.path).shape == (64, 96, 3)
        assert abs(read_image(item.path).mean() - SHADE * number) < SHADE / 2
        alone = replace(item.path, content=None)
        assert read_image(alone).mean() == read_image(item.path).mean()


def test_colours_are_red_green_blue(tmp_path):
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 200  # OpenCV writes blue, green, red
    source = open_source(str(write_clip(tmp_path / "c.mp4", [red])), every=Every(1, "frames"))
    pixels = read_image(next(decoded(source)).path)
    assert pixels[..., 0].mean() > 150 > 50 > pixels[..., 2].mean()


def test_frames_are_decoded_once_and_only_when_asked_for(tmp_path, monkeypatch):
    items = list(open_source(str(write_shades(tmp_path / "c.mp4")), every=Every(5, "frames")))
    opened, read = [], []
    first, then = _Reader.__init__, _Reader.read
    monkeypatch.setattr(_Reader, "__init__", lambda *args: opened.append(1) or first(*args))
    monkeypatch.setattr(_Reader, "read", lambda self, n: read.append(n) or then(self, n))
    stream = decoded(items)
    assert not opened
    next(stream)
    assert (opened, read) == ([1], [0])
    list(stream)
    assert (opened, read) == ([1], [0, 5, 10, 15, 20])
    list(decoded([items[3], items[1]]))  # backwards works too, from the start
    assert opened == [1, 1, 1]


def test_clips_in_folders_stand_among_photos(tmp_path, portrait):
    (tmp_path / "ada").mkdir()
    write_shades(tmp_path / "ada" / "b.mp4", 3)
    (tmp_path / "ada" / "a.jpg").symlink_to(portrait)
    (tmp_path / "ada" / "b.jpg").symlink_to(portrait)  # a phone's still and its clip
    write_shades(tmp_path / "hall.avi", 2, code="MJPG")
    source = open_source(str(tmp_path), every=Every(1, "frames"))
    wanted = ["ada/a", "ada/b", "ada/b/000000", "ada/b/000001", "ada/b/000002"]
    assert frames(source) == [*wanted, "hall/000000", "hall/000001"]
    assert source.count() == 7
    assert {item.record.identity for item in source} == {"ada", "hall"}
    assert not source.passed_over()
    photos = open_source(str(tmp_path))
    assert frames(photos) == ["ada/a", "ada/b"]
    assert photos.passed_over() == "2 other files passed over (.mp4: 1, .avi: 1)"


def test_a_bad_clip_costs_itself_alone(tmp_path):
    write_shades(tmp_path / "whole.mp4", 4)
    content = write_shades(tmp_path / "short.avi", 40, code="MJPG").read_bytes()
    (tmp_path / "short.avi").write_bytes(content[: len(content) // 2])
    (tmp_path / "headless.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:-400])
    (tmp_path / "empty.mov").touch()
    (tmp_path / "rubbish.mkv").write_bytes(b"rubbish" * 1000)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    write_shades(tmp_path / "whole.mkv", 2)
    (tmp_path / "taken").mkdir()
    write_shades(tmp_path / "taken.mp4", 2)
    source = open_source(str(tmp_path), every=Every(1, "frames"))
    keys, reasons = frames(source), faults(source)
    assert [key for key in keys if key.startswith("whole")] == ["whole/000000", "whole/000001"]
    short = [key for key in keys if key.startswith("short")]
    assert 5 <= len(short) < 35
    assert reasons[f"short/{len(short):06}"] == (
        f"truncated clip: {len(short)} of 40 frames are there"
    )
    assert set(keys) == {*short, "whole/000000", "whole/000001"}
    assert reasons["empty/000000"] == "empty file"
    assert reasons["pipe/000000"] == "not a plain file"
    assert reasons["gone/000000"].startswith("unreadable: No such file")
    assert reasons["headless/000000"].startswith("not a readable clip")
    assert reasons["rubbish/000000"].startswith("not a readable clip")
    assert reasons["whole.mp4"] == "same name as whole.mkv"
    assert reasons["taken.mp4"] == "same name as taken/"
    assert len(reasons) == 8


def test_a_frame_that_is_not_there_is_skipped(tmp_path):
    clip = write_shades(tmp_path / "c.mp4", 3)
    items = [
        Item(n, Record(f"c/{n}", f"c.mp4#{n}", f"c.mp4#{n}"), Frame(clip, f"frame {n}", n, 0))
        for n in (1, 5, 6)
    ]
    there, *lost = decoded(items)
    assert there.path.content
    assert {item.record.reason for item in lost} == {
        "damaged clip: cannot be decoded beyond frame 3"
    }
    with pytest.raises(ImageError, match="beyond frame 3"):
        read_image(items[1].path)
