"""Recognisers in ONNX files, run by ONNX Runtime: forward only, so teachers but never students.

How a file wants its pictures is not written in it. InsightFace's rule is followed, which holds for
networks exported from MXNet (they subtract and multiply inside) and for those from PyTorch.
"""

import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import file_sha256
from mfrkit.models.cards import ModelCard
from mfrkit.models.recogniser import Recogniser

CARD_KEY = "mfrkit.card"  # metadata of files that mfrkit has written
_FIRST_NODES = 8  # that tell whether a network normalises by itself
_USUAL_SIDE = 112


class OnnxNetwork(nn.Module):
    """A network behind an ONNX Runtime session; no gradient passes through it.

    Args:
        session: of the file.
        sha256: of the file, so that caches tell two networks apart by their state.
    """

    digest: Tensor

    def __init__(self, session: Any, sha256: str) -> None:
        super().__init__()
        self._session = session
        inputs = session.get_inputs()[0]
        self._name = inputs.name
        self._one_by_one = inputs.shape[0] == 1
        self.register_buffer("digest", torch.tensor(list(bytes.fromhex(sha256))))

    def forward(self, faces: Tensor) -> Tensor:
        """Map (B, 3, H, W) normalised faces to (B, D) features on their device."""
        batch = faces.detach().float().cpu().contiguous()
        pieces = batch.split(1) if self._one_by_one else (batch,)
        found = [self._session.run(None, {self._name: piece.numpy()})[0] for piece in pieces]
        return torch.from_numpy(np.concatenate(found)).to(faces.device)


def load_onnx(path: Path) -> Recogniser:
    """Load an ONNX recogniser.

    Convention:
        RGB; (value - 0.5) / 0.5, or plain 0 to 255 where the graph normalises by itself.

    Args:
        path: the file; weights kept outside it lie where it says.

    Returns:
        The recogniser in eval mode, on the CPU; ONNX Runtime uses a GPU where it can.

    Raises:
        InputError: there is no such file, or the packages it needs are not installed.
        WeightsError: not loadable, or no recogniser.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    session = _open_session(path)
    height, width = _input_size(session, path)
    nodes = needed("onnx").load(path, load_external_data=False).graph.node
    mean, std = normalisation([node.name for node in nodes[:_FIRST_NODES]])
    sha256 = file_sha256(path)
    network = OnnxNetwork(session, sha256).eval()
    features = network(torch.zeros(1, 3, height, width))
    if features.ndim != 2:
        raise WeightsError(
            f"{path}: gives {tuple(features.shape)} for one face, a recogniser gives (1, D)"
        )
    card = ModelCard(
        name=path.stem,
        task="recognition",
        architecture="onnx",
        input_size=(height, width),
        mean=(mean,) * 3,
        std=(std,) * 3,
        embedding_dim=features.shape[1],
        source=path.name,
        note="Normalisation by InsightFace's rule, from the first nodes of the graph.",
        sha256=sha256,
    )
    return Recogniser(network, _with_origin(card, session, path)).eval()


def _with_origin(card: ModelCard, session: Any, path: Path) -> ModelCard:
    """Return a file's card with what the file itself tells of its origin.

    Raises:
        WeightsError: what mfrkit has written into it is damaged.
    """
    told = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    if told is None:
        return card
    try:
        own = ModelCard.from_json(json.loads(told))
    except (json.JSONDecodeError, AttributeError, WeightsError) as error:
        raise WeightsError(f"{path}: damaged model card: {error}") from error
    kept = ("licence", "source", "paper", "data", "training", "metrics")
    return replace(card, **{name: getattr(own, name) for name in kept})


def normalisation(nodes: Sequence[str]) -> tuple[float, float]:
    """Return mean and std a network expects to be applied, for values in [0, 1].

    Source:
        InsightFace, `python-package/insightface/model_zoo/arcface_onnx.py`: a network that
        subtracts and multiplies at its start takes plain values, any other (x - 127.5) / 127.5.

    Args:
        nodes: names of its first nodes.

    Example:
        >>> normalisation(["Conv_0", "PRelu_1"]), normalisation(["_minusscalar0", "_mulscalar0"])
        ((0.5, 0.5), (0.0, 0.00392156862745098))
    """
    subtracts = any(name.startswith(("Sub", "_minus")) for name in nodes)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in nodes)
    return (0.0, 1 / 255) if subtracts and multiplies else (0.5, 0.5)


def _open_session(path: Path) -> Any:
    runtime = needed("onnxruntime")
    faults = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin while they wait would slow down those that prepare the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in runtime.get_available_providers()]
    try:
        return runtime.InferenceSession(str(path), options, providers)
    except (
        faults.Fail,
        faults.InvalidArgument,
        faults.InvalidGraph,
        faults.InvalidProtobuf,
        faults.NoSuchFile,
        faults.NotImplemented,
        faults.RuntimeException,
    ) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: ONNX Runtime cannot load it: {reason}") from error


def _input_size(session: Any, path: Path) -> tuple[int, int]:
    """Return the side lengths of its pictures, the usual ones where any will do."""
    inputs = session.get_inputs()[0]
    shape, kind = list(inputs.shape), inputs.type
    batch, channels, *sides = shape if len(shape) == 4 else [None] * 4
    if kind != "tensor(float)" or channels != 3 or (isinstance(batch, int) and batch != 1):
        raise WeightsError(
            f"{path}: takes {kind} {shape}; a recogniser takes tensor(float) (N, 3, H, W), "
            "N free or 1"
        )
    height, width = (side if isinstance(side, int) else _USUAL_SIDE for side in sides)
    return height, width


def needed(package: str) -> ModuleType:
    """Import one of the packages of the extra `onnx`.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"{package} is not installed: pip install 'mfrkit[onnx]'") from error
