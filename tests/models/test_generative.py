"""The recogniser behind a generator's encoder: its parts, its modes, its file, its size."""

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.evaluation.enrolment import load_classifier
from mfrkit.io.checkpoints import load_arrays
from mfrkit.models.cards import ModelCard
from mfrkit.models.completion import Descriptor
from mfrkit.models.g2d import GenerativeRecogniser, ResNet22, Trunk, with_classifier
from mfrkit.models.loading import load_recogniser
from mfrkit.models.mobilefacenet import MobileFaceNet
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.registry import build_network, save_network

REGION = ModelCard(name="r", task="region", architecture="region", input_size=(32, 32)).to_json()
TINY = {
    "region": REGION,
    "generator": {
        "architecture": "completion-small",
        "arguments": {"widths": (8, 8, 16, 16), "heads": 2},
    },
    "descriptor": "rise_4",
    "reformer": "resnet22",
    "widths": [4, 4, 8, 8],
    "embedding_dim": 6,
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return GenerativeRecogniser(**TINY).eval()


@pytest.fixture
def faces():
    torch.manual_seed(1)
    return torch.rand(2, 3, 32, 32)


@torch.no_grad()
def test_the_parts_are_chained_and_a_region_can_be_given(network, faces):
    covered = torch.zeros(2, 1, 32, 32)
    covered[:, :, 16:] = 1.0
    maps = network.encoder.encode(faces, covered, "rise_4")
    assert torch.equal(network(faces, covered), network.reformer(maps))
    found = network.region.cover(faces)
    assert torch.equal(network(faces), network(faces, found))
    other = torch.where(covered > 0, torch.rand_like(faces), faces)
    torch.testing.assert_close(network(other, covered), network(faces, covered))


@torch.no_grad()
def test_a_little_cover_is_none(network, faces):
    """Where the predictor sees less than a mask, the generator is told of none."""
    shares = torch.tensor([0.07, 0.09])

    class Says(nn.Module):
        def forward(self, normalised):
            rows = torch.arange(32 * 32).view(1, 1, 32, 32) / 32**2
            return torch.where(rows < shares.view(2, 1, 1, 1), 9.0, -9.0)

    network.region.network = Says()
    cover = network.region.cover(faces)
    assert not cover[0].any()
    assert cover[1].gt(0.5).float().mean() == pytest.approx(0.09, abs=0.002)
    assert cover[1].unique().numel() == 2  # faint doubts are gone


def test_the_region_predictor_never_trains(network):
    network.train()
    assert network.reformer.training
    assert not any(module.training for module in network.region.modules())


def test_twenty_two_layers():
    """Convolutions, projections among them, and the fully connected layer."""
    reformer = ResNet22(Descriptor(256, 64), 512, (64, 128, 256, 512))
    counted = [m for m in reformer.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(counted) == 22
    sizes = []
    for stage in reformer.stages:
        stage.register_forward_hook(lambda module, seen, made: sizes.append(made.shape[2]))
    with torch.no_grad():
        assert reformer.eval()(torch.zeros(1, 256, 64, 64)).shape == (1, 512)
    assert sizes[1::2] == [64, 32, 16, 8]


@pytest.mark.parametrize(
    ("descriptor", "first"),
    [("middle", "06"), ("rise_4", "01"), ("joined_4", "01"), ("rise_2", "00")],
)
@torch.no_grad()
def test_the_trunk_is_the_teachers(descriptor, first):
    """Fed what the teacher's own blocks are fed, it gives the teacher's embedding."""
    teacher = load_recogniser("arcface").network
    shape = build_network("completion-small", {}).descriptors[descriptor]
    trunk = Trunk(shape, 192).eval()
    trunk.start_from(teacher)
    assert next(iter(trunk.block)) == first
    channels = trunk.enter.weight.shape[0]
    trunk.enter = nn.Identity()
    entering = []
    teacher.block[first].register_forward_pre_hook(lambda module, seen: entering.append(seen[0]))
    whole = teacher(torch.rand(1, 3, 112, 112))
    assert entering[0].shape == (1, channels, shape.side, shape.side)
    torch.testing.assert_close(trunk(entering[0]), whole)


@pytest.mark.parametrize("reformer", ["mobilefacenet", "resnet22"])
@pytest.mark.parametrize("descriptor", ["middle", "rise_4", "joined_4", "rise_2"])
def test_every_small_one_fits_a_file_of_8_mb(reformer, descriptor):
    with torch.device("meta"):
        small = GenerativeRecogniser(
            region=ModelCard(name="r", task="region", architecture="region").to_json(),
            generator={"architecture": "completion-small", "arguments": {}},
            descriptor=descriptor,
            reformer=reformer,
            widths=(48, 72, 104, 136),
        )
    assert 2 * sum(t.numel() for t in small.state_dict().values()) < 8e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"descriptor": "rise_9"},
            "no descriptor 'rise_9'; known are middle, rise_4, joined_4, rise_2",
        ),
        ({"reformer": "magic"}, "unknown reformer 'magic'; known are mobilefacenet, resnet22"),
        ({"generator": {"architecture": "region", "arguments": {}}}, "no completion generator"),
        (
            {
                "generator": {"architecture": "completion-guided", "arguments": {"width": 2}},
                "descriptor": "block_8",
                "reformer": "mobilefacenet",
            },
            "no map of 64x64",
        ),
    ],
)
def test_parts_that_do_not_fit(change, message):
    with pytest.raises(InputError, match=message):
        GenerativeRecogniser(**TINY | change)


def card(**arguments):
    return ModelCard(
        name="g",
        task="recognition",
        architecture="generative",
        arguments=TINY | arguments,
        input_size=(32, 32),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        embedding_dim=6,
    )


@torch.no_grad()
def test_the_file_is_all_it_takes(network, faces, tmp_path):
    path = tmp_path / "g.safetensors"
    save_network(path, network, card())
    loaded = load_recogniser(str(path))
    assert torch.equal(loaded.features(faces), network(faces))
    with pytest.raises(InputError, match="holds no classifier; mfrkit distill"):
        load_classifier(str(path))


@pytest.mark.parametrize("scale", [0.0, 16.0])
@torch.no_grad()
def test_a_classifier_travels_with_its_people(network, faces, tmp_path, scale):
    """Read without torch, it gives what the network gives, and names the columns."""
    made = with_classifier(
        network, {**TINY, "people": ["Ada", "Bob", "Cem"], "scale": scale}
    ).eval()
    assert torch.equal(made(faces), network(faces))
    made.classifier.bias.copy_(torch.tensor([0.5, -1.0, 0.0]))
    path = tmp_path / "g.safetensors"
    save_network(path, made, card(people=["Ada", "Bob", "Cem"], scale=scale))
    embedding = load_recogniser(str(path))(faces)
    classifier = load_classifier(str(path))
    assert classifier.people == ["Ada", "Bob", "Cem"]
    found = torch.from_numpy(classifier.log_shares(embedding.numpy()))
    wanted = made.classify(7 * embedding)  # any length
    torch.testing.assert_close(found, wanted.log_softmax(1), atol=1e-5, rtol=1e-5)
    by_hand = embedding @ made.classifier.weight.T + made.classifier.bias
    if scale:
        by_hand = scale * nn.functional.cosine_similarity(
            embedding[:, None], made.classifier.weight[None], dim=2
        )
    torch.testing.assert_close(wanted, by_hand, atol=1e-5, rtol=1e-5)
    with pytest.raises(WeightsError, match="nothing"):
        load_arrays(path, ["nothing"])


def test_without_classifier_nobody_is_named(network):
    with pytest.raises(InputError, match="no classifier"):
        network.classify(torch.zeros(1, 6))


def test_it_runs_as_a_recogniser(network, faces):
    student = Recogniser(network, card())
    with torch.no_grad():
        assert student(faces).norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert not any(isinstance(module, MobileFaceNet) for module in network.modules())
