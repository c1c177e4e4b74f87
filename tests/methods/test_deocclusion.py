"""De-occlusion distillation: relations by hand, what stays frozen, and that it learns."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mfrkit.errors import InputError
from mfrkit.losses.margin import MarginHead, create_margin
from mfrkit.losses.relation import pair_loss, triplet_loss
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.deocclusion import DeOcclusion, DeOcclusionOptions
from mfrkit.methods.real_masks import OtherViewLoss, PortraitLoss, RealOptions, UnnamedOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.combined import CompletingRecogniser
from mfrkit.models.completion import SmallCompletion
from mfrkit.models.recogniser import Recogniser
from mfrkit.models.region import RegionNet, RegionPredictor

SIDE = 32


def recogniser(seed=0, dim=6):
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.PReLU(8), nn.Flatten(), nn.LazyLinear(dim)
    )
    network.eval()(torch.zeros(1, 3, SIDE, SIDE))
    return Recogniser(network, card("recognition"))


def card(task):
    return ModelCard(name=task, task=task, architecture="", input_size=(SIDE, SIDE))


def method(*, head=None, **options):
    inner = recogniser()
    torch.manual_seed(2)
    generator = SmallCompletion((8, 8, 8, 8), heads=2)
    nn.init.normal_(generator.picture.weight, std=0.1)
    region = RegionPredictor(RegionNet((4, 4, 8, 8)), card("region"))
    nn.init.zeros_(region.network.head[0].bias)  # some pixels are found covered
    network = CompletingRecogniser(region, generator, inner)
    student = Recogniser(
        network,
        ModelCard(
            name="student",
            task="recognition",
            architecture="completing",
            input_size=(SIDE, SIDE),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
    )
    options = DeOcclusionOptions(**options)
    return DeOcclusion(student=student, teacher=recogniser(1), head=head, options=options).train()


@pytest.fixture
def batch():
    torch.manual_seed(5)
    clean = torch.rand(8, 3, SIDE, SIDE)
    masked, region = clean.clone(), torch.zeros(8, 1, SIDE, SIDE)
    masked[:5, :, SIDE // 2 :] = 0.5
    region[:5, :, SIDE // 2 :] = 1.0
    label = torch.tensor([0, 1, 2, 0, 1, -1, -1, 2])
    return FaceBatch(masked, clean, region, label, torch.arange(8))


def features_of(task, batch):
    """What the student gives for faces completed by hand; its batch norm stays as it was."""
    network = copy.deepcopy(task.network)
    region = network.region(batch.masked)
    region = (2 * region - 0.5).clamp(0, 1)
    region[(region > 0.5).flatten(1).float().mean(1) < 0.08] = 0
    return network.recogniser.features(network.generator(batch.masked, region))


def test_relations_are_those_of_completed_and_true_faces(batch):
    task = method(instance=2.0, pair=3.0, triplet=4.0)
    features, template = features_of(task, batch), task.teacher(batch.clean)
    losses = task(batch)
    instance = (1 - F.cosine_similarity(features, template)).mean()
    wanted = {
        "instance": instance,
        "pair": pair_loss(features, template),
        "triplet": triplet_loss(features, template),
    }
    for name, value in wanted.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name
    total = 2 * wanted["instance"] + 3 * wanted["pair"] + 4 * wanted["triplet"]
    assert losses["loss"].item() == pytest.approx(total.item(), rel=1e-4)


@pytest.mark.parametrize("relation", ["instance", "pair", "triplet, pair"])
def test_only_the_orders_asked_for_count(batch, relation):
    losses = method(relation=relation)(batch)
    assert losses.keys() - {"loss"} == {word.strip() for word in relation.split(",")}


def test_a_soft_target_is_the_persons_mean(batch):
    task = method(target="soft", relation="instance")
    template = task.teacher(batch.clean)
    centre = F.normalize(template + template.roll(1, 0))
    features = features_of(task, batch)
    losses = task(replace(batch, template=template, centre=centre))
    wanted = (1 - F.cosine_similarity(features, centre)).mean()
    assert losses["instance"].item() == pytest.approx(wanted.item(), rel=1e-4)
    with pytest.raises(InputError, match="templates of all faces"):
        task(batch)


def test_the_task_loss_is_the_classifiers(batch):
    head = MarginHead(6, 3, create_margin("cosface"))
    task = method(head=head, identity=0.5, relation="pair", pair=0.0)
    features = features_of(task, batch)
    known = batch.label >= 0
    wanted = head(features[known], batch.label[known])
    losses = task(batch)
    assert losses["identity"].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert losses["loss"].item() == pytest.approx(0.5 * wanted.item(), rel=1e-4)


def test_really_masked_faces_are_completed_and_add_their_loss(batch):
    """Those are a batch of their own: what is said of the drawn ones does not change."""
    task = method().eval()
    without = task(batch)
    task.really_worn.real = PortraitLoss(F.normalize(torch.randn(3, 6)), RealOptions(trim=0))
    task.really_worn.unnamed = OtherViewLoss(
        F.normalize(torch.randn(len(batch), 6)), UnnamedOptions(trim=0)
    )
    real = replace(batch, label=torch.arange(len(batch)) % 3)
    found = task(replace(batch, real=real, unnamed=batch))
    worn = task.really_worn.real(task.student.features(batch.masked), real.label)["real"]
    views = (task.student.features(each) for each in (batch.clean, batch.masked))
    alike = task.really_worn.unnamed(*views, batch.index)["unnamed"]
    torch.testing.assert_close(found["loss"], without["loss"] + worn + alike)
    for name in ("instance", "pair", "triplet"):
        torch.testing.assert_close(found[name], without[name])


def learn(task, batch, steps=40):
    optimiser = torch.optim.Adam(task.groups()["main"], lr=1e-2)
    seen = []
    for _ in range(steps):
        losses = task(batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        seen.append(losses["loss"].item())
    return seen


def test_eight_faces_are_learned_and_only_the_recogniser_changes(batch):
    task = method()
    frozen = [task.network.region, task.network.generator, task.teacher]
    before = [copy.deepcopy(part.state_dict()) for part in frozen]
    seen = learn(task, batch)
    assert seen[-1] < 0.2 * seen[0]
    for part, old in zip(frozen, before, strict=True):
        assert all(torch.equal(part.state_dict()[name], tensor) for name, tensor in old.items())


def test_joint_training_moves_the_generator_towards_the_true_pixels(batch):
    task = method(joint=5.0)
    old = copy.deepcopy(task.network.generator.state_dict())
    first = task(batch)["joint"].item()
    learn(task, batch)
    assert task(batch)["joint"].item() < 0.9 * first
    new = task.network.generator.state_dict()
    assert any(not torch.equal(new[name], tensor) for name, tensor in old.items())


def test_each_weight_is_saved_once(batch):
    names = [name for name in method().state_dict() if not name.startswith("teacher")]
    assert {name.split(".")[0] for name in names} == {"student"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relation": "instance,quad"}, "'quad'"),
        ({"relation": ""}, "not all 0"),
        ({"pair": -1.0}, "must not be negative"),
        ({"joint": -1.0}, "must not be negative"),
    ],
)
def test_options_no_run_can_use(options, message):
    with pytest.raises(InputError, match=message):
        DeOcclusionOptions(**options)
