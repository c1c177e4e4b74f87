"""`mfrkit models add` and `export`: models from other programs, and for them."""

import json

import h5py
import numpy as np
import pytest
import torch

from mfrkit.errors import WeightsError
from mfrkit.models.loading import load_recogniser
from mfrkit.models.registry import build_network

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def embeddings(here, model, source):
    here("embed", source, "-o", "e.h5", "--model", model, "--no-flip", "--force", check=0)
    with h5py.File(here.folder / "e.h5") as file:
        return file["embeddings"][:]


@pytest.mark.parametrize(("model", "width"), [("maskinv", 192), ("mfr", 704), ("deocclusion", 512)])
def test_an_exported_model_embeds_as_the_model_does(mfr, worked, model, width):
    run = mfr("models", "export", model, check=0)
    assert f"{model} -> {model}.onnx".encode() in run.stderr
    for source in (worked.folder / "crops", worked.folder / "masked"):
        wanted, found = embeddings(mfr, model, source), embeddings(mfr, f"{model}.onnx", source)
        np.testing.assert_allclose(found, wanted, atol=2e-3)
    # As any other program would: InsightFace's normalisation, any number of faces.
    session = runtime.InferenceSession(mfr.folder / f"{model}.onnx")
    (inputs,), (output,) = session.get_inputs(), session.get_outputs()
    assert (inputs.shape[1:], inputs.type) == ([3, 112, 112], "tensor(float)")
    assert output.shape[1] == width
    faces = np.random.default_rng(0).uniform(-1, 1, (5, 3, 112, 112)).astype(np.float32)
    together = session.run(None, {inputs.name: faces})[0]
    alone = session.run(None, {inputs.name: faces[3:4]})[0]
    np.testing.assert_allclose(together[3:4], alone, atol=1e-4)


def test_licence_and_origin_travel_with_an_exported_model(mfr):
    mfr("models", "export", "arcface", "-o", "a.onnx", check=0)
    shown = json.loads(mfr("models", "show", "arcface", "--json", check=0).stdout)
    card = load_recogniser(str(mfr.folder / "a.onnx")).card
    assert (card.name, card.architecture) == ("a", "onnx")
    assert (card.licence, card.source) == (shown["licence"], shown["source"])
    assert "MIT" in card.licence
    model = onnx.load(mfr.folder / "a.onnx")
    model.metadata_props[0].value = "{"
    onnx.save(model, mfr.folder / "broken.onnx")
    with pytest.raises(WeightsError, match=r"broken.onnx: damaged model card"):
        load_recogniser(str(mfr.folder / "broken.onnx"))


def test_what_cannot_be_exported(mfr):
    for words, arguments in (
        (b"is for region, not recognition", ("region", "-o", "r.onnx")),
        (b"name it .onnx", ("arcface", "-o", "arcface.pb")),
        (b"is an ONNX file already", ("w600k_r50.onnx",)),
        (b"unknown model", ("arcfce",)),
    ):
        assert words in mfr("models", "export", *arguments, check=2).stderr
    (mfr.folder / "arcface.onnx").write_bytes(b"mine")
    assert b"--force" in mfr("models", "export", "arcface", check=2).stderr
    assert (mfr.folder / "arcface.onnx").read_bytes() == b"mine"
    assert len(list(mfr.folder.iterdir())) == 1


@pytest.fixture
def foreign(mfr):
    """A small network as another program would have saved it."""
    torch.manual_seed(0)
    network = build_network("iresnet18", {"embedding_dim": 64})
    torch.save({"state_dict": network.state_dict()}, mfr.folder / "r18.pth")
    return network.eval()


def test_an_added_model_is_the_same_network_with_a_card(mfr, noise_crops, foreign):
    origin = ("--licence", "ours alone", "--source", "somewhere", "--data", "faces")
    run = mfr("models", "add", "r18.pth", *origin, check=0)
    assert b"r18.pth -> r18.safetensors: iresnet18, 64 values" in run.stderr
    card = json.loads(mfr("models", "show", "r18.safetensors", "--json", check=0).stdout)
    assert (card["name"], card["licence"], card["source"]) == ("r18", "ours alone", "somewhere")
    assert (card["architecture"], card["data"], card["verified"]) == ("iresnet18", "faces", True)
    wanted, found = (embeddings(mfr, name, "crops") for name in ("r18.pth", "r18.safetensors"))
    np.testing.assert_array_equal(found, wanted)


def test_what_cannot_be_added(mfr, foreign):
    (mfr.folder / "note.pth").write_text("no network")
    for words, arguments in (
        (b"name it itself as --model", ("w600k_r50.onnx",)),
        (b"expected .ckpt, .pt, .pth", ("r18.bin",)),
        (b"no such model file", ("r50.pth",)),
        (b"was not loaded", ("note.pth",)),
        (b"name it .safetensors", ("r18.pth", "-o", "r18.pt")),
    ):
        assert words in mfr("models", "add", *arguments, check=2).stderr
    mfr("models", "add", "r18.pth", check=0)
    assert b"--force" in mfr("models", "add", "r18.pth", check=2).stderr
