"""The sharded and sampled classifier against the whole one, in one process and in two."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from mfrkit.errors import InputError
from mfrkit.losses.margin import Elastic, MarginHead, create_margin
from mfrkit.losses.partial import PartialHead, shard

DIM, CLASSES = 6, 7
MARGINS = ("softmax", "arcface", "cosface", "adaface", "magface")
# Processes with batches of different length, and faces nobody knows.
LABELS = (torch.tensor([0, 6, -1, 3, 6]), torch.tensor([-1, 2, 3]))
NOBODY = (torch.tensor([-1, -1]), torch.tensor([-1]))


def features(rank, label):
    return 20 * torch.randn(len(label), DIM, generator=torch.Generator().manual_seed(rank))


def weight():
    return torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(9))


def head(margin, kind=MarginHead, **options):
    torch.manual_seed(0)
    return kind(DIM, CLASSES, create_margin(margin), 8.0, **options)


def backward(made, faces, label):
    faces = faces.requires_grad_()
    loss = made(faces, label)
    loss.backward()
    return {"loss": loss.detach(), "faces": faces.grad, "weight": made.weight.grad}


def whole(margin, labels):
    made = head(margin)
    made.weight.data = weight()
    faces = torch.cat([features(rank, label) for rank, label in enumerate(labels)])
    return backward(made, faces, torch.cat(labels))


def one_of_two(rank, folder):
    """What each of two processes does: every case, its results into a file."""
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    results = {"start": head("softmax", PartialHead, rank=rank, world=2).weight.detach()}
    for margin in (*MARGINS, "elastic-arc+"):
        for case, labels in (("some", LABELS), ("nobody", NOBODY)):
            made = head(margin, PartialHead, rank=rank, world=2)
            made.weight.data = weight()[slice(*shard(CLASSES, rank, 2))]
            found = backward(made, features(rank, labels[rank]), labels[rank])
            results[margin, case] = found
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("labels", [LABELS, NOBODY], ids=["some", "nobody"])
def test_two_processes_give_the_loss_and_gradients_of_one(two, margin, labels):
    case = "some" if labels is LABELS else "nobody"
    wanted, found = whole(margin, labels), [each[margin, case] for each in two]
    assert found[0]["loss"] == found[1]["loss"]
    torch.testing.assert_close(found[0]["loss"], wanted["loss"])
    # The loop takes the mean over processes of what all of them find, so each holds twice its part.
    for name in ("faces", "weight"):
        joined = torch.cat([each[name] for each in found]) / 2
        torch.testing.assert_close(joined, wanted[name], atol=1e-6, rtol=1e-5)
    if case == "some":
        assert all(each["weight"].any() for each in found)


def test_a_drawn_margin_is_the_same_in_all_processes(two):
    assert two[0]["elastic-arc+", "some"]["loss"] == two[1]["elastic-arc+", "some"]["loss"]


def test_weights_start_as_those_of_one_process(two):
    started = torch.cat([each["start"] for each in two])
    assert torch.equal(started, head("softmax", PartialHead).weight)


@pytest.mark.parametrize("margin", MARGINS)
def test_alone_and_whole_it_is_the_margin_head(margin):
    made = head(margin, PartialHead)
    made.weight.data = weight()
    found = backward(made, features(0, LABELS[0]), LABELS[0])
    wanted = whole(margin, LABELS[:1])
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-6, rtol=1e-5)


def test_a_sample_holds_all_identities_of_the_step_and_its_share_of_the_others():
    torch.manual_seed(0)
    made = PartialHead(DIM, 100, create_margin("arcface"), sample=0.1)
    label = torch.tensor([3, 98, 3, 50])
    seen = torch.zeros(100)
    for _ in range(50):
        rows, place, mine = made._rows(label)
        assert len(rows) == 10
        assert rows[place].tolist() == label.tolist()
        assert mine.all()
        seen[rows] += 1
    assert (seen[[3, 50, 98]] == 50).all()
    assert (seen > 0).sum() > 90
    crowded = made._rows(torch.arange(20, 60))[0]
    assert crowded.tolist() == list(range(20, 60))


def test_a_sampled_loss_is_the_softmax_over_the_sample():
    torch.manual_seed(0)
    made = PartialHead(DIM, 50, create_margin("cosface"), 8.0, sample=0.2)
    label = torch.tensor([7, 31])
    faces = features(0, label)
    torch.manual_seed(4)
    found = backward(made, faces, label)
    torch.manual_seed(4)
    rows, place, _ = made._rows(label)
    cosines = F.normalize(faces) @ F.normalize(made.weight.detach()[rows]).T
    cosines[[0, 1], place] -= 0.35
    torch.testing.assert_close(found["loss"], F.cross_entropy(8 * cosines.detach(), place))
    touched = found["weight"].abs().sum(1).nonzero()[:, 0]
    assert touched.tolist() == rows.tolist()


def test_a_sample_learns_to_tell_people_apart():
    torch.manual_seed(0)
    made = PartialHead(8, 20, Elastic(0.2, 0.02), 16.0, sample=0.3)
    faces = torch.nn.Parameter(torch.randn(20, 8))
    label = torch.arange(20)
    optimiser = torch.optim.Adam([faces, *made.parameters()], 0.1)
    for step in range(120):
        some = slice(step % 4 * 5, step % 4 * 5 + 5)
        optimiser.zero_grad()
        made(faces[some], label[some]).backward()
        optimiser.step()
    assert ((F.normalize(faces) @ F.normalize(made.weight).T).argmax(1) == label).all()


def test_fewer_identities_than_processes_are_refused():
    with pytest.raises(InputError, match="2 identities cannot be dealt out to 3 processes"):
        PartialHead(DIM, 2, create_margin("arcface"), world=3)
