"""Find what covers a face: a small U-Net that says of every pixel whether it is skin or cover.

It thinks at coarse resolution, where a mask is a large simple shape, and finds the border with
the help of two finer maps from the way down. All but the first and the last layer work on a
quarter of the pixels or fewer, which is what makes it a matter of milliseconds on one core.

Straps are thin cover, of which it is seldom sure: a line of a pixel or two is half skin wherever
it is looked for. But a strap hangs on a mask, and of that the predictor is sure. (Canny, PAMI
8(6), 1986, follows edges in the same way.)
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.models.recogniser import Carded, resized
from mfrkit.models.registry import load_for_task

_SURE, _LIKELY = 0.75, 0.15
_WIDEST = 7  # what is as wide is no strap, but cheek that looks a little like cover
_SQUARE, _NEXT = np.ones((_WIDEST, _WIDEST), np.uint8), np.ones((3, 3), np.uint8)


def find_straps(predicted: Tensor) -> Tensor:
    """Find narrow likely cover that hangs on sure cover: 1 there and a pixel round it, else 0.

    Args:
        predicted: (B, 1, H, W) float in [0, 1], how sure a predictor is of cover; crops of 112.

    Example:
        >>> predicted = torch.zeros(1, 1, 24, 24)
        >>> predicted[..., 12:, 4:20] = 0.9
        >>> predicted[..., 2:12, 6] = 0.2
        >>> find_straps(predicted)[0, 0, 5, :12].int().tolist()
        [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    """
    planes = predicted[:, 0].float().cpu().numpy()
    found = np.stack([_straps(plane) for plane in planes])[:, None]
    return torch.from_numpy(found).to(predicted)


def _straps(predicted: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the straps of one face, (H, W), 0 or 1."""
    count, pieces = cv2.connectedComponents((predicted > _LIKELY).astype(np.uint8))
    hangs = np.zeros(count, np.uint8)
    hangs[pieces[predicted > _SURE]] = 1
    hanging = hangs[pieces]
    broad = cv2.morphologyEx(hanging, cv2.MORPH_OPEN, _SQUARE)
    return cv2.dilate(hanging - broad, _NEXT).astype(np.uint8, copy=False)


# Share of the crop. 95 % of the surgical, N95 or cloth masks drawn to end below the nose cover 0.11
# or more; pulled down to the chin, where they hide little, 95 % cover less than that. The bundled
# predictor agrees: see "Completion" in docs/measured.md.
MASKED_AREA = 0.08


class RegionNet(nn.Module):
    """Map normalised faces to how strongly each pixel looks covered.

    Paper:
        Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, arXiv:1505.04597: the ladder. Shi et
        al., CVPR 2016, arXiv:1609.05158: the last step up.
        Differs: strides 2 to 16, sums instead of concatenations, few channels.

    Args:
        widths: channels at strides 2, 4, 8 and 16.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.stem = _layer(3, widths[0], stride=2)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(_layer(fine, coarse, stride=2), Residual(coarse))
            for fine, coarse in pairs
        )
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, fine, 1, bias=False), nn.BatchNorm2d(fine))
            for fine, coarse in reversed(pairs)
        )
        # On the finest map even one residual costs a quarter of the whole; the head does there.
        merge = [Residual(fine) for fine, _ in reversed(pairs[1:])]
        self.merge = nn.ModuleList([*merge, nn.Identity()])
        self.head = nn.Sequential(nn.Conv2d(widths[0], 4, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, faces: Tensor) -> Tensor:
        """Map (B, 3, H, W), sides multiples of 16, to logits (B, 1, H, W), above 0 where hidden."""
        maps = [self.stem(faces)]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = F.interpolate(up(x), scale_factor=2.0, mode="nearest")
            x = merge(F.relu(x + maps.pop()))
        return self.head(x)


class Residual(nn.Module):
    """Two 3x3 layers beside a straight path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _layer(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        return F.relu(x + self.second(self.first(x)))


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class RegionPredictor(Carded):
    """Say how much of each pixel of a face is covered."""

    def forward(self, faces: Tensor) -> Tensor:
        """Predict regions: (B, 1, H, W) float in [0, 1], 1 where the face is covered.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1], of the card's input size.

        Raises:
            ShapeError: not floating point, or of another shape or size.
        """
        return self.raw(faces).float().sigmoid()

    @torch.no_grad()
    def cover(self, faces: Tensor) -> Tensor:
        """Predict the (B, 1, H, W) regions of faces (as for `forward`) that wear masks.

        Those of the others are empty.
        """
        region = decided(self(faces))
        return region * is_masked(region).view(-1, 1, 1, 1)

    @torch.inference_mode()
    def find(self, faces: Tensor, *, straps: bool = False) -> Tensor:
        """Predict (B, 1, H, W) regions of crops of any size, decided wherever they nearly are.

        Args:
            faces: (B, 3, H, W) float, RGB in [0, 1].
            straps: take in the straps of masks, see `find_straps`; whether a face is masked does
                not depend on it.
        """
        size, own = faces.shape[2:], self.card.input_size or faces.shape[2:]
        predicted = self(resized(faces, own))
        region = decided(predicted)
        if straps:
            worn = is_masked(region).view(-1, 1, 1, 1)
            region = torch.maximum(region, find_straps(predicted) * worn)
        return resized(region, size)


def decided(region: Tensor) -> Tensor:
    """Turn how sure a predictor is of cover, in [0, 1], into how much is covered, of any shape.

    A tenth of a doubt, taken for a tenth of skin, would let a red mask redden the completed chin;
    as much the other way round, it would blur bare skin. Three quarters are sure enough.

    Example:
        >>> decided(torch.tensor([0.1, 0.25, 0.5, 0.625, 0.9])).tolist()
        [0.0, 0.0, 0.5, 0.75, 1.0]
    """
    return (2 * region - 0.5).clamp(0, 1)


def load_region(model: str, device: torch.device | str = "cpu") -> RegionPredictor:
    """Load a region predictor in eval mode, from a bundled name or a model file.

    Raises:
        InputError: no such model, or it is for another task.
        WeightsError: as `load_network`.
    """
    network, card = load_for_task(model, "region", device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return RegionPredictor(network, card).to(device).eval()


def covered_share(region: Tensor) -> Tensor:
    """Return (B,) the share of each (B, 1, H, W) region that is covered for more than a half."""
    return (region > 0.5).flatten(1).float().mean(1)


def is_masked(region: Tensor) -> Tensor:
    """Return (B,) bool: whether at least `MASKED_AREA` of each (B, 1, H, W) region is covered."""
    return covered_share(region) >= MASKED_AREA
