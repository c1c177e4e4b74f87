"""Recognisers as ONNX files: read and run by ONNX Runtime, and written for programs without torch.

Those that are read run forward only, so they are teachers but never students. How a file wants
its pictures is read off its graph, by what it does to them first: a network that subtracts 127.5
and divides by 127.5 inside is fed plain values, one that subtracts 0.5 and divides by 0.5 values
from 0 to 1. A graph that begins with a convolution says nothing; it is taken for InsightFace's,
which are fed values from -1 to 1. Those that are written are fed so too; the model's card travels
in their metadata.
"""

import importlib
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfrkit.errors import InputError, MfrError, WeightsError
from mfrkit.io.checkpoints import file_sha256
from mfrkit.io.documents import parse_json
from mfrkit.io.manifest import check_inside
from mfrkit.models.cards import ModelCard, describe
from mfrkit.models.recogniser import Recogniser

# What a picture may be when it is fed -> mean and std, for values in [0, 1], that make it so.
_RANGES = {(-1.0, 1.0): (0.5, 0.5), (0.0, 255.0): (0.0, 1 / 255), (0.0, 1.0): (0.0, 1.0)}
_SAME = frozenset({"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Dropout"})
_CONSTANT_VALUES = 1_000_000


def expected_input(graph: Any) -> tuple[float, float]:
    """Return mean and std a network expects to be applied, for values in [0, 1].

    Of the usual ranges the one is chosen that what the graph does to it first takes closest to -1
    to 1.
    """
    scale, shift = 1.0, 0.0
    for factor, term in _steps(graph):
        scale, shift = scale * factor, shift * factor + term

    def oddness(fed: tuple[float, float]) -> float:
        low, high = (scale * value + shift for value in fed)
        half = abs(high - low) / 2
        return abs(low + high) / 2 + abs(math.log(half)) if half > 0 else math.inf

    return _RANGES[min(_RANGES, key=oddness)]


def _steps(graph: Any) -> Iterator[tuple[float, float]]:
    """Yield factor and term of each affine node between the picture and the first other one."""
    constants = _Constants(graph)
    name = next((each.name for each in graph.input if not constants.has(each.name)), "")
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or not users[0].output:
            return
        node = users[0]
        if node.op_type not in _SAME:
            others = [constants.mean(each) for each in node.input if each != name]
            step = _affine(node, others, is_first=node.input[0] == name)
            if step is None or not all(map(math.isfinite, step)):
                return
            yield step
        name = node.output[0]


def _affine(node: Any, others: list[float | None], *, is_first: bool) -> tuple[float, float] | None:
    """Return what a node multiplies its input by and adds to it; None if it does something else."""
    if None in others or not others:
        return None
    value, *rest = (each for each in others if each is not None)
    match node.op_type:
        case "Add":
            return 1.0, value
        case "Sub":
            return (1.0, -value) if is_first else (-1.0, value)
        case "Mul":
            return value, 0.0
        case "Div" if is_first and value:
            return 1 / value, 0.0
        case "BatchNormalization" if len(rest) == 3:
            bias, mean, variance = rest
            eps = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            factor = value / math.sqrt(max(variance, 0) + eps) if eps > 0 else math.nan
            return factor, bias - mean * factor
    return None


class _Constants:
    """The values of a graph that do not depend on its picture."""

    def __init__(self, graph: Any) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            held = [each.t for each in node.attribute if each.name == "value"]
            if node.op_type == "Constant" and held and node.output:
                self._tensors[node.output[0]] = held[0]

    def has(self, name: str) -> bool:
        return name in self._tensors

    def mean(self, name: str) -> float | None:
        """Return the mean of a constant's values; None if it is none, or they lie elsewhere."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_location or math.prod(tensor.dims) > _CONSTANT_VALUES:
            return None
        helper = importlib.import_module("onnx.numpy_helper")
        try:
            values: NDArray[Any] = helper.to_array(tensor)
            return float(np.mean(values, dtype=np.float64)) if values.size else None
        except (ValueError, TypeError, KeyError, RuntimeError):
            return None


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
    """Load an ONNX recogniser in eval mode; ONNX Runtime uses a GPU where it can.

    Convention:
        RGB, normalised as the start of the graph suggests; see `expected_input`.

    Args:
        path: the file; weights kept outside it lie where it says, in its folder or below.

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
    """Return a file's card with what the file itself tells of its origin."""
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
    """Read the graph without the weights that other files hold, which must lie in its folder."""
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
        # Trying again with other providers prints to standard output, which is not its own.
        return runtime.InferenceSession(str(path), options, providers, enable_fallback=0)
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
    """Import one of the packages of the extra `onnx`, or say how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"{package} is not installed: pip install 'mfrkit[onnx]'") from error


_OPSET = 17
_INPUT, _OUTPUT = "input", "embedding"
_PICTURES = 8  # that the file is tried on
_MAX_DIFFERENCE = 1e-3  # of unit embeddings


class FedAsUsual(nn.Module):
    """A recogniser that takes RGB as (v - 127.5) / 127.5, whatever its network was trained on."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, faces: Tensor) -> Tensor:
        """Map (B, 3, H, W) RGB in [-1, 1] to (B, D) embeddings, not of unit length."""
        return self.recogniser.features(faces * 0.5 + 0.5)


def export_onnx(recogniser: Recogniser, path: Path) -> float:
    """Write a recogniser in eval mode, on the CPU, as an ONNX file and try it.

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
