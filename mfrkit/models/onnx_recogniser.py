"""Recognisers in ONNX files, run by ONNX Runtime: forward only, so teachers but never students.

How a file wants its pictures is not written in it: `mfrkit.models.onnx_input` reads it off what the
graph does to them first.
"""

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import file_sha256
from mfrkit.io.documents import parse_json
from mfrkit.io.manifest import check_inside
from mfrkit.models.cards import ModelCard
from mfrkit.models.feeding import describe
from mfrkit.models.onnx_input import expected_input
from mfrkit.models.recogniser import Recogniser

CARD_KEY = "mfrkit.card"  # metadata of files that mfrkit has written
_USUAL_SIDE = 112
_MOST_PIXELS = 1024 * 1024
_LEAST_VALUES = 16  # of an embedding; fewer are an age, a gender, points or a quality
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


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
        wanted = session.get_inputs()[0]
        self._name, self._type = wanted.name, _TYPES[wanted.type]
        self._channels_last = wanted.shape[1] != 3
        self._one_by_one = wanted.shape[0] == 1
        self.register_buffer("digest", torch.tensor(list(bytes.fromhex(sha256))))

    def forward(self, faces: Tensor) -> Tensor:
        """Map (B, 3, H, W) normalised faces to (B, D) features on their device."""
        batch = faces.detach().float().cpu()
        if self._channels_last:
            batch = batch.permute(0, 2, 3, 1)
        content = np.ascontiguousarray(batch.numpy(), self._type)
        pieces = np.split(content, len(content)) if self._one_by_one else [content]
        found = [self._session.run(None, {self._name: piece})[0] for piece in pieces]
        return torch.from_numpy(np.concatenate(found).astype(np.float32)).to(faces.device)

    def try_out(self, size: tuple[int, int]) -> Tensor:
        """Return the features of two faces of noise, and find out how many it takes at once.

        A graph may declare any number and be made for one inside.
        """
        torch_state = torch.Generator().manual_seed(0)
        faces = torch.rand(2, 3, *size, generator=torch_state) * 2 - 1
        alone = torch.cat([self(faces[:1]), self(faces[1:])])
        if not self._one_by_one:
            try:
                together = self(faces)
            except _faults():
                self._one_by_one = True
            else:
                same = together.shape == alone.shape
                self._one_by_one = not (same and torch.allclose(together, alone, 1e-2, 1e-3))
        return alone


def load_onnx(path: Path) -> Recogniser:
    """Load an ONNX recogniser.

    Convention:
        RGB, normalised as the start of the graph suggests; see `expected_input`.

    Args:
        path: the file; weights kept outside it lie where it says, in its folder or below.

    Returns:
        The recogniser in eval mode, on the CPU; ONNX Runtime uses a GPU where it can.

    Raises:
        InputError: there is no such file, or the packages it needs are not installed.
        WeightsError: not loadable, or no recogniser.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    graph = _read_graph(path)
    session = _open_session(path)
    size = _input_size(session, path)
    is_own = CARD_KEY in session.get_modelmeta().custom_metadata_map
    mean, std = (0.5, 0.5) if is_own else expected_input(graph)  # mfrkit's take -1 to 1
    sha256 = file_sha256(path)
    network = OnnxNetwork(session, sha256).eval()
    try:
        features = network.try_out(size)
    except _faults() as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: ONNX Runtime cannot run it on one face: {reason}") from error
    _check_embedding(features, path)
    card = ModelCard(
        name=path.stem,
        task="recognition",
        architecture="onnx",
        input_size=size,
        mean=(mean,) * 3,
        std=(std,) * 3,
        embedding_dim=features.shape[1],
        source=path.name,
        sha256=sha256,
    )
    card = replace(card, note=f"{describe(card)}, as the start of its graph suggests.")
    return Recogniser(network, _with_origin(card, session, path)).eval()


def _check_embedding(features: Tensor, path: Path) -> None:
    """Refuse what a network gives for two faces if it is nothing that tells faces apart."""
    shape = (1, *features.shape[1:])
    if features.ndim != 2 or features.shape[1] < _LEAST_VALUES:
        raise WeightsError(
            f"{path}: gives {shape} for one face; a recogniser gives (1, D), D at least "
            f"{_LEAST_VALUES} and mostly 512"
        )
    if not features.isfinite().all() or torch.equal(features[0], features[1]):
        raise WeightsError(f"{path}: gives nonsense, or the same for any face; it is no recogniser")


def _with_origin(card: ModelCard, session: Any, path: Path) -> ModelCard:
    """Return a file's card with what the file itself tells of its origin.

    Raises:
        WeightsError: what mfrkit has written into it is damaged.
    """
    told = session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
    if told is None:
        return card
    try:
        own = ModelCard.from_json(parse_json(told, "card"))
    except (AttributeError, InputError) as error:
        raise WeightsError(f"{path}: damaged model card: {error}") from error
    kept = ("licence", "source", "paper", "data", "training", "metrics")
    return replace(card, **{name: getattr(own, name) for name in kept})


def _read_graph(path: Path) -> Any:
    """Read the graph without the weights that other files hold.

    Raises:
        WeightsError: not a graph.
        InputError: weights lie outside the file's folder.
    """
    damage: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    try:
        graph = needed("onnx").load(path, load_external_data=False).graph
    except (damage, ValueError) as error:
        raise WeightsError(f"{path}: no ONNX graph: {error}") from error
    for tensor in graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                check_inside(entry.value, str(path))
    return graph


def _open_session(path: Path) -> Any:
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised, and may be tried on purpose
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin while they wait would slow down those that prepare the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in runtime.get_available_providers()]
    try:
        return runtime.InferenceSession(str(path), options, providers)
    except _faults() as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: ONNX Runtime cannot load it: {reason}") from error


def _faults() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises on a file it cannot load or run."""
    faults = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = (
        "Fail InvalidArgument InvalidGraph InvalidProtobuf NoSuchFile NotImplemented "
        "RuntimeException EPFail NoModel"
    )
    return (*(getattr(faults, name) for name in names.split()), ValueError)


def _input_size(session: Any, path: Path) -> tuple[int, int]:
    """Return the side lengths of its pictures, the usual ones where any will do."""
    inputs = session.get_inputs()
    shape, kind = (list(inputs[0].shape), inputs[0].type) if inputs else ([], "nothing")
    batch, *rest = shape if len(shape) == 4 else [None] * 4
    channels, *sides = rest if rest[0] == 3 else (rest[2], *rest[:2])
    if kind not in _TYPES or channels != 3 or (isinstance(batch, int) and batch != 1):
        raise WeightsError(
            f"{path}: takes {kind} {shape}; a recogniser takes tensor(float) or tensor(float16) "
            "(N, 3, H, W) or (N, H, W, 3), N free or 1"
        )
    height, width = (side if isinstance(side, int) else _USUAL_SIDE for side in sides)
    if not 0 < height * width <= _MOST_PIXELS:
        raise WeightsError(
            f"{path}: takes pictures of {width}x{height}, which are no crops of faces"
        )
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
