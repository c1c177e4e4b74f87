"""The self-restrained triplet loss, by hand."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mfrkit.errors import InputError, ShapeError
from mfrkit.methods.eum import Eum, EumOptions, TemplateBatch, others, self_restrained_triplet
from mfrkit.models.unmasking import EmbeddingUnmasker


def at(*degrees):
    """Unit vectors in the plane; two of them at an angle t are 2 - 2 cos t apart, squared."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def squared(degrees):
    return 2 - 2 * math.cos(math.radians(degrees))


def test_anchors_too_near_to_others_are_pushed():
    """d2 (60, 80 degrees) is on average below d3 (90, 120): the plain triplet loss, row by row."""
    got = self_restrained_triplet(at(30, 40), at(0, 0), at(90, 120), margin=2)
    wanted = [squared(30) - squared(60) + 2, squared(40) - squared(80) + 2]
    assert got.tolist() == pytest.approx(wanted, abs=1e-6)


def test_anchors_far_from_others_are_only_pulled():
    """d2 (120, 100 degrees) is above d3 (90, 90): mean d3 = 2 takes its place, without gradient."""
    anchor = at(-30, -10).requires_grad_()
    got = self_restrained_triplet(anchor, at(0, 0), at(90, 90), margin=2)
    assert got.tolist() == pytest.approx([squared(30), squared(10)], abs=1e-6)
    got.sum().backward()
    elsewhere = at(-30, -10).requires_grad_()
    (2 - 2 * (elsewhere * at(0, 0)).sum(1) / elsewhere.norm(dim=1)).sum().backward()
    torch.testing.assert_close(anchor.grad, elsewhere.grad)


def test_the_means_decide_not_the_rows():
    """One anchor is nearer to its negative (80 degrees), the mean of d2 is above that of d3."""
    got = self_restrained_triplet(at(10, -60), at(0, 0), at(90, 90), margin=2)
    assert got.tolist() == pytest.approx([squared(10), squared(60)], abs=1e-6)


def test_a_small_margin_lets_good_triplets_rest():
    got = self_restrained_triplet(at(-30, -10), at(0, 0), at(90, 90), margin=1)
    assert got.tolist() == [0, 0]


def test_lengths_do_not_matter_and_only_the_anchor_learns():
    a, p, n = (at(30, 40).requires_grad_(), at(0, 0).requires_grad_(), at(90, 120).requires_grad_())
    plain = self_restrained_triplet(a, p, n)
    scaled = self_restrained_triplet(3 * a, 0.2 * p, 7 * n)
    torch.testing.assert_close(plain, scaled)
    plain.sum().backward()
    assert a.grad.abs().sum() > 0
    assert p.grad is None
    assert n.grad is None


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match="differ in shape"):
        self_restrained_triplet(at(1), at(1, 2), at(1))


DIM = 24


def a_batch(people=16):
    """Each person without and with a mask; the mask hides a third of the values."""
    bare = F.normalize(torch.randn(people, DIM))
    masked = bare.clone()
    masked[:, : DIM // 3] = 0.4
    label = torch.arange(people).repeat(2)
    return TemplateBatch(
        template=F.normalize(torch.cat([masked, bare])),
        target=torch.cat([bare, bare]),
        worn=torch.arange(2 * people) < people,
        label=label,
    )


def test_an_untrained_network_changes_nothing():
    batch = a_batch()
    made = EmbeddingUnmasker(DIM, 40).eval()(3 * batch.template)
    torch.testing.assert_close(made, batch.template, atol=1e-6, rtol=1e-6)


def test_the_network_has_the_layers_of_the_paper():
    """Four layers of D x D weights, each with the two vectors of batch norm."""
    count = sum(p.numel() for p in EmbeddingUnmasker(DIM, DIM).parameters())
    assert count == 4 * (DIM * DIM + 2 * DIM)


def test_it_overfits_a_few_people():
    torch.manual_seed(0)
    batch = a_batch()
    task = Eum(EmbeddingUnmasker(DIM, 64), EumOptions()).train()
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    first = task(batch)
    for _ in range(60):
        losses = task(batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    assert float(losses["masked"]) < 0.1 * float(first["masked"])
    assert float(losses["unmasked"]) < 0.02


def test_the_loss_is_the_weighted_mean_of_its_terms():
    """An untrained network: masked rows are far from their targets, the others are there."""
    torch.manual_seed(1)
    batch, network = a_batch(4), EmbeddingUnmasker(DIM, DIM)
    options = EumOptions(triplet=0.5, template=2.0, unmasked=0.25)
    with torch.no_grad():
        losses = Eum(network, options)(batch)
    distance = 1 - (batch.template * batch.target).sum(1)
    wanted = distance[:4].sum() / (4 + 4 * 0.25)  # the other four have none
    assert float(losses["template"]) == pytest.approx(float(wanted), abs=1e-5)
    assert float(losses["masked"]) == pytest.approx(float(distance[:4].mean()), abs=1e-5)
    assert float(losses["unmasked"]) == pytest.approx(0, abs=1e-5)
    total = 0.5 * losses["triplet"] + 2 * losses["template"]
    assert float(losses["loss"]) == pytest.approx(float(total), abs=1e-5)


def test_two_people_have_only_each_other():
    """With one negative to choose the triplet term is known: no chance is left in it."""
    batch = a_batch(2)
    with torch.no_grad():
        losses = Eum(EmbeddingUnmasker(DIM, DIM), EumOptions())(batch)
    negative = batch.target[[1, 0, 3, 2]]
    wanted = self_restrained_triplet(batch.template, batch.target, negative).mean()
    assert float(losses["loss"]) == pytest.approx(float(wanted), abs=1e-5)


def test_others_are_others():
    templates = torch.arange(6.0)[:, None]
    label = torch.tensor([0, 0, 1, 1, -1, -1])
    seen = [set() for _ in label]
    for _ in range(60):
        found, usable = others(templates, label)
        assert usable.all()
        for who, value in zip(seen, found[:, 0].tolist(), strict=True):
            who.add(int(value))
    assert seen[0] == {2, 3, 4, 5}
    assert seen[3] == {0, 1, 4, 5}
    assert seen[4] == {0, 1, 2, 3, 5}


def test_a_batch_of_one_person_has_no_triplets():
    batch = a_batch(3)
    alone = replace(batch, label=torch.zeros(6).long())
    losses = Eum(EmbeddingUnmasker(DIM, DIM), EumOptions())(alone)
    losses["loss"].backward()
    assert float(losses["loss"].detach()) == 0
    assert math.isfinite(float(losses["masked"]))


@pytest.mark.parametrize(
    "wrong", [{"versions": 0}, {"layers": 1}, {"triplet": 0.0}, {"margin": 5.0}, {"unmasked": -1.0}]
)
def test_options_no_run_can_use(wrong):
    with pytest.raises(InputError, match="method"):
        EumOptions(**wrong)
