"""How `distill` puts MEER together, and that two processes train it as one does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.base import FaceBatch
from mfrkit.methods.meer import Meer, MeerOptions
from mfrkit.methods.method import MethodParts, ModelOptions, Teachers
from mfrkit.methods.views import ViewOptions
from mfrkit.models.cards import ModelCard
from mfrkit.models.contextual import Critics
from mfrkit.models.loading import load_recogniser
from mfrkit.models.meer import MeerNet
from mfrkit.models.recogniser import Backbone, Recogniser
from mfrkit.models.registry import ARCHITECTURES, save_network
from mfrkit.training.data import Batches, open_train_set
from mfrkit.training.distill import find_method, resolve
from mfrkit.training.fit import FitParts, fit
from mfrkit.training.options import DistillRequest
from mfrkit.training.settings import FitOptions
from mfrkit.training.world import World

STEPS, SIDE, DIM = 4, 16, 6
METHOD = find_method("meer")
EXAMPLE = Path(__file__).parents[2] / "examples" / "meer.toml"


def request(**options):
    return DistillRequest(data=("crops",), output=Path("x.safetensors"), method="meer", **options)


@pytest.mark.parametrize("preset", METHOD.presets)
def test_presets_resolve_and_compare_pixels(preset):
    settings = resolve(request(preset=preset))
    for name in ("rotation", "scale", "shift", "blur"):
        assert getattr(settings.views, name) == 0
    assert 0 < settings.method.decoder_from < settings.method.joint_from < 1


def test_the_paper_s_shape():
    settings = resolve(request(preset="paper"))
    assert (settings.model.student, settings.method.margin) == ("iresnet50", "cosface")
    assert settings.method.joint_rate == 0.1
    assert settings.method.identity > 0


def test_the_example_resolves():
    settings = resolve(request(config=EXAMPLE))
    assert settings.method.synthesise
    assert settings.fit.steps > 0


@pytest.fixture(scope="module")
def teacher():
    return load_recogniser("arcface")


def parts(student, teacher, **views):
    return MethodParts(
        student=student,
        teachers=Teachers([teacher]),
        people=(),
        templates_known=False,
        recognisers=[teacher],
        views=replace(ViewOptions(), **views),
        steps=10,
    )


def test_a_student_round_its_teacher(teacher):
    """Other branches leave the embeddings as they are, and the card says what the file can do."""
    student = METHOD.student(ModelOptions(), MeerOptions(), teacher)
    faces = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(student.eval()(faces), teacher(faces), atol=1e-5, rtol=1e-4)
    assert student.card.tasks == ("recognition", "completion", "region")
    bare = METHOD.student(ModelOptions(), MeerOptions(synthesise=False), teacher)
    assert bare.card.tasks == ("recognition", "region")
    task = METHOD.build(parts(student, teacher), MeerOptions(critic_width=2))
    assert (task.decoder_start, task.joint_start, task.critic_start) == (4, 6, 8)
    with pytest.raises(InputError, match="views.blur must be 0"):
        METHOD.build(parts(student, teacher, blur=0.1), MeerOptions())
    plain = METHOD.build(parts(bare, teacher, blur=0.1), MeerOptions(synthesise=False))
    assert plain.looker is plain.critics is None


def test_a_start_with_all_branches_is_gone_on_with(teacher, tmp_path):
    model = ModelOptions(init=str(tmp_path / "meer.safetensors"))
    student = METHOD.student(ModelOptions(), MeerOptions(), teacher)
    with torch.no_grad():
        for parameter in student.network.region.parameters():
            parameter.add_(0.5)
    save_network(Path(model.init), student.network, student.card)
    again = METHOD.student(model, MeerOptions(), teacher)
    assert again.network.training
    weights = student.network.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in again.network.state_dict().items())
    with pytest.raises(InputError, match=r"--init .*meer.safetensors: was made with .* = True"):
        METHOD.student(model, MeerOptions(synthesise=False), teacher)


class SmallBackbone(Backbone):
    """Three maps and an embedding of 16x16 faces."""

    channels = (4, 4, 6)

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(i, o, 3, 2, 1) for i, o in zip((3, 4, 4), self.channels, strict=True)
        )
        self.head = torch.nn.Linear(24, DIM)

    def maps(self, faces):
        maps = []
        for layer in self.layers:
            maps.append(F.elu(layer(maps[-1] if maps else faces)))
        return maps

    def embed(self, coarse):
        return self.head(coarse.flatten(1))


def build_task():
    """MEER on small faces; what compares some of a batch only is off, as its share may differ."""
    ARCHITECTURES["small"] = (__name__, "SmallBackbone")  # in this process, which ends
    torch.manual_seed(0)
    card = ModelCard(
        name="small",
        task="recognition",
        architecture="",
        input_size=(SIDE, SIDE),
        embedding_dim=DIM,
    )
    options = MeerOptions(
        features=0.0, preserving=0.0, decoder_from=0.3, joint_from=0.5, critic_from=0.5
    )
    return Meer(
        student=Recogniser(MeerNet("small"), card),
        teacher=Recogniser(SmallBackbone(), card),
        head=None,
        projection=None,
        options=options,
        looker=None,
        critics=Critics(SIDE, 2, spectral=True),
        steps=STEPS,
    )


def show(raw):
    clean = F.avg_pool2d(raw.crops / 255, 7)
    region = torch.zeros_like(clean[:, :1])
    region[:, :, 8:] = 1
    return FaceBatch(torch.where(region > 0, 0.5, clean), clean, region, raw.label, raw.index)


def train(crops, folder, world):
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
    folder.mkdir(exist_ok=True)
    parts = FitParts(
        task=build_task(),
        batches=batches,
        show=show,
        folder=folder,
        device=torch.device("cpu"),
        workers=1,
    )
    # With AdamW the rounding of a gradient that is nearly 0 would show.
    options = FitOptions(
        steps=STEPS, batch_size=4, optimiser="sgd", lr=0.02, warmup=0, save_every=1, keep=STEPS
    )
    fit(parts, options, Console(-1), world, resume=False)


def one_of_two(rank, crops, folder):
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    train(crops, folder / "two", World(rank, 2))
    dist.destroy_process_group()


def checkpoint(folder, step):
    saved = torch.load(folder / f"checkpoint-{step:08d}.pt", weights_only=True)
    return {k: v for k, v in saved["task"].items() if v.is_floating_point()}


def test_two_processes_train_what_one_does(tmp_path, shared_noise_crops, monkeypatch):
    """Through all phases; in the second one the recogniser rests in both."""
    monkeypatch.setitem(ARCHITECTURES, "small", ("", ""))  # taken away again afterwards
    train(shared_noise_crops, tmp_path / "one", World())
    torch.multiprocessing.spawn(one_of_two, (shared_noise_crops, tmp_path), nprocs=2)
    for step in (1, 2, STEPS):
        one, two = (checkpoint(tmp_path / name, step) for name in ("one", "two"))
        torch.testing.assert_close(two, one, atol=2e-4, rtol=1e-3)
    before, after = (checkpoint(tmp_path / "two", step) for step in (1, 2))
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if "network.identity" in name} <= still
    assert "student.network.decoder.picture.weight" not in still
