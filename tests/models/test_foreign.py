"""Networks trained elsewhere: recognised by their keys, whatever is wrapped round them."""

import pickle

import pytest
import torch

from mfrkit.errors import InputError, WeightsError
from mfrkit.models.foreign import load_foreign
from mfrkit.models.iresnet import iresnet18
from mfrkit.models.teachers import Teachers, load_teacher


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return iresnet18(embedding_dim=16).eval()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {f"module.{k}": v for k, v in state.items()},
        lambda state: {"epoch": 3, "state_dict": {f"model.{k}": v for k, v in state.items()}},
        lambda state: {"backbone": state, "head": {"weight": torch.zeros(4, 16)}},
        lambda state: (
            {"net.backbone." + k: v for k, v in state.items()} | {"head.weight": torch.zeros(4, 16)}
        ),
        lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
    ],
)
def test_wrappers_are_stripped(network, wrap, tmp_path):
    path = tmp_path / "backbone.pth"
    torch.save(wrap(network.state_dict()), path)
    recogniser = load_teacher(str(path))
    assert (recogniser.card.architecture, recogniser.card.embedding_dim) == ("iresnet18", 16)
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(recogniser.features(faces), network((faces - 0.5) / 0.5))
    assert not recogniser.training


class Mischief:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_code_in_a_pickle_is_not_run(tmp_path, capsys):
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": Mischief()}, path)
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_foreign(path)
    path.write_bytes(pickle.dumps(Mischief()))
    with pytest.raises(WeightsError):
        load_foreign(path)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"a": torch.zeros(1)}, "holds no iResNet"),
        (lambda s: [1, 2], "holds no iResNet"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith("layer4.1")}, "2, 2, 2, 1"),
        (lambda s: {k: v for k, v in s.items() if k != "bn2.weight"}, "1 missing"),
        (lambda s: {k: v for k, v in s.items() if k != "fc.weight"}, "last layer is missing"),
        (lambda s: {**s, "layer1.0.se.weight": torch.zeros(1)}, "1 unexpected"),
    ],
)
def test_what_does_not_fit_is_named(network, change, message, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(change(network.state_dict()), path)
    with pytest.raises(WeightsError, match=message):
        load_foreign(path)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        load_teacher(str(tmp_path / "none.pth"))
    path = tmp_path / "cut.pt"
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(WeightsError, match="damaged"):
        load_foreign(path)


def test_cosines_of_two_teachers_are_averaged(network, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(network.state_dict(), path)
    pair = [load_teacher("arcface"), load_teacher(str(path))]
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        both = Teachers(pair)(faces)
        each = [teacher(faces) for teacher in pair]
    assert Teachers(pair).dim == both.shape[1] == 192 + 16
    wanted = sum(float(e[0] @ e[1]) for e in each) / 2
    assert float(both[0] @ both[1]) == pytest.approx(wanted, abs=1e-5)
