"""`mfrkit models average` as a user runs it."""

import json

import pytest
import torch

from mfrkit.io.checkpoints import read_header
from mfrkit.models.registry import load_network


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
