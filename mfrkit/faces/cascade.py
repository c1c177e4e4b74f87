"""The three steps of MTCNN over many photos at once: propose, refine, finish.

Paper:
    Zhang, Zhang, Li, Qiao, IEEE Signal Processing Letters 23(10), 2016, arXiv:1604.02878, section
    II; pyramid step, rounding and overlap limits as in the reference code the weights come from.

P-Net sees pyramid levels of one size, R-Net and O-Net the candidates of all photos together, in
bounded chunks. Every step is defined per photo: what else is in the batch changes only the speed.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from mfrkit.faces.integral import IntegralPhotos
from mfrkit.faces.overlap import suppress
from mfrkit.faces.pyramid import STRIDE, WINDOW, Strips, plan

_REFINE_CHUNK, _FINISH_CHUNK = 512, 128  # crops per call: activations stay below 100 MB


@dataclass(frozen=True)
class Candidates:
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

    def take(self, index: np.ndarray) -> "Candidates":
        """Select candidates by index or boolean mask."""
        points = None if self.points is None else self.points[index]
        return Candidates(self.boxes[index], self.scores[index], self.photo[index], points)


def propose(
    pnet: nn.Module, photos: IntegralPhotos, *, min_size: int, threshold: float
) -> Candidates:
    """Scan the pyramid of every photo.

    Args:
        pnet: network as `mfrkit.models.mtcnn.PNet`.
        photos: the photos.
        min_size: smallest face looked for, pixels.
        threshold: lowest probability to keep.

    Returns:
        Square candidate boxes, thinned within each photo.
    """
    found = [_scan(pnet, photos, strips, threshold) for strips in plan(photos.sizes, min_size)]
    if not found:
        nothing = np.empty((0, 4), np.float32)
        return Candidates(nothing, nothing[:, 0], np.empty(0, np.int64))
    boxes, scores, photo, level, offsets = map(np.concatenate, zip(*found, strict=True))
    keep = suppress(boxes, scores, level, 0.5)
    keep = keep[suppress(boxes[keep], scores[keep], photo[keep], 0.7)]
    boxes = boxes[keep] + offsets[keep] * _sides(boxes[keep])
    return Candidates(_square(boxes), scores[keep], photo[keep])


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


def refine(
    rnet: nn.Module, photos: IntegralPhotos, found: Candidates, *, threshold: float
) -> Candidates:
    """Look at every candidate at 24x24 pixels.

    Args:
        rnet: network as `mfrkit.models.mtcnn.RNet`.
        photos: the photos.
        found: candidates of `propose`.
        threshold: a probability must be above this.

    Returns:
        The square boxes that remain, corrected, thinned within each photo.
    """
    found, (scores, offsets) = _look(rnet, photos, found, size=24, chunk=_REFINE_CHUNK)
    good = scores > threshold
    found = replace(found, scores=scores).take(good)
    offsets = offsets[good]
    keep = suppress(found.boxes, found.scores, found.photo, 0.7)
    found, offsets = found.take(keep), offsets[keep]
    return replace(found, boxes=_square(_correct(found.boxes, offsets)))


def finish(
    onet: nn.Module, photos: IntegralPhotos, found: Candidates, *, threshold: float
) -> Candidates:
    """Look at every candidate at 48x48 pixels and place the five points.

    Args:
        onet: network as `mfrkit.models.mtcnn.ONet`.
        photos: the photos.
        found: candidates of `refine`.
        threshold: a probability must be above this.

    Returns:
        The faces: boxes, scores and points, by photo, best score first.
    """
    found, (scores, offsets, points) = _look(onet, photos, found, size=48, chunk=_FINISH_CHUNK)
    corner, sides = found.boxes[:, None, :2], _sides(found.boxes)[:, None, :2] + 1
    boxes = _correct(found.boxes, offsets)
    faces = Candidates(boxes, scores, found.photo, corner + points * sides - 1)
    faces = faces.take(scores > threshold)
    keep = suppress(faces.boxes, faces.scores, faces.photo, 0.7, relative_to="smaller")
    return faces.take(keep)


def _look(
    network: nn.Module, photos: IntegralPhotos, found: Candidates, *, size: int, chunk: int
) -> tuple[Candidates, list[np.ndarray]]:
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
