"""`mfrkit models combine` as a user runs it."""

import h5py
import numpy as np

from mfrkit.io.checkpoints import read_header
from mfrkit.models.cards import ModelCard
from mfrkit.models.meer import MeerNet
from mfrkit.models.registry import save_network


def embeddings(here, model, source):
    here("embed", source, "-o", "e.h5", "--model", model, "--no-flip", "--force", check=0)
    with h5py.File(here.folder / "e.h5") as file:
        return file["embeddings"][:]


def test_bare_faces_get_the_teacher_s_embeddings_and_masked_ones_the_student_s(mfr, noise_crops):
    mfr("models", "combine", "-o", "both.safetensors", check=0)
    assert read_header(mfr.folder / "both.safetensors").card["architecture"] == "combined"
    found = embeddings(mfr, "both.safetensors", "crops")
    sides = embeddings(mfr, "arcface", "crops"), embeddings(mfr, "maskinv", "crops")
    # Noise may be taken for either; each vector must be that of one side.
    apart = np.min([np.abs(found - side).max(1) for side in sides], axis=0)
    assert apart.max() < 1e-4


def test_what_cannot_be_combined(mfr):
    run = mfr("models", "combine", "--masked", "region", "-o", "x.safetensors", check=2)
    assert b"is for region, not recognition" in run.stderr
    run = mfr("models", "combine", "--region", "arcface", "-o", "x.safetensors", check=2)
    assert b"is for recognition, not region" in run.stderr
    (mfr.folder / "w.onnx").write_bytes(b"")
    run = mfr("models", "combine", "--masked", "w.onnx", "-o", "x.safetensors", check=2)
    assert b"w.onnx: only models of mfrkit can be combined" in run.stderr
    (mfr.folder / "x.safetensors").touch()
    run = mfr("models", "combine", "-o", "x.safetensors", check=2)
    assert b"x.safetensors" in run.stderr
    assert b"--force" in run.stderr


def test_a_model_of_several_tasks_can_tell_masked_faces(mfr, noise_crops):
    network = MeerNet()
    card = ModelCard(
        name="meer", task="recognition", also=("region",), architecture="meer", embedding_dim=192
    )
    save_network(mfr.folder / "meer.safetensors", network, card)
    parts = ("--region", "meer.safetensors", "--masked", "meer.safetensors")
    mfr("models", "combine", "-o", "both.safetensors", *parts, check=0)
    assert embeddings(mfr, "both.safetensors", "crops").shape[1] == 192


def test_side_by_side_is_what_fuse_makes_of_the_parts(mfr, worked):
    parts = ("--beside", "maskinv", "--beside", "edgeface", "--weights", "2,1")
    mfr("models", "combine", *parts, "-o", "pair.safetensors", check=0)
    for model in ("pair.safetensors", "maskinv", "edgeface"):
        out = f"{model.partition('.')[0]}.h5"
        mfr("embed", worked.folder / "masked", "-o", out, "--model", model, check=0)
    mfr("fuse", "maskinv.h5", "edgeface.h5", "-o", "fused.h5", "--weights", "2,1", check=0)
    with h5py.File(mfr.folder / "pair.h5") as pair, h5py.File(mfr.folder / "fused.h5") as fused:
        assert pair["embeddings"].shape[1] == 192 + 512
        np.testing.assert_allclose(pair["embeddings"][:], fused["embeddings"][:], atol=1e-5)
    run = mfr("models", "export", "pair.safetensors", check=0)
    assert b"pair.onnx" in run.stderr


def test_what_cannot_lie_side_by_side(mfr):
    def refused(*options):
        return mfr("models", "combine", "-o", "x.safetensors", *options, check=2).stderr

    assert b"Name two models or more" in refused("--beside", "arcface")
    assert b"--weights: 3 for 2 models" in refused(
        "--beside", "arcface", "--beside", "maskinv", "--weights", "1,2,3"
    )
    assert b"without --unmasked" in refused("--beside", "arcface", "--masked", "maskinv")
    assert b"named by --beside" in refused("--weights", "1,2")
    assert b"is for region" in refused("--beside", "arcface", "--beside", "region")


def test_other_weights_make_another_model(mfr):
    digests = set()
    for weights in ("1,1", "1,2"):
        parts = ("--beside", "arcface", "--beside", "maskinv", "--weights", weights, "--force")
        mfr("models", "combine", "-o", "pair.safetensors", *parts, check=0)
        digests.add(read_header(mfr.folder / "pair.safetensors").card["sha256"])
    assert len(digests) == 2
