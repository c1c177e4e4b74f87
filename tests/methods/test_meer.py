"""MEER: its losses by hand, which phase trains what, its frozen teacher, and that it learns."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mfrkit.errors import InputError, ShapeError, WeightsError
from mfrkit.losses.image import critic_loss, dice_loss, masked_l1, pixel_loss
from mfrkit.losses.margin import MarginHead, create_margin
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.meer import Meer, MeerOptions, decorrelation
from mfrkit.methods.real_masks import PortraitLoss, RealOptions
from mfrkit.models import registry
from mfrkit.models.cards import ModelCard
from mfrkit.models.completion import composite, grown
from mfrkit.models.contextual import Critics
from mfrkit.models.meer import MARGIN, MeerNet
from mfrkit.models.recogniser import Backbone, Recogniser, Seen

SIDE, DIM = 16, 6


class TinyBackbone(Backbone):
    """Three maps and an embedding of 16x16 faces; a batch norm, so that modes matter."""

    channels = (4, 4, 6)

    def __init__(self):
        super().__init__()
        fine, middle, coarse = self.channels
        self.one = nn.Conv2d(3, fine, 3, 2, 1)
        self.two = nn.Conv2d(fine, middle, 3, 2, 1)
        self.norm = nn.BatchNorm2d(middle)
        self.three = nn.Conv2d(middle, coarse, 3, 2, 1)
        self.head = nn.Linear(coarse * (SIDE // 8) ** 2, DIM)

    def maps(self, faces):
        fine = F.elu(self.one(faces))
        middle = F.elu(self.norm(self.two(fine)))
        return [fine, middle, F.elu(self.three(middle))]

    def embed(self, coarse):
        return self.head(coarse.flatten(1))


class Eye(nn.Module):
    """Sees one map."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, faces):
        return Seen([self.layer(faces)], faces.mean((2, 3)))


@pytest.fixture(autouse=True)
def backbone(monkeypatch):
    monkeypatch.setitem(registry.ARCHITECTURES, "tiny", (__name__, "TinyBackbone"))


@pytest.fixture
def batch():
    """Six masked faces and two without mask."""
    torch.manual_seed(5)
    clean = F.interpolate(torch.rand(8, 3, 4, 4), SIDE, mode="bilinear")
    masked, region = clean.clone(), torch.zeros(8, 1, SIDE, SIDE)
    region[:6, :, 8:14, 4:12] = 1.0
    masked[:6, :, 8:14, 4:12] = 0.9
    return FaceBatch(masked, clean, region, torch.full((8,), -1), torch.arange(8))


def card(architecture):
    return ModelCard(
        name="tiny",
        task="recognition",
        architecture=architecture,
        input_size=(SIDE, SIDE),
        embedding_dim=DIM,
    )


def method(*, steps=100, teacher=None, head=None, **options):
    torch.manual_seed(0)
    chosen = MeerOptions(**{"adversarial": 0.0, **options})
    switches = {"decouple": chosen.decouple, "synthesise": chosen.synthesise}
    network = MeerNet("tiny", **switches)
    return Meer(
        student=Recogniser(network, card("meer")),
        teacher=teacher or Recogniser(TinyBackbone(), card("tiny")),
        head=head,
        projection=None,
        options=chosen,
        looker=Eye() if chosen.features else None,
        critics=Critics(SIDE, 4, spectral=True) if chosen.adversarial else None,
        steps=steps,
    ).train()


def at(task, step):
    task.done.fill_(step)
    return task


def train(task, batch, steps, lr=0.01):
    """Step as the loop does; returns the losses of every step, those of the critics aside."""
    optimisers = {n: torch.optim.AdamW(group, lr) for n, group in task.groups().items()}
    history = []
    for _ in range(steps):
        for name, losses in task.steps(batch):
            optimisers[name].zero_grad(set_to_none=True)
            losses["loss"].backward()
            optimisers[name].step()
        history.append({key: value.item() for key, value in losses.items()})
    return history


def test_recognition_and_mask_by_hand(batch):
    task = method(mask=3.0, decorrelation=0.5, parting=2.0)
    ((name, losses),) = task.steps(batch)
    with torch.no_grad():
        embedding, parts = task.network.identity(2 * batch.masked - 1)
        template = task.teacher(batch.clean)
        logits = task.network.region(parts)
    template_loss = (1 - F.cosine_similarity(embedding, template)).mean()
    mask = pixel_loss(logits, batch.region) + dice_loss(logits, batch.region)
    shared = decorrelation(parts.identity()[-1], parts.mask()[-1])[:6].mean()
    visible = 1 - 24 * 2 / SIDE**2 * 6 / 8  # of all places; the attention is 0.9 everywhere
    parting = -(visible * math.log(0.9) + (1 - visible) * math.log(0.1))
    wanted = template_loss + 3 * mask + 0.5 * shared + 2 * parting
    assert name == "main"
    assert losses["loss"].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert losses["covered"].item() == pytest.approx(0.9)
    assert losses["visible"].item() == pytest.approx(0.9)


def test_really_masked_faces_teach_recognition_alone(batch):
    task = method().eval()
    ((_, without),) = task.steps(batch)
    task.really_worn.real = PortraitLoss(F.normalize(torch.randn(3, 6)), RealOptions(trim=0))
    real = replace(batch, label=torch.arange(len(batch)) % 3)
    ((_, found),) = at(task, 0).steps(replace(batch, real=real))
    worn = task.really_worn.real(task.embed(batch.masked), real.label)["real"]
    torch.testing.assert_close(found["loss"], without["loss"] + worn)
    torch.testing.assert_close(found["mask"], without["mask"])


def test_drawing_by_hand(batch):
    weights = {"hole": 2.0, "known": 0.5, "features": 3.0, "preserving": 0.7}
    task = at(method(**weights, looked=1.0, decoder_from=0.0, joint_from=0.5), 10)
    nn.init.normal_(task.network.decoder.picture.weight, 0, 0.3)
    torch.manual_seed(3)
    ((_, losses),) = task.steps(batch)
    with torch.no_grad():
        parts = task.network.identity.decouple(2 * batch.masked - 1)
        hole = grown(batch.region, MARGIN)
        picture = task.network.draw(parts, batch.masked, hole)
        made = composite(picture, batch.masked, hole)
        torch.manual_seed(3)
        seen = task._look(made, batch.clean)
    assert seen["preserving"] > 0
    wanted = 2 * masked_l1(picture, batch.clean, hole) + 3 * seen["features"]
    wanted += 0.5 * masked_l1(picture, batch.clean, 1 - hole) + 0.7 * seen["preserving"]
    assert losses["loss"].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert not losses.keys() & {"template", "mask"}


def test_only_the_looked_at_share_is_looked_at(batch):
    task = at(method(looked=0.25, decoder_from=0.0), 1)
    looked = []
    task.looker.network.register_forward_hook(lambda m, i, o: looked.append(len(i[0])))
    list(task.steps(batch))
    assert looked == [2, 2]


def moved(task, before):
    """Names of the parts whose weights are not what they were."""
    state = task.state_dict()
    names = {name for name in before if not torch.equal(before[name], state[name])}
    return {".".join(name.split(".")[:3]) for name in names} - {"done"}


@pytest.mark.parametrize(
    ("step", "trained"),
    [
        (0, {"identity", "region"}),
        (40, {"decoder"}),
        (65, {"identity", "region", "decoder"}),
        (80, {"identity", "region", "decoder", "critics"}),
    ],
)
def test_phases_train_what_is_their_turn(batch, step, trained):
    """Frozen means frozen: weight decay and the norm's averages too."""
    task = at(method(adversarial=0.1), step)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    train(task, batch, 1)
    changed = {name.split(".")[0] for name in moved(task, before)}
    inside = {name.split(".")[2] for name in moved(task, before) if name.startswith("student")}
    assert inside | (changed & {"critics"}) == trained
    assert changed <= {"student", "critics"}
    assert int(task.done) == step + 1


def test_the_classifier_rests_with_the_recogniser(batch):
    """It must not only get no gradient: several processes would take that for a gradient of 0."""
    task = method(head=MarginHead(DIM, 3, create_margin("cosface")), identity=1.0)
    asked = []
    for step in (0, 40, 65):
        next(at(task, step).steps(batch))
        asked.append(task.head.weight.requires_grad)
    assert asked == [True, False, True]


def test_the_rate_falls_when_all_is_trained_together():
    task = method(joint_rate=0.25)
    assert [at(task, step).rate() for step in (0, 64, 65, 99)] == [1, 1, 0.25, 0.25]
    assert at(method(synthesise=False), 99).rate() == 1


def test_a_share_of_the_run_that_is_never_reached(batch):
    task = at(method(decoder_from=1.0, joint_from=1.0, critic_from=1.0), 99)
    ((_, losses),) = task.steps(batch)
    assert "template" in losses
    assert "hole" not in losses


def test_critics_judge_what_the_decoder_is_corrected_for(batch):
    task = at(method(adversarial=0.5, preserving=0.0, features=0.0), 90)
    critics = task.critics.eval()  # spectral norms hold still
    hole = grown(batch.region, MARGIN)
    with torch.no_grad():
        parts = task.network.identity.decouple(2 * batch.masked - 1)
        made = composite(task.network.draw(parts, batch.masked, hole), batch.masked, hole)
        scores = critics(batch.clean, hole), critics(made, hole)
    (who, judged), (main, losses) = task.steps(batch)
    assert (who, main) == ("critic", "main")
    assert judged["loss"].item() == pytest.approx(critic_loss(*scores, "hinge").item(), rel=1e-3)
    assert losses["adversarial"].item() == pytest.approx(-scores[1].mean().item(), rel=1e-3)
    assert all(p.requires_grad for p in critics.parameters())


def test_the_drawing_refines_the_recogniser(batch):
    """With no loss but the id-preserving one and pixels, gradients reach the backbone."""
    task = at(method(template=1e-9, mask=0.0, decorrelation=0.0, parting=0.0, preserving=1.0), 99)
    ((_, losses),) = task.steps(batch)
    losses["loss"].backward()
    assert task.network.identity.backbone.one.weight.grad.abs().sum() > 1e-6


def test_it_overfits_eight_faces_and_leaves_teacher_and_looker_alone(batch):
    task = method(steps=90, decorrelation=0.1, features=0.0, decoder_from=0.3, joint_from=0.7)
    fixed = {k: v.clone() for k, v in task.teacher.state_dict().items()}
    history = train(task, batch, 90, lr=0.003)
    first, last = history[0], history[-1]
    assert last["template"] < 0.1 * first["template"]
    assert last["mask"] < 0.25 * first["mask"]
    drawn = next(losses for losses in history if "hole" in losses)
    assert last["hole"] < 0.5 * drawn["hole"]
    assert last["decorrelation"] < first["decorrelation"]
    assert last["covered"] < last["visible"]
    after = task.teacher.state_dict()
    assert all(torch.equal(fixed[name], after[name]) for name in fixed)
    assert not set(task.groups()["main"]) & set(task.teacher.parameters())


@pytest.mark.parametrize("off", ["decouple", "synthesise"])
def test_parts_can_be_switched_off(batch, off):
    task = at(method(**{off: False}), 99)
    ((_, losses),) = task.steps(batch)
    losses["loss"].backward()
    assert ("hole" in losses) == (off != "synthesise")
    assert ("decorrelation" in losses) == (off != "decouple")
    assert task.network.region.last.weight.grad.abs().sum() > 0


def test_half_precision_keeps_losses_full(batch):
    task = at(method(), 99)
    with torch.autocast("cpu", torch.bfloat16):
        ((_, losses),) = task.steps(batch)
    assert losses["loss"].dtype == torch.float32
    ((_, full),) = at(task, 99).steps(batch)
    assert losses["template"].item() == pytest.approx(full["template"].item(), rel=0.1)


def test_nonsense_from_the_teacher_stops(batch):
    teacher = Recogniser(TinyBackbone(), card("tiny"))
    with torch.no_grad():
        teacher.network.head.weight.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        list(method(teacher=teacher).steps(batch))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask": -1.0},
        {"hole": 0.0},
        {"looked": 0.0},
        {"joint_rate": 0.0},
        {"decoder_from": 0.7},
        {"critic_from": 0.1},
        {"joint_from": 1.1, "critic_from": 1.2},
        {"template": -1.0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError, match="method"):
        MeerOptions(**wrong)


def test_the_angle_between_means_by_hand():
    """Means (2, 1) and (0, 3): the cosine is 3 / (sqrt(5) * 3)."""
    one = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
    other = torch.tensor([[[[5.0, -5.0]], [[2.0, 4.0]]]])
    assert decorrelation(one, other).item() == pytest.approx(5**-0.5)
    assert decorrelation(one, -other).item() == pytest.approx(5**-0.5)
    assert decorrelation(one, 7 * one).item() == pytest.approx(1)


def test_a_part_that_is_empty_has_nothing_in_common():
    empty = torch.zeros(1, 2, 1, 2, requires_grad=True)
    loss = decorrelation(torch.ones(1, 2, 1, 2), empty)
    loss.sum().backward()
    assert loss.item() == 0
    assert empty.grad.isfinite().all()


def test_parts_of_different_shape():
    with pytest.raises(ShapeError, match="parts differ"):
        decorrelation(torch.ones(1, 2, 1, 2), torch.ones(1, 2, 2, 2))
