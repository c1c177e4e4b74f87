"""ONNX recognisers, each a small graph written by the test."""

import sys

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError, WeightsError
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.onnx_recogniser import normalisation
from mfrkit.models.recognisers import load_recogniser

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIDE, DIM = 112, 5


def write(path, *, batch="N", side=SIDE, own=False, channels=3, kind=None, pooled=True):
    """Write a network that averages blocks of pixels and mixes them; `own` subtracts and scales."""
    helper, kind = onnx.helper, kind or onnx.TensorProto.FLOAT
    weight = np.random.default_rng(0).normal(size=(channels, DIM)).astype(np.float32)
    nodes, last = [], "input.1"
    if own:
        nodes.append(helper.make_node("Sub", [last, "middle"], ["less"], name="_minusscalar0"))
        nodes.append(helper.make_node("Mul", ["less", "scale"], ["small"], name="_mulscalar0"))
        last = "small"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["means"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["means"], ["flat"], name="flat"))
    nodes.append(helper.make_node("MatMul", ["flat", "weight"], ["mixed"], name="mix"))
    shape = [batch, DIM] if pooled else [batch, channels, 1, 1]
    constants = {
        "middle": np.array(127.5, np.float32),
        "scale": np.array(1 / 127.5, np.float32),
        "weight": weight,
    }
    graph = helper.make_graph(
        nodes,
        "recogniser",
        [helper.make_tensor_value_info("input.1", kind, [batch, channels, side, side])],
        [helper.make_tensor_value_info("mixed" if pooled else "means", kind, shape)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return weight


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("batch", ["N", 1])
def test_faces_are_fed_as_insightface_feeds_them(tmp_path, own, batch):
    weight = write(tmp_path / "w600k.onnx", own=own, batch=batch)
    recogniser = load_recogniser(str(tmp_path / "w600k.onnx"))
    card = recogniser.card
    assert (card.name, card.embedding_dim, card.input_size) == ("w600k", DIM, (SIDE, SIDE))
    faces = torch.rand(3, 3, SIDE, SIDE)
    pixels = faces.numpy().astype(np.float64) * 255
    wanted = ((pixels - 127.5) / 127.5).mean((2, 3)) @ weight
    found = recogniser.features(faces)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)
    unit = recogniser(faces.requires_grad_())
    assert not unit.requires_grad
    np.testing.assert_allclose(unit.norm(dim=1).numpy(), 1, atol=1e-5)


def test_the_rule_looks_for_both_kinds_of_node():
    assert normalisation(["Sub_0", "conv0"]) == normalisation(["Mul_0"]) == (0.5, 0.5)
    assert normalisation(["Conv_0", "Sub_4", "Mul_5"]) == (0.0, 1 / 255)


def test_free_sides_are_taken_as_usual(tmp_path):
    write(tmp_path / "a.onnx", side=None)
    assert load_recogniser(str(tmp_path / "a.onnx")).card.input_size == (112, 112)


def test_the_embedding_engine_runs_it(tmp_path):
    write(tmp_path / "a.onnx")
    crops = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    recogniser = load_recogniser(str(tmp_path / "a.onnx"))
    with EmbedEngine(recogniser, workers=2) as engine:
        vectors = engine(crops).vectors
    faces = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(vectors, recogniser(faces).numpy(), atol=1e-5)


def test_two_files_have_two_states(tmp_path):
    write(tmp_path / "a.onnx")
    write(tmp_path / "b.onnx", own=True)
    states = [load_recogniser(str(tmp_path / f"{n}.onnx")).state_dict() for n in "ab"]
    assert not torch.equal(states[0]["network.digest"], states[1]["network.digest"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 8}, r"\(N, 3, H, W\)"),
        ({"channels": 1}, r"\(N, 3, H, W\)"),
        ({"kind": 10}, r"ONNX Runtime cannot load it|float16"),
        ({"pooled": False}, r"gives \(1, 3, 1, 1\) for one face"),
    ],
)
def test_what_is_no_recogniser_is_refused(tmp_path, options, message):
    write(tmp_path / "a.onnx", **options)
    with pytest.raises(WeightsError, match=message):
        load_recogniser(str(tmp_path / "a.onnx"))


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        load_recogniser(str(tmp_path / "a.onnx"))
    (tmp_path / "a.onnx").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="ONNX Runtime cannot load it"):
        load_recogniser(str(tmp_path / "a.onnx"))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed: .*mfrkit\[onnx\]"):
        load_recogniser(str(tmp_path / "a.onnx"))
