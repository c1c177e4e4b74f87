"""Every bundled model builds, runs and round-trips; every bad file is refused in one line."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import file_sha256, read_header, rewrite_card
from mfrkit.methods.method import bare
from mfrkit.models import cards, registry
from mfrkit.models.cards import BUNDLED, ModelCard, Operating
from mfrkit.models.loading import load_recogniser
from mfrkit.models.registry import (
    ARCHITECTURES,
    WEIGHTS,
    build_network,
    count_parameters,
    find_model,
    load_network,
    read_card,
    save_network,
    verify,
)

POINT = {"fmr": 0.01, "threshold": 0.3, "fnmr": 0.02, "genuine": 90, "impostors": 900}

# Over name, shape, type and bytes of each tensor of the files the bundled ones were made from,
# arcface and edgeface rounded to half precision.
SOURCES = {
    "arcface": "44a51e36d9bc945efd9b3d7e87b4377d0b37335e3d6636f8f9cf948238aabe9e",
    "edgeface": "ed07e7279ab5feb2764dcdf4c48120cbd3d81edef2dfcc18424c197daac6963a",
    "mtcnn": "f2808caaac21bf32170ad6f5cabf8427cdd786860defda6bdc82dc4569d1b980",
}


@pytest.fixture
def student(tmp_path):
    """A small recogniser's file, as training would write it."""
    torch.manual_seed(0)
    card = ModelCard(
        name="student",
        task="recognition",
        architecture="mobilefacenet",
        arguments={"embedding_dim": 8},
        embedding_dim=8,
    )
    path = tmp_path / "student.safetensors"
    save_network(path, build_network(card.architecture, card.arguments), card)
    return path


def amend(path, **fields):
    rewrite_card(path, {**read_header(path).card, **fields})


@pytest.mark.parametrize("name", SOURCES)
def test_tensors_equal_their_source_bit_for_bit(name):
    network, _ = load_network(name)
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == SOURCES[name]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_file_is_intact(name):
    card, header, path = read_card(name)
    assert verify(name, header, path)
    assert card.name == name
    assert card.licence
    assert card.source
    assert file_sha256(path, header.start) == header.card["sha256"]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_model_round_trips(name, tmp_path):
    network, card = load_network(name)
    copy = tmp_path / "copy.safetensors"
    save_network(copy, network, card)
    again, card_again = load_network(str(copy))
    # Half precision is written out in full, which is another hash of the same values.
    assert replace(card_again, sha256=card.sha256) == card
    ours, theirs = network.state_dict(), again.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not again.training


def test_no_stray_weights():
    assert {path.stem for path in WEIGHTS.glob("*.safetensors")} == set(BUNDLED)


REGION, GENERATOR, RECOGNISER = (
    ModelCard(name=task, task=task, architecture=architecture).to_json()
    for task, architecture in (
        ("region", "region"),
        ("completion", "completion-small"),
        ("recognition", "mobilefacenet"),
    )
)
COMPOSED = {
    "completing": {"region": REGION, "generator": GENERATOR, "recogniser": RECOGNISER},
    "combined": {"region": REGION, "unmasked": RECOGNISER, "masked": [RECOGNISER]},
    "side-by-side": {"parts": [RECOGNISER, RECOGNISER], "shares": [0.5, 0.5]},
    "generative": {
        "region": REGION,
        "generator": GENERATOR,
        "descriptor": "rise_4",
        "reformer": "mobilefacenet",
    },
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_builds(architecture):
    with torch.device("meta"):
        network = build_network(architecture, COMPOSED.get(architecture, {}))
    assert network.state_dict()


def test_a_file_does_wherever_a_name_does(student):
    recogniser = load_recogniser(str(student))
    with torch.inference_mode():
        assert recogniser(torch.rand(2, 3, 112, 112)).shape == (2, 8)


def test_unknown_name_gives_the_nearest_and_the_known():
    with pytest.raises(InputError, match=r"did you mean arcface\? Known: arcface, .*mtcnn"):
        find_model("arcfaec")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        find_model(str(tmp_path / "absent.safetensors"))


def test_folder_is_no_model(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        find_model(str(tmp_path))


def test_missing_bundled_file(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match="reinstall mfrkit"):
        find_model("arcface")


def test_bundled_name_with_another_file_is_refused(tmp_path, monkeypatch, student):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    student.rename(tmp_path / "arcface.safetensors")
    with pytest.raises(WeightsError, match=r"arcface\.safetensors: not the arcface of this"):
        load_recogniser("arcface")


def test_detector_is_no_recogniser():
    with pytest.raises(InputError, match="is for detection, not recognition"):
        load_recogniser("mtcnn")


def test_unknown_architecture_in_a_file(student):
    amend(student, architecture="mobilefacent")
    with pytest.raises(WeightsError, match=r"student\.safetensors: .*did you mean mobilefacenet"):
        load_recogniser(str(student))


@pytest.mark.parametrize("arguments", [{"depth": 3}, {"embedding_dim": "wide"}])
def test_arguments_the_architecture_does_not_take(student, arguments):
    amend(student, arguments=arguments)
    with pytest.raises(WeightsError, match="architecture mobilefacenet with"):
        load_recogniser(str(student))


def test_wrong_shape_names_the_tensor(student):
    amend(student, arguments={"embedding_dim": 16})
    with pytest.raises(WeightsError) as caught:
        load_recogniser(str(student))
    text = str(caught.value)
    assert text.startswith(f"{student}: does not fit mobilefacenet: 2 of another shape (head.3.")
    assert "instead of" in text
    assert "\n" not in text


def test_another_architectures_weights(student):
    amend(student, architecture="iresnet18", arguments={})
    with pytest.raises(WeightsError, match=r"187 missing \(conv1\.weight, .*137 unexpected"):
        load_recogniser(str(student))


def test_changed_tensor_byte_is_found(student):
    content = bytearray(student.read_bytes())
    content[-1] ^= 1
    student.write_bytes(content)
    with pytest.raises(WeightsError, match="do not match the card's SHA-256"):
        load_recogniser(str(student))
    _, header, path = read_card(str(student))
    assert not verify(str(student), header, path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 99),
        ("task", "poetry"),
        ("colour", "CMYK"),
        ("mean", [0.5]),
        ("std", [0, 1, 1]),
        ("std", None),
        ("input_size", ["a", 2]),
        ("arguments", [1]),
        ("thresholds", [1]),
        ("thresholds", {"half-masked": []}),
        ("thresholds", {"masked-masked": [{"fmr": 0.01}]}),
        ("thresholds", {"masked-masked": [{**POINT, "fmr": 0}]}),
        ("thresholds", {"masked-masked": [{**POINT, "impostors": 0}]}),
    ],
)
def test_damaged_card_names_file_and_fault(student, field, value):
    amend(student, **{field: value})
    with pytest.raises(WeightsError, match=r"student\.safetensors: .*card"):
        load_recogniser(str(student))


def test_card_with_a_missing_field():
    incomplete = read_card("arcface")[0].to_json()
    del incomplete["architecture"]
    with pytest.raises(WeightsError, match="architecture"):
        ModelCard.from_json(incomplete)


def test_card_survives_json_and_later_fields():
    card = read_card("arcface")[0]
    text = json.dumps({**card.to_json(), "invented_later": 1})
    assert ModelCard.from_json(json.loads(text)) == card
    assert cards.SCHEMA == 1


def test_thresholds_survive_a_file_but_no_further_training(student):
    amend(student, thresholds={"unmasked-masked": [{**POINT, "invented_later": 1}]})
    card = read_card(str(student))[0]
    assert card.thresholds == {"unmasked-masked": (Operating(**POINT),)}
    assert card.to_json()["thresholds"] == {"unmasked-masked": (POINT,)}
    assert bare(card).thresholds == card.as_part().thresholds == {}


def test_describing_needs_no_torch():
    code = (
        "import sys; from mfrkit.stages.models import describe; describe('arcface');"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("mobilefacenet", {"embedding_dim": 10**9}),
        ("eum", {"dim": 100_000, "width": 100_000}),
        ("eum", {"dim": 1, "width": 1, "layers": 100_000}),
        ("completion-guided", {"blocks": 10**12}),
        ("region", {"widths": [90_000, 90_000, 90_000]}),
        ("region", {"widths": []}),
        ("meer", {"backbone": []}),
    ],
)
def test_a_small_file_cannot_ask_for_a_large_network(student, architecture, arguments, monkeypatch):
    monkeypatch.setattr(registry, "_OWN_VALUES", 5_000_000)  # a tenth, so that it comes sooner
    amend(student, architecture=architecture, arguments=arguments)
    with pytest.raises(WeightsError, match=f"architecture {architecture} with"):
        load_recogniser(str(student))


SHARED = {"region.network": "region", "generator": "completion"}


@pytest.fixture(scope="module")
def completing():
    """A recogniser of completed faces, of whose parts two are bundled models."""
    recogniser = load_recogniser("completion+arcface")
    return recogniser.network, recogniser.card


def test_shared_weights_are_left_out_and_found_again(tmp_path, completing):
    network, card = completing
    path = tmp_path / "both.safetensors"
    save_network(path, network, replace(card, shared=SHARED))
    names = read_header(path).shapes
    assert {name.partition(".")[0] for name in names} == {"recogniser"}
    again, card_again = load_network(str(path))
    whole = network.state_dict()
    assert list(again.state_dict()) == list(whole)
    assert all(torch.equal(whole[name], each) for name, each in again.state_dict().items())
    # What was loaded is whole, so that a student made of it is saved whole.
    assert card_again.shared == {}
    assert read_card(str(path))[0].shared == SHARED


def test_shared_parameters_are_counted(tmp_path, completing):
    network, card = completing
    path = tmp_path / "both.safetensors"
    save_network(path, network, replace(card, shared=SHARED))
    total = sum(tensor.numel() for tensor in network.state_dict().values())
    card, header, _ = read_card(str(path))
    assert count_parameters(card, header) == total


@pytest.mark.parametrize("part", ["generator", "generator.no_such_part"])
def test_weights_that_differ_are_not_left_out(tmp_path, completing, part):
    network, card = completing
    path = tmp_path / "both.safetensors"
    with pytest.raises(WeightsError, match=rf"{part}\..* is not the tensor its card says"):
        save_network(path, network, replace(card, shared={part: "region"}))
    assert not path.exists()


def test_only_bundled_models_share(tmp_path, completing):
    network, card = completing
    path = tmp_path / "both.safetensors"
    save_network(path, network, card)
    rewrite_card(path, replace(card, shared={"generator": "mine.safetensors"}).to_json())
    with pytest.raises(WeightsError, match="shares weights with mine.safetensors, which is not"):
        load_network(str(path))


def test_what_bundled_models_share_is_bundled():
    cards = [read_card(name)[0] for name in BUNDLED]
    assert {other for card in cards for other in card.shared.values()} <= set(BUNDLED)
