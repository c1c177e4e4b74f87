"""MTCNN: finds faces and five points on each.

Paper:
    Zhang, Zhang, Li, Qiao, IEEE Signal Processing Letters 23(10), 2016, arXiv:1604.02878, section
    II; pyramid step, rounding and overlap limits as in the reference code the weights come from.

MTCNN proposes, refines and finishes boxes over many photos at once. P-Net sees pyramid levels of
one size, R-Net and O-Net the candidates of all photos together, in bounded chunks. Every step is
defined per photo: what else is in the batch changes only the speed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import nn

from mfrkit.errors import InputError, ShapeError
from mfrkit.faces.detect import Face, check_photo, suppress
from mfrkit.faces.pyramid import STEP, STRIDE, WINDOW, IntegralPhotos, Strips, plan

_REFINE_CHUNK, _FINISH_CHUNK = 512, 128  # crops per call: activations stay below 100 MB


@dataclass(frozen=True)
class _Candidates:
    """Boxes that may be faces, of all photos together.

    `boxes` (N, 4) float32 x1, y1, x2, y2 in pixels; `scores` (N,) float32; `photo` (N,) int64, the
    photo each box is in; `points` (N, 5, 2) float32 (x, y) in pixels, None before the last step.
    """

    boxes: np.ndarray
    scores: np.ndarray
    photo: np.ndarray
    points: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: np.ndarray) -> "_Candidates":
        """Select candidates by index or boolean mask."""
        points = None if self.points is None else self.points[index]
        return _Candidates(self.boxes[index], self.scores[index], self.photo[index], points)


def _propose(
    pnet: nn.Module, photos: IntegralPhotos, *, min_size: int, threshold: float
) -> _Candidates:
    """Scan the pyramid of every photo for square boxes, thinned within each photo."""
    found = [_scan(pnet, photos, strips, threshold) for strips in plan(photos.sizes, min_size)]
    if not found:
        nothing = np.empty((0, 4), np.float32)
        return _Candidates(nothing, nothing[:, 0], np.empty(0, np.int64))
    boxes, scores, photo, level, offsets = map(np.concatenate, zip(*found, strict=True))
    keep = suppress(boxes, scores, level, 0.5)
    keep = keep[suppress(boxes[keep], scores[keep], photo[keep], 0.7)]
    boxes = boxes[keep] + offsets[keep] * _sides(boxes[keep])
    return _Candidates(_square(boxes), scores[keep], photo[keep])


def _scan(
    pnet: nn.Module, photos: IntegralPhotos, strips: Strips, threshold: float
) -> tuple[np.ndarray, ...]:
    """Boxes, scores, photos, levels and offsets of the windows above the threshold."""
    pixels = photos.resample(
        strips.photo,
        np.pad(photos.sizes[strips.photo][:, ::-1], ((0, 0), (2, 0))),  # the whole photo
        strips.grids,
        first_row=strips.first_row,
        canvas=strips.canvas,
    )
    extents = torch.from_numpy(strips.extents).to(pixels.device)
    alike = (strips.extents == strips.canvas).all()
    probability, offsets = pnet(pixels, None if alike else extents)
    where = (probability >= threshold).nonzero()
    real = where[:, 1:] * STRIDE < (extents - WINDOW + STRIDE)[where[:, 0]]
    where = where[real.all(1)]
    scores = probability[where.unbind(1)].cpu().numpy()
    offsets = offsets.permute(0, 2, 3, 1)[where.unbind(1)].cpu().numpy()
    strip, row, column = where.cpu().numpy().T
    corner = np.stack([column * STRIDE, row * STRIDE + strips.first_row[strip]], 1)
    windows = np.concatenate([corner + 1, corner + WINDOW], 1).astype(np.float32)
    boxes = np.floor(windows / strips.scale[strip, None].astype(np.float32))
    return boxes, scores, strips.photo[strip], strips.level[strip], offsets


def _refine(
    rnet: nn.Module, photos: IntegralPhotos, found: _Candidates, *, threshold: float
) -> _Candidates:
    """Look at every candidate at 24x24 pixels; return the square boxes that remain, corrected."""
    found, (scores, offsets) = _look(rnet, photos, found, size=24, chunk=_REFINE_CHUNK)
    good = scores > threshold
    found = replace(found, scores=scores).take(good)
    offsets = offsets[good]
    keep = suppress(found.boxes, found.scores, found.photo, 0.7)
    found, offsets = found.take(keep), offsets[keep]
    return replace(found, boxes=_square(_correct(found.boxes, offsets)))


def _finish(
    onet: nn.Module, photos: IntegralPhotos, found: _Candidates, *, threshold: float
) -> _Candidates:
    """Look at every candidate at 48x48 pixels and place the five points; best score first."""
    found, (scores, offsets, points) = _look(onet, photos, found, size=48, chunk=_FINISH_CHUNK)
    corner, sides = found.boxes[:, None, :2], _sides(found.boxes)[:, None, :2] + 1
    boxes = _correct(found.boxes, offsets)
    faces = _Candidates(boxes, scores, found.photo, corner + points * sides - 1)
    faces = faces.take(scores > threshold)
    keep = suppress(faces.boxes, faces.scores, faces.photo, 0.7, relative_to="smaller")
    return faces.take(keep)


def _look(
    network: nn.Module, photos: IntegralPhotos, found: _Candidates, *, size: int, chunk: int
) -> tuple[_Candidates, list[np.ndarray]]:
    """Show the network what is in the boxes; boxes entirely outside their photo are dropped."""
    boxes = found.boxes.astype(np.int64)  # towards zero; first pixel is 1 in the reference code
    limit = photos.sizes[found.photo][:, ::-1]
    rectangles = np.concatenate(
        [np.maximum(boxes[:, :2], 1) - 1, np.minimum(boxes[:, 2:], limit)], axis=1
    )
    inside = np.all(rectangles[:, 2:] > rectangles[:, :2], axis=1)
    found, rectangles = found.take(inside), rectangles[inside]
    answers = []
    for start in range(0, max(1, len(found)), chunk):
        part = slice(start, start + chunk)
        grids = np.full((len(rectangles[part]), 2), size)
        crops = photos.resample(found.photo[part], rectangles[part], grids, canvas=(size, size))
        answers.append([answer.cpu().numpy() for answer in network(crops)])
    return found, [np.concatenate(column) for column in zip(*answers, strict=True)]


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Width and height twice, (N, 4), in step with x1, y1, x2, y2."""
    return np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _correct(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Move box edges by offsets given in box sides, which count both edge pixels."""
    return boxes + offsets * (_sides(boxes) + 1)


def _square(boxes: np.ndarray) -> np.ndarray:
    """Grow the shorter side about the centre."""
    sides = _sides(boxes)[:, :2]
    longer = sides.max(1, keepdims=True)
    corner = boxes[:, :2] + (sides - longer) * np.float32(0.5)
    return np.concatenate([corner, corner + longer], axis=1)


_BATCH_PIXELS = 1 << 24  # pixels worked on at once, at 12 bytes each; a larger photo goes alone
_PHOTO_PIXELS = 1 << 26  # a photo beyond this is searched at reduced size: memory stays bounded


class MTCNNDetector:
    """Face and five-point detector; works on masked faces too.

    The faces found in a photo do not depend on the others of a call. A photo in which nothing is
    found is searched once more, at sizes between those of the first search: now and then a plain
    face falls between two of them. Coordinates are those of the reference code, which counts pixels
    from 1: compared with mirror images they lie one pixel too far right. Other tools align with the
    same ones, so they stay.

    Attributes:
        sure: score from which a face is hardly ever found the wrong way up.

    Args:
        networks: module with `pnet`, `rnet` and `onet` as in `mfrkit.models.detectors`; it is
            moved to `device` and put in eval mode.
        min_size: side of the smallest face looked for, pixels, at least 12; halving it costs four
            times as much.
        thresholds: lowest probability that passes each of the three steps.
        device: where the networks run.

    Raises:
        InputError: `min_size` is below 12.
    """

    sure = 0.99

    def __init__(
        self,
        networks: nn.Module,
        *,
        min_size: int = 40,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        device: torch.device | str = "cpu",
    ) -> None:
        if min_size < WINDOW:
            raise InputError(f"smallest face of {min_size} pixels; this detector needs {WINDOW}")
        self._device = torch.device(device)
        # Convolution and pooling on few channels run three to five times faster this way (CPU).
        networks = networks.eval().to(self._device)
        self._networks = networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._min_size = min_size
        self._thresholds = thresholds

    @torch.inference_mode()
    def __call__(self, photos: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find the faces of each photo; see `mfrkit.faces.detect.Detector`."""
        faces: list[list[Face]] = [[] for _ in photos]
        self._search(photos, range(len(photos)), self._min_size, faces)
        # Half a step along the pyramid: sizes midway between those of the first search.
        missed = [i for i in range(len(photos)) if not faces[i]]
        self._search(photos, missed, round(self._min_size / math.sqrt(STEP)), faces)
        return faces

    def _search(
        self,
        photos: Sequence[np.ndarray],
        places: Sequence[int],
        min_size: int,
        faces: list[list[Face]],
    ) -> None:
        """Add the faces of the photos at `places` to `faces`."""
        for some in _share(photos, places, min_size):
            chosen, shrink = zip(*(_within_reach(photos[i]) for i in some), strict=True)
            found = self._detect(chosen, max(WINDOW, round(min_size / max(shrink))))
            for k in range(len(found)):
                i = found.photo[k]
                faces[some[i]].append(_face(found, k, shrink[i]))

    def _detect(self, photos: Sequence[np.ndarray], min_size: int) -> _Candidates:
        first, second, third = self._thresholds
        sums = IntegralPhotos(photos, self._device)
        found = _propose(self._networks.pnet, sums, min_size=min_size, threshold=first)
        found = _refine(self._networks.rnet, sums, found, threshold=second)
        return _finish(self._networks.onet, sums, found, threshold=third)


def _share(
    photos: Sequence[np.ndarray], places: Sequence[int], min_size: int
) -> Iterator[list[int]]:
    """Split the photos into portions of bounded size; those too small for a face drop out."""
    portion: list[int] = []
    pixels = 0
    for i in places:
        check_photo(photos[i])
        height, width = photos[i].shape[:2]
        if min(height, width) < min_size:
            continue
        if portion and pixels + height * width > _BATCH_PIXELS:
            yield portion
            portion, pixels = [], 0
        portion.append(i)
        pixels += height * width
    if portion:
        yield portion


def _within_reach(photo: np.ndarray) -> tuple[np.ndarray, int]:
    """Average a huge photo down by a whole factor; also return the factor, 1 for most photos."""
    height, width = photo.shape[:2]
    factor = math.ceil(math.sqrt(height * width / _PHOTO_PIXELS))
    if factor == 1:
        return photo, 1
    size = (width // factor, height // factor)
    whole = photo[: size[1] * factor, : size[0] * factor]
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA), factor


def _face(found: _Candidates, k: int, factor: int) -> Face:
    if found.points is None:
        raise ShapeError("these candidates have no points yet; run `_finish` on them")
    centre = (factor - 1) / 2  # of the first reduced pixel, in photo pixels
    box, points = found.boxes[k] * factor + centre, found.points[k] * factor + centre
    return Face(box.astype(np.float32), float(found.scores[k]), points.astype(np.float32))
