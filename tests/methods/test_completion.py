"""Free-form holes: of every size, reproducible, inside the picture."""

import numpy as np
import pytest
import torch
from torch import nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.completion import CompletionOptions, FaceCompletion, draw_strokes, with_holes
from mfrkit.models.completion import Completion, SmallCompletion
from mfrkit.models.contextual import Critics
from mfrkit.models.recogniser import Seen


def test_holes_are_reproducible_and_differ():
    one, again, two = (draw_strokes(np.random.default_rng(s), (112, 112)) for s in (3, 3, 4))
    assert (one == again).all()
    assert (one != two).any()
    assert one.shape == (112, 112)
    assert one.dtype == np.float32


def test_holes_cover_some_but_not_all():
    shares = [draw_strokes(np.random.default_rng(s), (96, 64)).mean() for s in range(60)]
    assert min(shares) > 0.005
    assert max(shares) < 0.85
    assert 0.1 < np.mean(shares) < 0.45
    assert np.std(shares) > 0.05


SIDE = 32


class Painter(Completion):
    """Draws one colour, after a sketch in another."""

    def __init__(self):
        super().__init__(margin=1, multiple=1)
        self.colour = nn.Parameter(torch.tensor(0.75))

    def pictures(self, faces, hole):
        return [torch.full_like(faces, 0.25), self.colour.expand_as(faces)]


class Eye(nn.Module):
    """Sees two maps and an embedding."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.name = nn.Linear(4 * (SIDE // 4) ** 2, 6)
        self.looked = []

    def forward(self, faces):
        self.looked.append(len(faces))
        one = self.first(faces)
        two = self.second(one.relu())
        return Seen([one, two], nn.functional.normalize(self.name(two.flatten(1))))


@pytest.fixture
def batch():
    torch.manual_seed(5)
    clean = nn.functional.interpolate(torch.rand(8, 3, 4, 4), SIDE, mode="bilinear")
    masked, region = clean.clone(), torch.zeros(8, 1, SIDE, SIDE)
    region[:6, :, 16:28, 8:24] = 1.0
    masked[:6, :, 16:28, 8:24] = 0.9
    label = torch.full((8,), -1)
    return FaceBatch(masked, clean, region, label, torch.arange(8))


def method(*, generator=None, start=0, eye=None, **options):
    torch.manual_seed(0)
    options = {"features": 0.0, "identity": 0.0, "adversarial": 0.0, **options}
    chosen = CompletionOptions(**options)
    spectral = chosen.game == "hinge"
    return FaceCompletion(
        generator=generator or SmallCompletion((8, 8, 16, 16), heads=2),
        critics=Critics(SIDE, 4, spectral=spectral) if chosen.adversarial else None,
        looker=(eye or Eye()) if chosen.looks else None,
        options=chosen,
        critic_start=start,
    ).train()


def test_pixels_by_hand(batch):
    """Six grown squares of 14 by 18 pixels, two pictures, the sketch counts 1.5 times."""
    batch = FaceBatch(
        *(getattr(batch, n)[:6] for n in ("masked", "clean", "region", "label")), None
    )
    task = method(generator=Painter(), hole=2.0, known=0.5, sketch=1.5)
    ((name, losses),) = task.steps(batch)
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[15:29, 7:25] = True
    final, sketch = ((batch.clean - colour).abs().mean(1) for colour in (0.75, 0.25))
    hole = final[:, inside].mean() + 1.5 * sketch[:, inside].mean()
    known = final[:, ~inside].mean() + 1.5 * sketch[:, ~inside].mean()
    assert name == "main"
    assert losses["loss"].item() == pytest.approx((2 * hole + 0.5 * known).item(), rel=1e-5)


def test_critics_join_late_and_move_first(batch):
    task = method(adversarial=0.1, critic_steps=2, start=1)
    turns = [[name for name, _ in task.steps(batch)] for _ in range(2)]
    assert turns == [["main"], ["critic", "critic", "main"]]
    assert int(task.done) == 2
    assert set(task.groups()) == {"main", "critic"}
    assert set(method().groups()) == {"main"}


def test_each_side_learns_from_its_own_loss_alone(batch):
    task = method(adversarial=0.1)
    for name, losses in task.steps(batch):
        task.zero_grad(set_to_none=True)
        losses["loss"].backward()
        moved = {
            side: any(p.grad is not None for p in parameters)
            for side, parameters in task.groups().items()
        }
        assert moved == {"main": name == "main", "critic": name == "critic"}
    assert all(p.requires_grad for p in task.critics.parameters())


def test_critics_see_composites(batch):
    task, seen = method(generator=Painter(), adversarial=0.1), []
    task.critics.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    list(task.steps(batch))
    (true, _), (made, hole), (again, _) = seen
    assert torch.equal(true, batch.clean)
    assert torch.equal(made, again)
    outside = (hole == 0).expand_as(made)
    assert torch.equal(made[outside], batch.masked[outside])
    assert (made[~outside] == 0.75).all()


def test_wasserstein_penalty_is_both_critics(batch):
    task = method(adversarial=0.1, game="wasserstein", penalty=3.0)
    (_, losses), _ = task.steps(batch)
    difference = losses["made"] - losses["true"]
    assert losses["loss"].item() == pytest.approx((difference + 3 * losses["penalty"]).item())
    losses["loss"].backward()
    assert all(p.grad.isfinite().all() for p in task.critics.parameters())


def test_the_looker_sees_a_share_and_never_learns(batch):
    eye = Eye()
    task = method(eye=eye, features=1.0, identity=1.0, style=1.0, looked=0.25)
    before = {k: v.clone() for k, v in eye.state_dict().items()}
    ((_, losses),) = task.steps(batch)
    losses["loss"].backward()
    assert eye.looked == [2, 2]
    assert {"identity", "features", "style"} <= losses.keys()
    assert all(p.grad is None for p in eye.parameters())
    assert all(torch.equal(before[k], v) for k, v in eye.state_dict().items())
    with torch.no_grad():
        eye.name.weight.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        list(task.steps(batch))


def test_bare_faces_get_a_hole(batch):
    torch.manual_seed(1)
    holed = with_holes(batch)
    torch.manual_seed(1)
    again = with_holes(batch)
    assert torch.equal(holed.region, again.region)
    assert torch.equal(holed.region[:6], batch.region[:6])
    assert (holed.region[6:].sum((1, 2, 3)) > 0).all()
    assert batch.region[6:].sum() == 0
    assert torch.equal(holed.masked, batch.masked)


@pytest.mark.parametrize("game", ["hinge", "wasserstein"])
def test_it_overfits_eight_faces(batch, game):
    torch.manual_seed(2)
    batch = with_holes(batch)
    task = method(adversarial=0.01, start=15, features=0.1, identity=0.1, game=game, known=0.0)
    optimisers = {name: torch.optim.Adam(p, 5e-3) for name, p in task.groups().items()}
    first = None
    for _ in range(60):
        for name, losses in task.steps(batch):
            optimisers[name].zero_grad()
            losses["loss"].backward()
            optimisers[name].step()
        first = first or losses["hole"].item()
    assert losses["hole"].item() < 0.4 * first


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": -1.0},
        {"hole": 0.0},
        {"border": 1.5},
        {"looked": 0.0},
        {"critic_from": 1.0},
        {"critic_steps": 0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError, match="method"):
        CompletionOptions(**wrong)
