"""Methods in phases: settings of each, files and folders, continuing, and mistakes found early."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.checkpoints import read_header
from mfrkit.models.cards import ModelCard
from mfrkit.models.registry import build_network, load_network, save_network
from mfrkit.training.distill import distill, find_method
from mfrkit.training.options import DistillRequest

NAMES = ("encoder", "reformer", "classifier")
SETTINGS = """
[fit]
log_every = 1
steps = 2

[encoder.method]
looked = 0.5
critic_width = 4

[reformer.model]
student = "resnet22"

[reformer.method]
descriptor = "middle"
widths = [4, 4, 8, 8]

[classifier.method]
margin = "cosface"
"""


@pytest.fixture(scope="module")
def folder(shared_noise_crops, tmp_path_factory):
    """A folder with a generator, a region predictor and settings; crops lie elsewhere."""
    folder = tmp_path_factory.mktemp("g2d")
    torch.manual_seed(0)
    for name, architecture in (("completion", "completion-small"), ("region", "region")):
        card = ModelCard(name=name, task=name, architecture=architecture)
        save_network(folder / f"{name}.safetensors", build_network(architecture, {}), card)
    (folder / "g2d.toml").write_text(SETTINGS)
    return folder


@pytest.fixture
def ask(folder, shared_noise_crops, tmp_path):
    def request(output="g2d.safetensors", *, set_=(), init=None, run=None, **options):
        region = f"reformer.method.region={folder / 'region.safetensors'}"
        return DistillRequest(
            data=options.pop("data", (str(shared_noise_crops),)),
            output=tmp_path / output,
            method="g2d",
            config=folder / "g2d.toml",
            assignments=(region, *set_),
            init=init or str(folder / "completion.safetensors"),
            batch_size=3,
            run=RunOptions(workers=1, **run or {}),
            **options,
        )

    return request


def same(a, b):
    return all(torch.equal(one, load_file(b)[name]) for name, one in load_file(a).items())


def test_three_runs_make_one_model(ask, tmp_path, folder):
    """All at once, or one by one: the same files; each phase changes only what it trains."""
    made = distill(ask(), Console(-1))
    assert made.output == tmp_path / "g2d.safetensors"
    encoder, reformer, whole = (
        tmp_path / f"g2d{part}.safetensors" for part in ("-encoder", "-reformer", "")
    )
    for path in (encoder, reformer, whole):
        assert path.exists()
        assert (path.with_suffix(".run") / "settings.json").exists()
    start, _ = load_network(str(folder / "completion.safetensors"))
    tuned, _ = load_network(str(encoder))
    assert not torch.equal(start.down_2.filter.weight, tuned.down_2.filter.weight)
    second, third = load_file(reformer), load_file(whole)
    kept = {n.removeprefix("encoder."): t for n, t in second.items() if n.startswith("encoder.")}
    assert all(torch.equal(tensor, tuned.state_dict()[name]) for name, tensor in kept.items())
    assert all(torch.equal(tensor, third[name]) for name, tensor in second.items())
    assert set(third) - set(second) == {"classifier.weight", "classifier.bias"}
    card = read_header(whole).card
    assert card["arguments"]["people"] == ["p0", "p1", "p2"]
    assert (card["arguments"]["scale"], card["arguments"]["descriptor"]) == (64.0, "middle")
    assert card["config"]["fit"]["steps"] == 2
    assert "arXiv:2405.16761" in card["paper"]

    with pytest.raises(InputError, match="g2d-encoder.safetensors: exists already"):
        distill(ask(), Console(-1))
    assert distill(ask(run={"resume": True}), Console(-1)).steps == 0  # all of it is done
    # A phase that is missing is made again, from the file before it, and comes out the same.
    before = reformer.read_bytes()
    reformer.unlink()
    whole.unlink()
    distill(ask(run={"resume": True}), Console(-1))
    assert reformer.read_bytes() == before
    alone = "alone.safetensors"
    for phase, init in ((2, str(encoder)), (3, None)):
        distill(replace(ask(alone, phase=phase), init=init), Console(-1))
    assert same(whole, tmp_path / alone)


def test_settings_are_a_phases_own_or_everybodys(ask, capsys):
    line = ("reformer.fit.lr=0.125", "fit.clip=2.5", "classifier.fit.lr=0.5")
    distill(ask(set_=line, phase=2, run={"dry_run": True}), Console())
    told = capsys.readouterr().err
    for part in (
        "fit.lr = 0.125",
        "fit.clip = 2.5",
        "fit.steps = 2",
        "method.widths = [4, 4, 8, 8]",
    ):
        assert part in told
    assert "phase 2, reformer" in told
    distill(ask(set_=line, run={"dry_run": True}), Console())
    told = capsys.readouterr().err
    assert "would train completion-small" in told
    assert "phase 2, reformer: starts from" in told
    assert "g2d-reformer.safetensors, which is still to be made" in told


@pytest.mark.parametrize("preset", ["small", "small-resnet22", "paper"])
def test_presets(preset):
    phases = [find_method("g2d", phase).presets[preset] for phase in (2, 3)]
    assert all(phase["fit"] for phase in phases)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": 4}, "--phase 4: g2d has 1 encoder, 2 reformer, 3 classifier"),
        ({"phase": 2, "init": "nobody"}, "unknown model 'nobody'"),
        ({"phase": 2, "init": "auto"}, "g2d-encoder.safetensors: not there"),
        ({"set_": ("classifier.fit.lrr=1",)}, "no setting fit.lrr; did you mean lr"),
        ({"set_": ("reformer.encoder.lr=1",)}, "no table 'encoder'"),
        ({"preset": "big"}, "unknown preset 'big'"),
        ({"phase": 2, "set_": ("model.student=iresnet18",)}, "unknown reformer 'iresnet18'"),
        ({"phase": 2, "set_": ("model.embedding=8",)}, "--set model.embedding=192"),
        ({"phase": 3}, "is no generative recogniser, as phase 2 makes"),
    ],
)
def test_mistakes_stop_before_any_training(ask, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        distill(ask(**options), Console(-1))
    assert not list(tmp_path.glob("*.safetensors"))


def test_people_and_starts_are_missed_early(ask, tmp_path, shared_noise_crops):
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "a.png").write_bytes((shared_noise_crops / "p0" / "p0_0.png").read_bytes())
    with pytest.raises(InputError, match="phase 3, classifier, needs labels"):
        distill(ask(data=(str(flat),)), Console(-1))
    request = replace(ask(phase=2), init=None)
    with pytest.raises(InputError, match="g2d-encoder.safetensors: not there; --phase 1 makes it"):
        distill(request, Console(-1))
    with pytest.raises(InputError, match="maskinv is trained in one run"):
        distill(replace(request, method="maskinv", config=None, assignments=()), Console(-1))


def test_file_names_follow_the_output():
    from mfrkit.training.distill import phase_output

    made = [phase_output(Path("a/b.safetensors"), list(NAMES), n).as_posix() for n in (1, 2, 3)]
    assert made == ["a/b-encoder.safetensors", "a/b-reformer.safetensors", "a/b.safetensors"]
