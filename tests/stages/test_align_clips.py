"""`align` on video: frames are inputs like photos, in every way a run is continued or split."""

import json

import cv2
import pytest

from mfrkit.config import Every, RunOptions, Shard
from mfrkit.console import Console
from mfrkit.io.clips import _Reader
from mfrkit.io.images import read_image
from mfrkit.stages.align import align
from mfrkit.stages.demo import PHOTOS
from mfrkit.stages.options import AlignOptions
from mfrkit.stages.run import inputs_of

SIZE, EACH = (320, 400), 4


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A folder with a clip of the bundled portraits, four frames each, a photo and a bad clip."""
    folder = tmp_path_factory.mktemp("hall")
    writer = cv2.VideoWriter(str(folder / "door.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE)
    portraits = sorted(PHOTOS.rglob("*.jpg"))
    for path in portraits:
        for _ in range(EACH):
            writer.write(cv2.resize(cv2.imread(str(path)), SIZE))
    writer.release()
    (folder / "ada").mkdir()
    (folder / "ada" / "1.jpg").symlink_to(portraits[0])
    (folder / "cut.mp4").write_bytes((folder / "door.mp4").read_bytes()[:5000])
    return folder


def run(source, output, every="0.4s", **options):
    tally = align(
        AlignOptions(
            str(source),
            output,
            every=Every.parse(every),
            run=RunOptions(workers=2, batch_size=4, device="cpu", **options),
        ),
        Console(-1),
    )
    shard = options.get("shard", Shard()).suffix
    manifest = (output / f"manifest{shard}.jsonl").read_text()
    return tally, [json.loads(line) for line in manifest.splitlines()]


def test_frames_become_crops_among_those_of_photos(hall, tmp_path):
    tally, records = run(hall, tmp_path / "crops")
    by_key = {record["key"]: record for record in records}
    frames = [f"door/{number:06}" for number in range(0, 20, EACH)]
    assert list(by_key) == ["ada/1", "cut/000000", *frames]
    assert by_key["cut/000000"]["reason"].startswith("not a readable clip")
    assert str(tally).startswith("6 written, 1 skipped (not a readable clip: 1)")
    fourth = by_key["door/000012"]
    assert fourth["clip"] == {"file": "door.mp4", "frame": 12, "seconds": 1.2}
    assert fourth["source"] == "door.mp4#12"
    assert fourth["path"] == "door/000012.png"
    for key in frames:
        assert read_image(tmp_path / "crops" / f"{key}.png").shape == (112, 112, 3)


def test_a_finished_run_decodes_nothing_and_a_cut_one_what_is_left(hall, tmp_path, monkeypatch):
    output = tmp_path / "crops"
    _, whole = run(hall, output)
    read, then = [], _Reader.read
    monkeypatch.setattr(_Reader, "read", lambda self, n: read.append(n) or then(self, n))
    assert run(hall, output, resume=True)[1] == whole
    assert not read
    (output / "door" / "000012.png").unlink()
    assert run(hall, output, resume=True)[1] == whole
    assert read[-2:] == [12, 16]
    assert 0 not in read
    with pytest.raises(Exception, match="every"):
        run(hall, output, every="2", resume=True)


def test_shards_share_the_frames(hall, tmp_path):
    parts = [run(hall, tmp_path / "crops", shard=Shard(index, 2))[1] for index in (1, 2)]
    keys = [[record["key"] for record in part] for part in parts]
    assert keys[0] == ["ada/1", "door/000000", "door/000008", "door/000016"]
    assert keys[1] == ["cut/000000", "door/000004", "door/000012"]


def test_a_clip_by_itself(hall, tmp_path):
    _, records = run(hall / "door.mp4", tmp_path / "crops", every="10")
    assert [record["key"] for record in records] == ["door/000000", "door/000010"]


def test_frames_are_counted_before_a_run_too(hall, tmp_path):
    """As a cluster does to see that there are any, and how many."""
    options = AlignOptions(str(hall / "door.mp4"), tmp_path, every=Every.parse("10"))
    assert inputs_of(options).count() == len(list(inputs_of(options))) == 2
