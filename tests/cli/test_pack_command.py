"""`mfrkit pack` as a user runs it, and the other commands on what it writes."""

import json

import h5py
import pytest


@pytest.fixture
def here(mfr, noise_crops):
    """The console script in a folder that holds crops/."""
    assert noise_crops.parent == mfr.folder
    return mfr


def test_packed_crops_can_be_embedded(here):
    run = here("pack", "-o", "part-{0..1}.tar", "-j", "1", check=0)
    assert b"12 written of 3 identities" in run.stderr
    assert run.stdout == b""
    run = here("embed", "part-{0..1}.tar", "-o", "tar.h5", "--no-flip", check=0)
    assert b"path" not in run.stdout  # nothing another command could read by its path
    with h5py.File(here.folder / "tar.h5") as file:
        assert set(file["identities"].asstr()[:]) == {"p0", "p1", "p2"}
    run = here("pack", "-o", "part-{0..1}.tar")
    assert run.returncode == 2
    assert b"part-0.tar: exists already; --force replaces it" in run.stderr
    run = here("pack", "-o", "crops.zip")
    assert run.returncode == 2
    assert b"ends in .rec or .tar" in run.stderr


def test_a_student_learns_from_a_rec_file_and_an_onnx_teacher(here):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["in"], ["p"], kernel_shape=[28] * 2, strides=[28] * 2),
            helper.make_node("Flatten", ["p"], ["out"]),
        ],
        "averages",
        [helper.make_tensor_value_info("in", kind, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("out", kind, ["N", 48])],
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), here.folder / "t.onnx")
    here("pack", check=0)
    here("distill", "train.rec", "-t", "t.onnx", "--steps", "1", "-b", "4", "-j", "1", check=0)
    line = (here.folder / "student.run" / "history.jsonl").read_text().splitlines()[-1]
    assert json.loads(line)["step"] == 1
