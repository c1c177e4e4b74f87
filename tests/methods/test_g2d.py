"""G2D's phases: losses by hand, what is frozen stays as it is, and that they learn."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.losses.margin import MarginHead, create_margin
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.g2d import (
    ClassifierOptions,
    FeatureClassification,
    ReformerOptions,
    RelationReforming,
)
from mfrkit.models.cards import ModelCard
from mfrkit.models.g2d import GenerativeRecogniser
from mfrkit.models.recogniser import Recogniser

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "input_size": (32, 32)}
REGION = ModelCard(name="r", task="region", architecture="region", input_size=(32, 32)).to_json()


def student(people=(), scale=0.0):
    torch.manual_seed(0)
    network = GenerativeRecogniser(
        region=REGION,
        generator={
            "architecture": "completion-small",
            "arguments": {"widths": (8, 8, 16, 16), "heads": 2},
        },
        descriptor="rise_4",
        reformer="resnet22",
        widths=(8, 8, 8, 16),
        embedding_dim=6,
        people=people,
        scale=scale,
    )
    card = ModelCard(
        name="s", task="recognition", architecture="generative", embedding_dim=6, **PLAIN
    )
    return Recogniser(network, card)


def teacher():
    torch.manual_seed(1)
    card = ModelCard(name="t", task="recognition", architecture="", embedding_dim=6, **PLAIN)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 6)
    )
    return Recogniser(network, card)


class Gives(Recogniser):
    """A student whose embeddings are known beforehand."""

    def __init__(self, rows):
        inner = student(people=["a", "b"])
        super().__init__(inner.network, inner.card)
        self.rows = nn.Parameter(torch.tensor(rows))

    def features(self, faces):
        return self.rows


@pytest.fixture
def batch():
    torch.manual_seed(5)
    clean = torch.rand(8, 3, 32, 32)
    masked, region = clean.clone(), torch.zeros(8, 1, 32, 32)
    masked[:5, :, 16:] = 0.5
    region[:5, :, 16:] = 1.0
    label = torch.tensor([0, 1, 2, 0, 1, -1, -1, 2])
    return FaceBatch(masked, clean, region, label, torch.arange(8))


def three(rows, template, label=(-1, -1, -1)):
    """Three faces, the first of them masked, whose teacher's templates are known."""
    faces, region = torch.zeros(3, 3, 32, 32), torch.zeros(3, 1, 32, 32)
    region[0] = 1.0
    template = torch.tensor(template)
    made = FaceBatch(faces, faces, region, torch.tensor(label), torch.arange(3), template, template)
    return Gives(rows), made


def test_relations_are_those_worked_by_hand():
    """Student: the corners (0, 0), (4, 0), (0, 3). Teacher: an equilateral triangle."""
    height = math.sqrt(3) / 2
    corners = [[1.0, 1.0], [5.0, 1.0], [1.0, 4.0]]
    template = [[1.0, 0.0], [-0.5, height], [-0.5, -height]]
    model, batch = three(corners, template)
    options = ReformerOptions(instance=3.0, pair=5.0, triplet=7.0)
    losses = RelationReforming(student=model, teacher=teacher(), options=options)(batch)
    cosines = [
        (a * c + b * d) / math.hypot(a, b) for (a, b), (c, d) in zip(corners, template, strict=True)
    ]
    instance = sum(1 - c for c in cosines) / 3
    # Sides 4, 3 and 5 are 1, 3/4 and 5/4 of their mean, all of the teacher's are 1; of nine pairs
    # two have each side, three are a face with itself.
    pair = 2 * (0.25**2 / 2 + 0.25**2 / 2) / 9
    # Cosines 0, 4/5 and 3/5 against 1/2 three times; each angle is read in both directions.
    triplet = 2 * (0.5**2 + 0.3**2 + 0.1**2) / 2 / 27
    assert losses["instance"].item() == pytest.approx(instance, rel=1e-5)
    assert losses["pair"].item() == pytest.approx(pair, rel=1e-4)
    assert losses["triplet"].item() == pytest.approx(triplet, rel=1e-4)
    assert losses["masked"].item() == pytest.approx(1 - cosines[0], rel=1e-5)
    assert losses["unmasked"].item() == pytest.approx(1 - sum(cosines[1:]) / 2, rel=1e-5)
    total = 3 * instance + 5 * pair + 7 * triplet
    assert losses["loss"].item() == pytest.approx(total, rel=1e-4)


def test_the_classifier_is_softmax_over_unit_vectors():
    model, batch = three([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], [[1.0, 0.0]] * 3, (1, 0, -1))
    model.network.classifier = nn.Linear(2, 2)
    with torch.no_grad():
        model.network.classifier.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        model.network.classifier.bias.copy_(torch.tensor([0.0, 0.5]))
    losses = FeatureClassification(student=model, head=None, tune=False)(batch)
    scores = [(0.6, 2.1, 1), (0.0, 2.5, 0)]  # who it is last; the third is unknown
    wanted = [math.log(math.exp(a) + math.exp(b)) - (a, b)[who] for a, b, who in scores]
    assert losses["loss"].item() == pytest.approx(sum(wanted) / 2, rel=1e-5)
    assert losses["correct"].item() == 0.5


def test_nobody_known_is_no_loss():
    model, batch = three([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], [[1.0, 0.0]] * 3)
    model.network.classifier = nn.Linear(2, 2)
    losses = FeatureClassification(student=model, head=None, tune=False)(batch)
    losses["loss"].backward()
    assert losses["loss"].item() == 0


def test_a_margin_trains_the_classifier_itself(batch):
    model = student(people=["a", "b", "c"], scale=16.0)
    head = MarginHead(6, 3, create_margin("cosface"), 16.0)
    task = FeatureClassification(student=model, head=head, tune=False).train()
    losses = task(batch)
    known = batch.label >= 0
    features = model.features(batch.masked[known])
    cosines = (
        nn.functional.normalize(features)
        @ nn.functional.normalize(model.network.classifier.weight).T
    )
    margin = 0.35 * nn.functional.one_hot(batch.label[known], 3)
    wanted = nn.functional.cross_entropy(16 * (cosines - margin), batch.label[known])
    assert losses["loss"].item() == pytest.approx(wanted.item(), rel=1e-4)
    losses["loss"].backward()
    assert model.network.classifier.weight.grad.abs().sum() > 0


def learn(task, batch, rate, steps):
    task.train()
    optimiser = torch.optim.AdamW(task.groups()["main"], lr=rate)
    losses = []
    for _ in range(steps):
        made = task(batch)
        optimiser.zero_grad()
        made["loss"].backward()
        optimiser.step()
        losses.append(made["loss"].item())
    return losses


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before, module):
    after = module.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_eight_faces_are_learnt_by_the_reformer_alone(batch):
    task = RelationReforming(student=student(), teacher=teacher(), options=ReformerOptions())
    before = state(task)
    losses = learn(task, batch, 1e-2, 40)
    assert losses[-1] < 0.2 * losses[0]
    moved = changed(before, task)
    assert moved
    assert all(name.startswith("student.network.reformer.") for name in moved)
    assert not task.teacher.training


def test_eight_faces_are_named_by_the_classifier_alone(batch):
    """Even an untrained recogniser tells colours apart, once its constant part is gone."""
    colours = torch.eye(3)[batch.label.clamp_min(0)].view(8, 3, 1, 1)
    batch = replace(batch, masked=0.1 * batch.masked + 0.8 * colours)
    model = student(people=["a", "b", "c"])
    nn.init.zeros_(model.network.reformer.fc.bias)
    task = FeatureClassification(student=model, head=None, tune=False)
    before = state(task)
    losses = learn(task, batch, 2.0, 30)
    assert losses[-1] < 0.3 * losses[0]
    assert task(batch)["correct"] == 1
    assert changed(before, task) == {
        "student.network.classifier.weight",
        "student.network.classifier.bias",
    }


def test_all_but_the_region_predictor_may_follow(batch):
    task = FeatureClassification(student=student(people=["a", "b", "c"]), head=None, tune=True)
    before = state(task)
    learn(task, batch, 1e-3, 2)
    moved = {name.split(".")[2] for name in changed(before, task)}
    assert moved == {"encoder", "reformer", "classifier"}


def test_a_teacher_that_gives_nonsense_is_refused(batch):
    task = RelationReforming(student=student(), teacher=teacher(), options=ReformerOptions())
    broken = torch.full((8, 6), torch.nan)
    with pytest.raises(WeightsError):
        task(replace(batch, template=broken, centre=broken))


@pytest.mark.parametrize(
    "wrong",
    [
        {"widths": (8, 8, 8)},
        {"widths": (8, 8, 8, 0)},
        {"pair": -1.0},
        {"instance": 0.0, "pair": 0.0, "triplet": 0.0},
    ],
)
def test_options_that_make_no_sense(wrong):
    with pytest.raises(InputError, match=r"method\.widths|method weights"):
        ReformerOptions(**wrong)
    with pytest.raises(InputError, match=r"method\.scale"):
        ClassifierOptions(scale=0.0)
