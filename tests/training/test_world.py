"""Two processes learn what one does, and either goes on with the other's checkpoint."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mfrkit.console import Console
from mfrkit.losses.margin import MarginHead, create_margin
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.base import FaceBatch, Task
from mfrkit.methods.views import ViewOptions
from mfrkit.training.data import Batches, open_train_set
from mfrkit.training.fit import FitParts, fit
from mfrkit.training.settings import FitOptions
from mfrkit.training.world import World

STEPS, CLASSES = 4, 5
LAST = f"checkpoint-{STEPS:08d}.pt"
OPTIONS = FitOptions(
    steps=STEPS, batch_size=4, lr=1e-2, warmup=2, ema=0.5, log_every=1, save_every=1, keep=STEPS
)


class Classifier(Task):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.student = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(147, 6))
        self.head = MarginHead(6, CLASSES, create_margin("arcface"), 8.0)

    def forward(self, batch):
        return {"loss": self.head(self.student(batch.masked), batch.label)}


def train(crops, folder, world, *, resume=False):
    batches = Batches(
        open_train_set([str(crops)]),
        size=(112, 112),
        views=ViewOptions(),
        masks=MaskOptions(),
        seed=0,
        batch_size=4,
        rank=world.rank,
        world=world.size,
    )

    def show(raw):
        faces = raw.crops / 255
        return FaceBatch(faces, faces, torch.zeros_like(faces[:, :1]), raw.label, raw.index)

    folder.mkdir(exist_ok=True)
    parts = FitParts(
        task=Classifier(),
        batches=batches,
        show=show,
        folder=folder,
        device=torch.device("cpu"),
        workers=1,
    )
    fit(parts, OPTIONS, Console(-1), world, resume=resume)


def one_of_two(rank, crops, folder):
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    train(crops, folder / "two", World(rank, 2))
    train(crops, folder / "one, then two", World(rank, 2), resume=True)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, shared_noise_crops):
    """Four runs: one process, two, and each going on with the other's second checkpoint."""
    folder = tmp_path_factory.mktemp("runs")
    crops = shared_noise_crops

    def hand_over(source, target):
        (folder / target).mkdir()
        shutil.copy(folder / source / "checkpoint-00000002.pt", folder / target)

    train(crops, folder / "one", World())
    hand_over("one", "one, then two")
    torch.multiprocessing.spawn(one_of_two, (crops, folder), nprocs=2)
    hand_over("two", "two, then one")
    train(crops, folder / "two, then one", World(), resume=True)
    return folder


def checkpoint(folder: Path):
    return torch.load(folder / LAST, weights_only=True)


def losses(folder: Path):
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.parametrize("name", ["two", "one, then two", "two, then one"])
def test_the_number_of_processes_does_not_matter(runs, name):
    wanted, found = checkpoint(runs / "one"), checkpoint(runs / name)
    assert found["task"]["head.weight"].shape == (CLASSES, 6)
    assert found["step"] == wanted["step"] == STEPS
    torch.testing.assert_close(found["task"], wanted["task"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["average"], wanted["average"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        found["optimisers"]["main"]["state"],
        wanted["optimisers"]["main"]["state"],
        atol=1e-6,
        rtol=1e-3,
    )
    curve = losses(runs / "one")
    assert losses(runs / name) == pytest.approx(curve[-len(losses(runs / name)) :], rel=1e-4)


def test_training_moved_every_row_of_the_classifier(runs):
    moved = checkpoint(runs / "two")["task"]["head.weight"] - Classifier().head.weight
    assert (moved.abs().amax(1) > 1e-3).all()
