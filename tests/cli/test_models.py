"""`mfrkit models`: what it prints, what it makes of other models, and what it refuses."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.checkpoints import read_header
from mfrkit.models.cards import BUNDLED, ModelCard
from mfrkit.models.meer import MeerNet
from mfrkit.models.registry import build_network, load_network, save_network
from mfrkit.stages.models import describe, list_models, show_model


def one_object(text):
    assert text.count("\n") == 1
    return json.loads(text)


def test_list_is_a_table_of_all_bundled_models(capsys):
    list_models(Console())
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["name", "task", "size", "parameters", "licence", "source"]
    assert [line[0] for line in lines[1:]] == list(BUNDLED)
    assert lines[1][1:4] == ["recognition", "2.6 MB", "1,292,992"]


def test_list_json_is_one_object(capsys):
    list_models(Console(), as_json=True)
    models = one_object(capsys.readouterr().out)["models"]
    assert [model["name"] for model in models] == list(BUNDLED)
    assert all(model["verified"] for model in models)


def test_show_gives_the_whole_card(capsys):
    show_model("arcface", Console())
    shown = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert shown["verified"] == "yes"
    assert shown["embedding_dim"] == "192"
    assert shown["mean"] == "[0.5, 0.5, 0.5]"
    assert len(shown["sha256"]) == 64


def test_show_json_of_a_file_with_metrics(capsys, tmp_path):
    card = replace(describe("arcface").card, metrics={"eer": 0.008})
    path = tmp_path / "student of mine.safetensors"
    network = build_network("mobilefacenet", {"embedding_dim": 192})
    save_network(path, network, card)
    show_model(str(path), Console(), as_json=True)
    shown = one_object(capsys.readouterr().out)
    assert shown["metrics"] == {"eer": 0.008}
    assert shown["file"] == str(path)
    assert shown["verified"] is True


def test_show_says_when_a_file_was_changed(capsys, tmp_path):
    path = tmp_path / "damaged.safetensors"
    content = bytearray(describe("arcface").path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    show_model(str(path), Console())
    assert "verified\tNO" in capsys.readouterr().out


def test_show_refuses_an_unknown_name():
    with pytest.raises(InputError, match="Known: "):
        show_model("nobody", Console())


def test_command_line(mfr):
    run = mfr("models", "show", "arcface", "--json", check=0)
    assert one_object(run.stdout.decode())["name"] == "arcface"
    run = mfr("models", "show", "arcfaec", check=2)
    assert run.stdout == b""
    assert b"did you mean arcface?" in run.stderr


def test_the_card_as_markdown(mfr):
    run = mfr("models", "show", "arcface", "--markdown", check=0)
    assert run.stdout.startswith(b"# arcface\n")
    both = mfr("models", "show", "arcface", "--markdown", "--json", check=2)
    assert b"choose one of them" in both.stderr


def weights(here, model):
    return load_network(str(here.folder / model) if "." in model else model)[0].state_dict()


def test_weights_lie_where_the_share_says(mfr):
    mfr(
        "models", "average", "arcface", "maskinv", "--share", "0.25", "-o", "m.safetensors", check=0
    )
    first, second, found = (weights(mfr, each) for each in ("arcface", "maskinv", "m.safetensors"))
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, 0.75 * first[name] + 0.25 * second[name])
    card = json.loads(mfr("models", "show", "m.safetensors", "--json", check=0).stdout)
    assert card["source"] == "0.75 of the weights of arcface, 0.25 of those of maskinv"
    assert "MIT" in card["licence"]
    assert "research" in card["licence"]
    assert (card["metrics"], card["thresholds"]) == ({}, {})
    origins = card["config"]["average"]
    assert [(each["name"], each["share"]) for each in origins] == [
        ("arcface", 0.75),
        ("maskinv", 0.25),
    ]
    assert origins[1]["training"].startswith("mfrkit distill")


@pytest.mark.parametrize(("share", "model"), [("0", "arcface"), ("1", "maskinv")])
def test_at_the_ends_is_one_of_the_two(mfr, share, model):
    mfr("models", "average", "arcface", "maskinv", "--share", share, "-o", "m.safetensors", check=0)
    found = weights(mfr, "m.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in weights(mfr, model).items())


def test_what_has_no_mean(mfr):
    def refused(*arguments):
        return mfr("models", "average", *arguments, "-o", "m.safetensors", check=2).stderr.decode()

    assert "differ in architecture: mobilefacenet and edgeface" in refused("arcface", "edgeface")
    assert "differ in task" in refused("arcface", "region")
    assert "expected a share from 0 to 1" in refused("arcface", "maskinv", "--share", "1.5")
    mfr("models", "average", "arcface", "maskinv", "-o", "m.safetensors", check=0)
    assert "--force" in refused("arcface", "maskinv")
    assert read_header(mfr.folder / "m.safetensors").card["name"] == "m"


def test_a_completing_student_goes_back_to_generator_and_recogniser(mfr):
    mfr(
        *("models", "average", "deocclusion", "completion+maskinv-edge"),
        *("--share", "0.5", "-o", "m.safetensors"),
        check=0,
    )
    found, student = (weights(mfr, each) for each in ("m.safetensors", "deocclusion"))
    start = weights(mfr, "maskinv-edge")
    for name, tensor in student.items():
        if not tensor.is_floating_point():
            continue
        inner = name.removeprefix("recogniser.network.")
        other = start[inner] if inner != name else tensor
        torch.testing.assert_close(found[name], (tensor + other) / 2)
    assert (
        "differ in arguments"
        in mfr(
            *("models", "average", "deocclusion", "completion+arcface", "-o", "n.safetensors"),
            check=2,
        ).stderr.decode()
    )


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
