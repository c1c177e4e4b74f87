"""Recognisers as ONNX files, for programs without torch.

A file is fed as InsightFace's are, so that what runs those runs it too; the model's card travels in
its metadata.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mfrkit.errors import MfrError
from mfrkit.models.onnx_recogniser import CARD_KEY, load_onnx, needed
from mfrkit.models.recogniser import Recogniser

_OPSET = 17
_INPUT, _OUTPUT = "input", "embedding"
_PICTURES = 8  # that the file is tried on
_MAX_DIFFERENCE = 1e-3  # of unit embeddings


class FedAsUsual(nn.Module):
    """A recogniser that takes RGB as (v - 127.5) / 127.5, whatever its network was trained on.

    Example:
        >>> from mfrkit.models.recognisers import load_recogniser
        >>> FedAsUsual(load_recogniser("arcface"))(torch.zeros(1, 3, 112, 112)).shape
        torch.Size([1, 192])
    """

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, faces: Tensor) -> Tensor:
        """Map (B, 3, H, W) RGB in [-1, 1] to (B, D) embeddings, not of unit length."""
        return self.recogniser.features(faces * 0.5 + 0.5)


def export_onnx(recogniser: Recogniser, path: Path) -> float:
    """Write a recogniser as an ONNX file and try it.

    Args:
        recogniser: in eval mode, on the CPU.
        path: file to write.

    Returns:
        The largest difference between values of the unit embeddings it gives in ONNX Runtime and
        in torch, on pictures of noise.

    Raises:
        InputError: `onnx` or `onnxruntime` is not installed.
        MfrError: the difference is larger than rounding explains.
    """
    onnx = needed("onnx")
    needed("onnxruntime")
    height, width = recogniser.card.input_size or (112, 112)
    pictures = _noise(height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of choices that depend on shapes, which stay the same
        torch.onnx.export(
            FedAsUsual(recogniser).eval(),
            (pictures[:2],),
            path,
            dynamo=False,  # the newer exporter needs a further package
            opset_version=_OPSET,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_axes={_INPUT: {0: "faces"}, _OUTPUT: {0: "faces"}},
        )
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, json.dumps(recogniser.card.to_json())
    onnx.save(model, path)
    with torch.inference_mode():
        faces = pictures * 0.5 + 0.5
        difference = float((load_onnx(path)(faces) - recogniser(faces)).abs().max())
    if not difference <= _MAX_DIFFERENCE:
        raise MfrError(
            f"{recogniser.card.name}: ONNX Runtime gives other embeddings than torch (they differ "
            f"by up to {difference:.1e}); nothing was written"
        )
    return difference


def _noise(height: int, width: int) -> Tensor:
    """Return smooth and rough pictures (N, 3, H, W) in [-1, 1], half of them dark below.

    What is dark below passes for masked, so that both sides of a model that asks are tried.
    """
    values = np.random.default_rng(0).uniform(-1, 1, (_PICTURES, 3, 7, 7)).astype(np.float32)
    coarse = torch.from_numpy(values)
    pictures = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    pictures[1::2] = nn.functional.interpolate(coarse[1::2], (height, width), mode="nearest")
    pictures[::2, :, height // 2 :] = -0.9
    return pictures
