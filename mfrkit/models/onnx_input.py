"""Read off an ONNX graph how it wants its pictures: by what it does to them first.

A network that subtracts 127.5 and divides by 127.5 inside is fed plain values, one that subtracts
0.5 and divides by 0.5 values from 0 to 1. A graph that begins with a convolution says nothing; it
is taken for InsightFace's, which are fed values from -1 to 1.
"""

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What a picture may be when it is fed -> mean and std, for values in [0, 1], that make it so.
_RANGES = {(-1.0, 1.0): (0.5, 0.5), (0.0, 255.0): (0.0, 1 / 255), (0.0, 1.0): (0.0, 1.0)}
_SAME = frozenset({"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Dropout"})
_CONSTANT_VALUES = 1_000_000


def expected_input(graph: Any) -> tuple[float, float]:
    """Return mean and std a network expects to be applied, for values in [0, 1].

    Convention:
        Of the usual ranges the one is chosen that what the graph does to it first takes closest to
        -1 to 1.

    Args:
        graph: an ONNX graph.
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
