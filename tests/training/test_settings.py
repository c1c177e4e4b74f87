"""Settings: their layers, their types, and messages that name the place."""

import json
from pathlib import Path

import pytest

from mfrkit.errors import InputError
from mfrkit.methods import METHODS
from mfrkit.methods.method import PhasedMethod
from mfrkit.models.registry import read_card
from mfrkit.training.distill import find_method, load_method, resolve
from mfrkit.training.options import DistillRequest
from mfrkit.training.settings import parse_set


def request(**changes):
    return DistillRequest(data=("crops",), output=Path("student.safetensors"), **changes)


def test_each_layer_lies_over_the_one_before(tmp_path):
    config = tmp_path / "my.toml"
    config.write_text("[fit]\nlr = 1\nclip = 2.5\nbatch_size = 7\n[masks]\ntypes = 'n95'\n")
    settings = resolve(
        request(
            config=config,
            assignments=("fit.batch_size=8", "fit.milestones=[1, 2.5]", "card.note=a b"),
            lr=0.5,
            student="iresnet18",
        )
    )
    assert settings.fit.lr == 0.5
    assert settings.fit.clip == 2.5
    assert settings.fit.batch_size == 8
    assert settings.fit.milestones == (1.0, 2.5)
    assert settings.fit.warmup == 30  # the preset's
    assert settings.model.student == "iresnet18"
    assert settings.card.note == "a b"
    assert dict(settings.masks.parsed().types) == {"n95": 1.0}


def test_settings_read_what_they_write(tmp_path):
    """What `settings.json` holds is a configuration that gives the same settings again."""
    settings = resolve(request(preset="paper-hg", assignments=("fit.ema=0.9",)))
    config = tmp_path / "again.toml"
    lines = []
    for table, values in settings.to_json().items():
        lines.append(f"[{table}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    config.write_text("\n".join(lines))
    assert resolve(request(config=config)) == settings


PLAIN = [(name, 0) for name in METHODS if not isinstance(load_method(name), PhasedMethod)]


@pytest.mark.parametrize(("method", "phase"), [*PLAIN, ("g2d", 2), ("g2d", 3)])
def test_every_preset_resolves(method, phase):
    for preset in find_method(method, phase).presets:
        resolve(request(method=method, preset=preset, phase=phase))


@pytest.mark.parametrize(
    "text",
    [
        "method.distance='mse'",
        "method.unmasked=3.0",
        "method.pairs=0.5",
        "method.triplets=0.5",
        "method.attention=2.0",
        "method.stage='layer3'",
        "method.flip_target=true",
        "masks.growth=0.25",
        "fit.ema=0.99",
        "fit.compile=true",
    ],
)
def test_additions_are_off_and_within_reach(text):
    table, name, value = parse_set(text)
    plain, changed = (resolve(request(assignments=given)) for given in ((), (text,)))
    assert getattr(getattr(changed, table), name) == value
    assert getattr(getattr(plain, table), name) != value


def test_the_papers_numbers():
    low, high = (resolve(request(preset=name)) for name in ("paper", "paper-hg"))
    assert (low.method.template, high.method.template) == (100, 3000)
    assert low.fit.milestones == (7, 13, 19, 24)
    assert (low.fit.lr, low.fit.weight_decay, low.fit.clip) == (0.1, 5e-4, 5)
    assert low.fit.total_steps(5822653 // 512) == 295672
    assert low.model.student == "iresnet100"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fit.learning=1", "no setting fit.learning"),
        ("fit.stepz=1", "did you mean steps"),
        ("fit.lr=fast", "fit.lr is 'fast', expected a number"),
        ("fit.steps=1.5", "fit.steps is 1.5, expected a whole number"),
        ("fit.steps=true", "fit.steps is True, expected a whole number"),
        ("masks.types=3", "masks.types is 3, expected text"),
        ("masks.types=surgcal", "Did you mean surgical"),
        ("optim.lr=1", "no table 'optim'"),
        ("ftt.lr=1", "no table 'ftt'; did you mean fit"),
        ("fit.schedule=cosin", "fit.schedule is 'cosin'; did you mean cosine. Known: cosine, step"),
        ("fit.optimiser=adam", "fit.optimiser is 'adam'; did you mean adamw"),
        ("fit.precision=fp8", "fit.precision is 'fp8'.*fp32, fp16, bf16"),
        ("views.align=five", "views.align is 'five'.*jitter, mesh"),
        ("method.distance=l1", "method.distance is 'l1'.*cosine, mse"),
        ("fit.compile=1", "fit.compile is 1, expected true or false"),
        ("fit.milestones=3", "fit.milestones is 3, expected a list"),
        ("lr=1", "expected TABLE.NAME=VALUE"),
        ("method.margin=3", "method.margin is 3, expected text"),
        ("method.attention=-1", "must not be negative"),
        ("masks.growth=1.5", "masks.growth is a share of the run"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=message):
        resolve(request(assignments=(text,)))


def test_a_target_is_hard_or_soft():
    with pytest.raises(InputError, match="method.target is 'firm'.*hard, soft"):
        resolve(request(method="deocclusion", target="firm"))


def test_unknown_names_and_broken_files(tmp_path):
    with pytest.raises(InputError, match="unknown method 'maskin'; did you mean maskinv"):
        resolve(request(method="maskin"))
    with pytest.raises(InputError, match="unknown preset"):
        resolve(request(preset="huge"))
    broken = tmp_path / "broken.toml"
    broken.write_text("[fit\nlr=")
    with pytest.raises(InputError, match="not TOML"):
        resolve(request(config=broken))
    with pytest.raises(InputError, match="unreadable"):
        resolve(request(config=tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("name", "method"),
    [("maskinv", "maskinv"), ("maskinv-edge", "maskinv"), ("deocclusion", "deocclusion")],
)
def test_the_example_holds_the_settings_of_the_bundled_student(name, method):
    example = Path(__file__).parents[2] / "examples" / f"{name}.toml"
    config = read_card(name)[0].config
    taught = config["average"][0]["config"] if "average" in config else config
    settings = resolve(request(config=example, method=method)).to_json()
    for table in ("views", "masks", "fit"):
        for key, value in taught[table].items():
            if key not in ("log_every", "save_every"):
                assert settings[table][key] == value, f"{table}.{key}"
