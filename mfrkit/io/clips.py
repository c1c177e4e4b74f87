"""Video clips as sources of pictures: which frames to take, and their pixels.

A clip is looked through without decoding it, packet by packet: that tells how many frames are
really there, whatever the file's header says, and when each is shown. Frames are decoded in their
order, because seeking is not exact in every format; those that nobody asks for are passed over.
"""

import os
import stat
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mfrkit.config import Every
from mfrkit.errors import ImageError
from mfrkit.io.files import clip_key
from mfrkit.io.images import Packed
from mfrkit.io.item import Item
from mfrkit.io.manifest import Record, identity_of

_MAX_PIXELS = 1 << 26  # of a frame: twice 8K
_WHOLE = 0.95  # of the frames a header promises; it may be an estimate
_SLACK = 0.5e-3  # seconds; containers round times to milliseconds
_PROOF = 1 << 16  # bytes


def chosen(every: Every, times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Choose frames, by (N,) rising seconds of all: for each step the first shown then or later.

    Example:
        >>> chosen(Every(0.1, "seconds"), np.arange(10) * 0.04).tolist()
        [0, 3, 5, 8]
    """
    if every.unit == "frames" or not len(times):
        return np.arange(0, len(times), max(1, int(every.step)))
    passed = np.floor((times - times[0] + _SLACK) / every.step)
    return np.flatnonzero(np.diff(passed, prepend=-1) > 0)


@dataclass(frozen=True)
class Frame(Packed):
    """A frame of a clip: `archive` is the clip, `offset` the number of the frame, from 0.

    `content` is the frame as a picture file, if it is decoded already.
    """

    content: bytes | None = None

    def read_bytes(self) -> bytes:
        """Return the frame as a picture file; alone, which decodes all frames before it."""
        if self.content is not None:
            return self.content
        return _Reader(self.archive).read(self.offset)

    def proof(self) -> bytes:
        """Return what tells the clip from another one of its name; nothing is decoded."""
        try:
            with self.archive.open("rb") as file:
                return f"{_size(self.archive)} ".encode() + file.read(_PROOF)
        except OSError as error:
            raise ImageError(f"unreadable: {error.strerror or error}") from error


def frames_of(path: Path, relative: str, every: Every) -> Iterator[tuple[Record, Frame | None]]:
    """Yield the chosen frames of a clip, undecoded; a record without frame says what is lost.

    `relative` is its name below the folder the source was given, `/` between parts.
    """
    try:
        times, promised = _look_through(path, _size(path))
    except ImageError as error:
        yield _record(relative, 0).skipped(str(error)), None
        return
    for number in chosen(every, times).tolist():
        block = {"file": relative, "frame": number, "seconds": round(float(times[number]), 3)}
        record = replace(_record(relative, number), blocks={"clip": block})
        yield record, Frame(path, f"frame {number}", number, 0)
    if len(times) < _WHOLE * promised:
        lost = f"truncated clip: {len(times)} of {promised} frames are there"
        yield _record(relative, len(times)).skipped(lost), None


def _record(relative: str, number: int) -> Record:
    name, key = f"{relative}#{number}", f"{clip_key(relative)}/{number:06}"
    return Record(key, name, name, identity=identity_of(key))


def decoded(items: Iterable[Item]) -> Iterator[Item]:
    """Pass inputs on, the frames among them decoded: each clip is read once, in order.

    A frame that cannot be decoded comes as a skipped record.
    """
    reader: _Reader | None = None
    for item in items:
        frame = item.path
        if not isinstance(frame, Frame):
            yield item
            continue
        try:
            if reader is None or reader.path != frame.archive or reader.position > frame.offset:
                reader = _Reader(frame.archive)
            ready = replace(frame, content=reader.read(frame.offset))
        except ImageError as error:
            yield replace(item, record=item.record.skipped(str(error)), path=None)
        else:
            yield replace(item, path=ready)


class _Reader:
    """Decodes frames of a clip, each at most once and in order; the next one is `position`."""

    def __init__(self, path: Path) -> None:
        self.path, self.position = path, 0
        self._capture = _open(path)

    def read(self, number: int) -> bytes:
        """Return a frame that was not passed yet, as an uncompressed picture file."""
        while self.position <= number:
            if not self._capture.grab():
                raise ImageError(f"damaged clip: cannot be decoded beyond frame {self.position}")
            self.position += 1
        there, pixels = self._capture.retrieve()
        if not there:
            raise ImageError(f"damaged clip: frame {number} cannot be decoded")
        return cv2.imencode(".bmp", pixels)[1].tobytes()


@lru_cache(maxsize=8)  # inputs are counted, looked at and read: each time the same clips
def _look_through(path: Path, size: int) -> tuple[NDArray[np.float64], int]:
    """Return when each frame of a clip is shown, seconds, and how many its header promises.

    The size is part of the question: what was seen of a clip is no longer true once it has grown.
    """
    capture = _open(path)
    if not capture.set(cv2.CAP_PROP_FORMAT, -1):  # packets as they are, undecoded
        raise ImageError("not a readable clip")
    times = array("d")
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    if not times:
        raise ImageError("not a readable clip: no frame in it")
    shown = np.sort(np.array(times))  # packets come in the order in which they are decoded
    rate = capture.get(cv2.CAP_PROP_FPS)
    if rate > 0 and (np.diff(shown) <= 0).any():  # no times in the file
        shown = np.arange(len(shown)) / rate
    return shown, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))


def _open(path: Path) -> cv2.VideoCapture:
    try:
        status = path.stat()
    except OSError as error:
        raise ImageError(f"unreadable: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a plain file")
    if not status.st_size:
        raise ImageError("empty file")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said by the record
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    except cv2.error as error:
        raise ImageError("not a readable clip") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise ImageError("not a readable clip: damaged, cut short, or of an unknown kind")
    size = [capture.get(each) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    if size[0] * size[1] > _MAX_PIXELS:
        raise ImageError(f"too large: frames of {size[0]:.0f}x{size[1]:.0f} pixels")
    return capture


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
