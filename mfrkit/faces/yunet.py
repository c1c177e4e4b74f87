"""YuNet: the default face detector, small, fast, and at ease with masked faces.

Paper:
    Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research
    20, 2023. OpenCV runs it (`cv2.FaceDetectorYN`).

It sees faces of about 10 to 300 pixels. A photo is searched at the size that shows the smallest
faces wanted, and again at quarters of that size until all of it is small; a large size is searched
in tiles, so that memory does not grow with the photo.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from mfrkit.faces.detect import Face, check_photo, suppress

_CLEAR = 26  # pixels a face needs to be found dependably
_WHOLE = 320  # a view whose longer side is below this shows the largest faces well
_STEP = 4  # between the sizes a photo is searched at
_TILE, _OVERLAP = 1280, 128  # pixels; a face the overlap cannot hold is found a step below
_LEAST_SCORE, _MOST_SHARED = 0.6, 0.5
_LEAST_SIDE = 10  # of a photo worth searching, pixels
_LEAST_VIEW = 64  # OpenCV 4 makes up faces where a side has 32 or fewer
_LOADING = threading.Lock()  # what OpenCV logs is set for the whole process


class YuNetDetector:
    """Face and five-point detector; several threads may share it.

    The faces found in a photo do not depend on the others of a call, nor on the number of threads.

    Attributes:
        sure: score from which a face is hardly ever found the wrong way up.

    Args:
        graph: the network as ONNX, (N,) uint8.
        min_size: side of the smallest face looked for, pixels of the photo, at least 1; below 10
            none are found.
        workers: photos searched side by side.
    """

    sure = 0.91

    def __init__(self, graph: np.ndarray, *, min_size: int = 40, workers: int = 1) -> None:
        self._graph = graph
        self._finest = min(1.0, _CLEAR / min_size)
        self._pool = ThreadPoolExecutor(workers, "yunet")
        # OpenCV's networks hold state and 100 MB: there are as many as were at work at once.
        self._idle: list[cv2.FaceDetectorYN] = []

    def __call__(self, photos: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find the faces of each photo; see `mfrkit.faces.detect.Detector`."""
        for photo in photos:
            check_photo(photo)
        return list(self._pool.map(self._search, photos))

    def _search(self, photo: np.ndarray) -> list[Face]:
        if min(photo.shape[:2]) < _LEAST_SIDE:
            return []
        found = [
            _to_photo(_own(self._look(view.pixels), view), view)
            for view in _views(photo, self._finest)
        ]
        rows = np.concatenate(found)
        if not len(rows):
            return []
        boxes, scores = rows[:, :4], rows[:, 14]
        same = np.zeros(len(rows), np.int64)
        keep = suppress(boxes, scores, same, _MOST_SHARED, relative_to="smaller")
        return [Face(row[:4], float(row[14]), row[4:14].reshape(5, 2)) for row in rows[keep]]

    def _look(self, view: np.ndarray) -> np.ndarray:
        """Return OpenCV's rows for a view: corner, size, five points and score, (N, 15) float32."""
        try:
            network = self._idle.pop()  # the one that was used last
        except IndexError:
            network = _load(self._graph)
        network.setInputSize((view.shape[1], view.shape[0]))
        rows = network.detect(view)[1]
        self._idle.append(network)
        return np.empty((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)


def _load(graph: np.ndarray) -> "cv2.FaceDetectorYN":
    """Build the network, without what OpenCV 5 says on standard error of targets it lacks."""
    nothing = np.empty(0, np.uint8)
    log = getattr(cv2.utils, "logging", None)  # OpenCV 4 has none, and nothing to say
    with _LOADING:
        before = None if log is None else log.getLogLevel()
        if log is not None:
            log.setLogLevel(log.LOG_LEVEL_ERROR)
        try:
            return cv2.FaceDetectorYN.create("onnx", graph, nothing, (_WHOLE, _WHOLE), _LEAST_SCORE)
        finally:
            if log is not None:
                log.setLogLevel(before)


class _View(NamedTuple):
    """Part of a photo at one size.

    `pixels` (H, W, 3) uint8 BGR; `corner` (x, y), where it begins in the reduced photo; `scale` of
    that one; `coarsest`: whether the photo is searched at no smaller size.
    """

    pixels: np.ndarray
    corner: tuple[int, int]
    scale: float
    coarsest: bool


def _views(photo: np.ndarray, finest: float) -> Iterator[_View]:
    """Yield what is searched, the finest size first."""
    height, width = photo.shape[:2]
    scale, coarsest = finest, False
    while not coarsest:
        size = max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale))
        coarsest = max(size) <= _WHOLE
        smaller = cv2.resize(photo, size, interpolation=cv2.INTER_AREA) if scale < 1 else photo
        for left in _corners(size[0]):
            for top in _corners(size[1]):
                tile = smaller[top : top + _TILE, left : left + _TILE]
                below, right = (max(0, _LEAST_VIEW - side) for side in tile.shape[:2])
                bgr = cv2.cvtColor(tile, cv2.COLOR_RGB2BGR)
                bgr = cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_CONSTANT)
                yield _View(bgr, (left, top), scale, coarsest)
        scale /= _STEP


def _corners(side: int) -> range:
    """Return where tiles begin along a side, so that each shares `_OVERLAP` with the next."""
    return range(0, max(1, side - _OVERLAP), _TILE - _OVERLAP)


def _own(rows: np.ndarray, view: _View) -> np.ndarray:
    """Drop large faces from all but the coarsest view: a finer one may show a part of them only."""
    return rows if view.coarsest else rows[rows[:, 2:4].max(1) <= _OVERLAP]


def _to_photo(rows: np.ndarray, view: _View) -> np.ndarray:
    """Take a view's rows to the photo's pixels, boxes as x1, y1, x2, y2."""
    rows = rows.copy()
    rows[:, 2:4] += rows[:, :2]
    # Pixel j of the reduced photo has its centre at (j + 0.5) / scale - 0.5 of the photo.
    shift = np.tile(np.array(view.corner, np.float32) + np.float32(0.5), 7)
    rows[:, :14] = (rows[:, :14] + shift) / np.float32(view.scale) - np.float32(0.5)
    return rows
