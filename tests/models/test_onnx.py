"""ONNX recognisers, each a small graph written by the test."""

import sys

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError, WeightsError
from mfrkit.models.cards import Feeding
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIDE, DIM = 112, 16


def write(path, *, batch="N", side=SIDE, own=False, channels=3, kind=None, pooled=True, dim=DIM):
    """Write a network that averages blocks of pixels and mixes them; `own` subtracts and scales."""
    helper, kind = onnx.helper, kind or onnx.TensorProto.FLOAT
    weight = np.random.default_rng(0).normal(size=(channels, dim)).astype(np.float32)
    nodes, last = [], "input.1"
    if own:
        nodes.append(helper.make_node("Sub", [last, "middle"], ["less"], name="_minusscalar0"))
        nodes.append(helper.make_node("Mul", ["less", "scale"], ["small"], name="_mulscalar0"))
        last = "small"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["means"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["means"], ["flat"], name="flat"))
    nodes.append(helper.make_node("MatMul", ["flat", "weight"], ["mixed"], name="mix"))
    shape = [batch, dim] if pooled else [batch, channels, 1, 1]
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
        ({"kind": 10}, r"ONNX Runtime cannot load it"),
        ({"dim": 1}, r"gives \(1, 1\) for one face; a recogniser gives \(1, D\), D at least 16"),
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
    with pytest.raises(WeightsError, match="no ONNX graph"):
        load_recogniser(str(tmp_path / "a.onnx"))


def test_weights_are_not_read_from_files_outside_its_folder(tmp_path):
    path = tmp_path / "models" / "a.onnx"
    path.parent.mkdir()
    write(path)
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, "../outside.bin")
        tensor.ClearField("raw_data")
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(InputError, match=r"a\.onnx: path '\.\./outside\.bin' leaves its folder"):
        load_recogniser(str(path))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    write(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed: .*mfrkit\[onnx\]"):
        load_recogniser(str(tmp_path / "a.onnx"))


def graph_file(path, nodes, constants, *, given=("N", 3, SIDE, SIDE), kind=np.float32):
    """Write a graph of nodes between `x` and `means`, and what makes 16 values of it."""
    helper, to_onnx = onnx.helper, onnx.numpy_helper.from_array
    weight = np.random.default_rng(0).normal(size=(3, DIM)).astype(kind)
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    tail = [helper.make_node("MatMul", ["means", "weight"], ["y"])]
    graph = helper.make_graph(
        [*nodes, *tail],
        "g",
        [helper.make_tensor_value_info("x", number, given)],
        [helper.make_tensor_value_info("y", number, ["N", DIM])],
        [to_onnx(np.asarray(v), n) for n, v in {"weight": weight, **constants}.items()],
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return weight


def node(kind, *given, to, **attributes):
    return onnx.helper.make_node(kind, list(given), [to], name=to, **attributes)


MEANS = (node("GlobalAveragePool", "small", to="pooled"), node("Flatten", "pooled", to="means"))
HALF = np.full((1, 3, 1, 1), 0.5, np.float32)


@pytest.mark.parametrize(
    ("steps", "constants", "low", "high"),
    [
        ([("Sub", "x", "m"), ("Div", "a0", "s")], {"m": 127.5, "s": 127.5}, 0, 255),
        ([("Add", "m", "x"), ("Mul", "s", "a0")], {"m": -127.5, "s": 1 / 128}, 0, 255),
        ([("Mul", "x", "s"), ("Sub", "a0", "m")], {"m": 1.0, "s": 2 / 255}, 0, 255),
        ([("Div", "x", "s")], {"s": 255.0}, 0, 255),
        ([("Identity", "x"), ("Sub", "a0", "m"), ("Div", "a1", "m")], {"m": HALF}, 0, 1),
        ([("Identity", "x")], {}, -1, 1),
        (
            [("BatchNormalization", "x", "g", "b", "u", "v")],
            {
                "g": np.ones(3, np.float32), "b": np.zeros(3, np.float32),
                "u": np.full(3, 127, np.float32), "v": np.full(3, 4900, np.float32),
            },
            0, 255,
        ),
    ],
)  # fmt: skip
def test_a_network_is_fed_what_its_graph_begins_with(tmp_path, steps, constants, low, high):
    names = [f"a{place}" for place in range(len(steps) - 1)] + ["small"]
    nodes = [node(kind, *given, to=to) for (kind, *given), to in zip(steps, names, strict=True)]
    constants = {n: np.asarray(v, np.float32) for n, v in constants.items()}
    graph_file(tmp_path / "a.onnx", [*nodes, *MEANS], constants)
    recogniser = load_recogniser(str(tmp_path / "a.onnx"))
    extremes = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, SIDE, SIDE)
    fed = recogniser.prepare(extremes)[:, 0, 0, 0]
    torch.testing.assert_close(fed, torch.tensor([low, high], dtype=torch.float32))
    assert "as the start of its graph suggests" in recogniser.card.note


def test_constants_may_be_nodes(tmp_path):
    value = onnx.numpy_helper.from_array(np.array(127.5, np.float32))
    nodes = [
        node("Constant", to="m", value=value),
        node("Sub", "x", "m", to="less"),
        node("Div", "less", "m", to="small"),
    ]
    graph_file(tmp_path / "a.onnx", [*nodes, *MEANS], {})
    card = load_recogniser(str(tmp_path / "a.onnx")).card
    assert card.note.startswith("Fed RGB, values from 0 to 255")


def test_a_graph_made_for_one_face_inside_gets_them_one_by_one(tmp_path, capfd):
    shape = np.array([1, 3], np.int64)
    nodes = [
        node("GlobalAveragePool", "x", to="pooled"),
        node("Reshape", "pooled", "shape", to="means"),
    ]
    weight = graph_file(tmp_path / "a.onnx", nodes, {"shape": shape})
    recogniser = load_recogniser(str(tmp_path / "a.onnx"))
    faces = torch.rand(3, 3, SIDE, SIDE)
    wanted = (faces.numpy() * 2 - 1).mean((2, 3)) @ weight
    np.testing.assert_allclose(recogniser.features(faces).numpy(), wanted, atol=1e-4)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_channels_may_come_last_and_numbers_be_half(tmp_path, kind):
    nodes = [node("ReduceMean", "x", to="means", axes=[1, 2], keepdims=0)]
    weight = graph_file(tmp_path / "a.onnx", nodes, {}, given=("N", SIDE, SIDE, 3), kind=kind)
    recogniser = load_recogniser(str(tmp_path / "a.onnx"))
    faces = torch.rand(3, 3, SIDE, SIDE)
    found = recogniser.features(faces)
    wanted = (faces.numpy() * 2 - 1).mean((2, 3)) @ weight.astype(np.float32)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4 if kind is np.float32 else 1e-2)


def test_the_same_for_every_face_is_no_embedding(tmp_path):
    nodes = [node("Mul", "x", "zero", to="small"), *MEANS]
    graph_file(tmp_path / "a.onnx", nodes, {"zero": np.array(0, np.float32)})
    with pytest.raises(WeightsError, match="the same for any face"):
        load_recogniser(str(tmp_path / "a.onnx"))


def test_what_the_user_says_of_its_input_counts(tmp_path):
    write(tmp_path / "a.onnx")
    path = str(tmp_path / "a.onnx")
    plain = load_recogniser(path)
    said = load_recogniser(path, feeding=Feeding("BGR", (0.0,) * 3, (1 / 255,) * 3))
    face = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    fed = said.prepare(face)[0, :, 0, 0]
    torch.testing.assert_close(fed, torch.tensor([153.0, 102.0, 51.0]))
    assert said.card.note == "Fed BGR, values from 0 to 255, as the user says."
    assert said.card.sha256 != plain.card.sha256
    assert load_recogniser(path, feeding=Feeding()).card == plain.card
    with pytest.raises(InputError, match="arcface: says itself how it is fed"):
        load_recogniser("arcface", feeding=Feeding("BGR"))
