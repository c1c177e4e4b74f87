"""Large photos are worked on few at a time, by their headers, however many workers there are."""

import struct
import threading
import time
import zlib

import numpy as np
import pytest

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.io.images import encode_image
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.stages import flow, pack, synth_mask
from mfrkit.stages.options import SynthMaskOptions

SIDE = 6000


class Most:
    """Counts how many are at work at once."""

    def __init__(self):
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)

    def __exit__(self, *_):
        with self._lock:
            self.now -= 1


@pytest.fixture
def photos(tmp_path):
    """Return eight files of some bytes that promise 36 megapixels each."""
    header = b"IHDR" + struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    content += struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 0) + b"IDAT" + bytes(4)
    items = []
    for place in range(8):
        path = tmp_path / f"{place}.png"
        path.write_bytes(content)
        items.append(Item(place, Record(path.stem, path.name, path.name), path))
    return items


def test_pixels_are_read_from_the_header(photos):
    assert photos[0].pixels == SIDE * SIDE
    assert Item(0, photos[0].record, None).pixels == 0


def test_masks_are_drawn_on_few_large_photos_at_once(photos, monkeypatch):
    at_work, together = Most(), []

    class Drawer:
        def __call__(self, items):
            together.append(len(items))
            with at_work:
                return [[item.record] for item in items]

        def close(self):
            pass

    monkeypatch.setattr(synth_mask, "make_drawer", lambda options: Drawer())
    run = RunOptions(workers=8, batch_size=64)
    worker = synth_mask.MaskWorker(SynthMaskOptions("-", "unused", run=run))
    assert [records[0].key for records in worker(iter(photos))] == list("01234567")
    assert set(together) == {1}
    assert at_work.most <= flow.PIXELS_AHEAD // SIDE**2


def test_few_large_photos_are_packed_at_once(tmp_path, monkeypatch):
    for place in range(8):
        picture = np.zeros((30, 30, 3), np.uint8)
        (tmp_path / f"{place}.png").write_bytes(encode_image(picture, ".png"))
    at_work, load = Most(), pack._load

    def watched(item):
        with at_work:
            return load(item)

    monkeypatch.setattr(flow, "PIXELS_AHEAD", 3 * 900)
    monkeypatch.setattr(pack, "_load", watched)
    options = pack.PackOptions(str(tmp_path), tmp_path / "out.rec", RunOptions(workers=8))
    assert pack.pack(options, Console()).written == 8
    assert at_work.most <= 3
