"""Networks trained elsewhere: recognised by their keys, whatever is wrapped round them."""

import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from mfrkit.errors import InputError, WeightsError
from mfrkit.methods.method import Teachers
from mfrkit.models import foreign
from mfrkit.models.edgeface import EdgeFace
from mfrkit.models.foreign import load_foreign, strip_wrappers
from mfrkit.models.iresnet import iresnet18
from mfrkit.models.loading import load_recogniser


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return iresnet18(embedding_dim=16).eval()


@pytest.fixture
def loaded(monkeypatch):
    """Load what a file would hold, without writing and reading it."""
    monkeypatch.setattr(foreign, "file_sha256", lambda path: "0" * 64)

    def load(content):
        monkeypatch.setattr(foreign, "read_tensors", lambda path: content)
        return load_foreign(Path("checkpoint.pt"))

    return load


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{k}": v for k, v in state.items()},
        lambda state: {"epoch": 3, "state_dict": {f"model.{k}": v for k, v in state.items()}},
        lambda state: {"backbone": state, "head": {"weight": torch.zeros(4, 16)}},
        lambda state: (
            {"net.backbone." + k: v for k, v in state.items()} | {"head.weight": torch.zeros(4, 16)}
        ),
    ],
)
def test_wrappers_are_stripped(network, wrap):
    state = network.state_dict()
    bare = strip_wrappers(wrap(state), "a")[0]
    assert bare.keys() == state.keys()
    assert all(torch.equal(bare[name], state[name]) for name in state)


def test_a_bare_state_dict_without_counters_is_loaded(network, tmp_path):
    path = tmp_path / "backbone.pth"
    state = network.state_dict()
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    recogniser = load_recogniser(str(path))
    assert (recogniser.card.architecture, recogniser.card.embedding_dim) == ("iresnet18", 16)
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(recogniser.features(faces), network((faces - 0.5) / 0.5))
    assert not recogniser.training


def scattered_edgeface(**arguments):
    torch.manual_seed(0)
    network = EdgeFace(16, **arguments).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "gamma" in name:
                parameter.uniform_(0.2, 0.8)
    return network


@pytest.mark.parametrize(
    "arguments",
    [{"size": "xx-small"}, {"size": "x-small", "rank": 0.6}, {"size": "small", "rank": 0.5}],
)
def test_edgeface_of_every_size(arguments, tmp_path):
    network, path = scattered_edgeface(**arguments), tmp_path / "edgeface_gamma.pt"
    torch.save({f"model.{name}": t for name, t in network.state_dict().items()}, path)
    recogniser = load_recogniser(str(path))
    card = recogniser.card
    assert (card.architecture, card.arguments) == ("edgeface", {"embedding_dim": 16, **arguments})
    assert (card.colour, card.mean, card.std) == ("RGB", (0.5,) * 3, (0.5,) * 3)
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(recogniser.features(faces), network((faces - 0.5) / 0.5))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rank", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["default_dynamic_qconfig", "per_channel_dynamic_qconfig"])
def test_eight_bit_edgeface_is_written_out(rank, kind, tmp_path):
    """As torch computes it but for the activations, which torch rounds to 8 bits as well."""
    quantisation = pytest.importorskip("torch.ao.quantization")
    network, path = scattered_edgeface(size="xx-small", rank=rank), tmp_path / "q.pt"
    setting = {nn.Linear: getattr(quantisation, kind)}
    eight_bit = quantisation.quantize_dynamic(network, setting, dtype=torch.qint8)
    state = {f"model.{name}": value for name, value in eight_bit.state_dict().items()}
    assert any(name.endswith("._packed_params._packed_params") for name in state)
    torch.save(state, path)
    recogniser = load_recogniser(str(path))
    layer, theirs = recogniser.network, eight_bit
    for name in ("head", "fc", "linear2") if rank else ("head", "fc"):
        layer, theirs = (
            each[name] if name == "fc" else getattr(each, name) for each in (layer, theirs)
        )
    torch.testing.assert_close(layer.weight.detach(), theirs.weight().dequantize())
    torch.testing.assert_close(layer.bias.detach(), theirs.bias().detach())
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        ours, plain = recogniser(faces), network((faces - 0.5) / 0.5)
    assert float(torch.cosine_similarity(ours, plain).min()) > 0.99


def test_packed_layers_that_are_none(tmp_path):
    network, path = scattered_edgeface(size="xx-small"), tmp_path / "q.pt"
    state = dict(network.state_dict())
    del state["head.norm.weight"]
    for held in ((1, "two"), 5, None):
        torch.save(state | {"head.norm._packed_params._packed_params": held}, path)
        with pytest.raises(WeightsError, match=r"edgeface: 1 missing \(head.norm.weight"):
            load_foreign(path)
    torch.save(state | {"head.fc.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="the last layer is missing"):
        load_foreign(path)
    torch.save({"stages.0.blocks.0.conv_dw.weight": torch.zeros(7, 1, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"stages of \[7, 0, 0, 0\] channels are no EdgeFace"):
        load_foreign(path)
    state = dict(scattered_edgeface(size="xx-small", rank=0.6).state_dict())
    state["stages.1.blocks.0.mlp.fc1.linear1.weight"] = torch.zeros(40, 48)
    torch.save(state, path)
    with pytest.raises(WeightsError, match="no rank in common"):
        load_foreign(path)


def test_tensors_that_claim_more_values_than_were_saved(tmp_path):
    path = tmp_path / "a.pt"
    vast = torch.zeros(1).expand(10**9)[:, None, None, None]
    torch.save({"body.0.res_layer.1.weight": vast}, path)
    with pytest.raises(WeightsError, match="holds no iResNet"):
        load_foreign(path)
    torch.save({"body.0.res_layer.1.weight": torch.zeros(())}, path)
    with pytest.raises(WeightsError, match="other shapes than their names say"):
        load_foreign(path)


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


class AdaFaceUnit(nn.Module):
    """A unit as AdaFace builds it: the shortcut picks pixels where the width stays."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.shortcut_layer = nn.MaxPool2d(1, stride)
        if inputs != width:
            convolution = nn.Conv2d(inputs, width, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(convolution, nn.BatchNorm2d(width))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        return self.res_layer(x) + self.shortcut_layer(x)


class AdaFaceNetwork(nn.Module):
    """The network of 18 layers, in AdaFace's names."""

    def __init__(self, dim=8):
        super().__init__()
        stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)]
        self.input_layer = nn.Sequential(*stem)
        widths = [(64, 64), (64, 128), (128, 256), (256, 512)]
        units = [(AdaFaceUnit(a, b, 2), AdaFaceUnit(b, b, 1)) for a, b in widths]
        self.body = nn.Sequential(*(unit for pair in units for unit in pair))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(512 * 49, dim),
            nn.BatchNorm1d(dim, affine=False),
        )

    def forward(self, x):
        return self.output_layer(self.body(self.input_layer(x)))


@pytest.fixture(scope="module")
def adaface():
    torch.manual_seed(1)
    network = AdaFaceNetwork()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)
    return network.eval()


def lightning_checkpoint(network, path, module="pytorch_lightning.callbacks.model_checkpoint"):
    """Save as PyTorch Lightning does: classes and objects of its own beside the weights."""
    name = "ModelCheckpoint"
    callback = type(name, (), {"__module__": module})
    instance = callback()
    instance.best = 3
    holder = types.ModuleType(module)
    setattr(holder, name, callback)
    content = {
        "state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}
        | {"head.kernel": torch.zeros(8, 4)},
        "callbacks": {callback: {"monitor": "acc"}},
        "hyper_parameters": {"callback": instance, "arch": "ir_18"},
    }
    with pytest.MonkeyPatch.context() as patch:
        parts = module.split(".")
        for end in range(1, len(parts)):
            patch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(parts[end - 1]))
        patch.setitem(sys.modules, module, holder)
        torch.save(content, path)


def test_adaface_checkpoints_of_lightning_load_in_bgr(adaface, tmp_path):
    path = tmp_path / "adaface_ir18.ckpt"
    lightning_checkpoint(adaface, path)
    recogniser = load_recogniser(str(path))
    card = recogniser.card
    assert (card.architecture, card.embedding_dim, card.colour) == ("iresnet18", 8, "BGR")
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        wanted = adaface((faces.flip(1) - 0.5) / 0.5)
        torch.testing.assert_close(recogniser.features(faces), wanted, atol=1e-4, rtol=1e-4)


def test_objects_of_other_programs_are_still_refused(adaface, tmp_path):
    path = tmp_path / "other.ckpt"
    lightning_checkpoint(adaface, path, module="somebody.elses")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_recogniser(str(path))


def test_adaface_units_of_another_kind_are_named(adaface, tmp_path):
    path = tmp_path / "se.ckpt"
    state = adaface.state_dict()
    torch.save({**state, "body.3.res_layer.6.fc1.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="1 unexpected"):
        load_recogniser(str(path))
    torch.save({k: v for k, v in state.items() if not k.startswith("body.7")}, path)
    with pytest.raises(WeightsError, match="2, 2, 2, 1"):
        load_recogniser(str(path))


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
def test_what_does_not_fit_is_named(network, change, message, loaded):
    with pytest.raises(WeightsError, match=message):
        loaded(change(network.state_dict()))


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        load_recogniser(str(tmp_path / "none.pth"))
    path = tmp_path / "cut.pt"
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(WeightsError, match="damaged"):
        load_foreign(path)


def test_cosines_of_two_teachers_are_averaged(network, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(network.state_dict(), path)
    pair = [load_recogniser("arcface"), load_recogniser(str(path))]
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        both = Teachers(pair)(faces)
        each = [teacher(faces) for teacher in pair]
    assert Teachers(pair).dim == both.shape[1] == 192 + 16
    wanted = sum(float(e[0] @ e[1]) for e in each) / 2
    assert float(both[0] @ both[1]) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 3, "state_dict_backbone": state, "state_dict_softmax_fc": {}},
        lambda state: {"model_state_dict": state},
        lambda state: {"student": {"net": state}, "teacher": {"net": state}},
        lambda state: {"run": {"weights": {"a": state}}},
        lambda state: {f"{n}.{k}": v for n in ("student", "teacher") for k, v in state.items()},
    ],
)
def test_networks_are_found_wherever_they_are(network, wrap, loaded):
    card = loaded(wrap(network.state_dict())).card
    assert (card.architecture, card.colour, card.mean) == ("iresnet18", "RGB", (0.5, 0.5, 0.5))


def test_of_two_networks_none_is_guessed(network, loaded):
    with pytest.raises(WeightsError, match=r"holds several networks: first, second\.a"):
        loaded({"first": network.state_dict(), "second": {"a": network.state_dict()}})


@pytest.mark.parametrize("wrapper", ["features.module.", "module.features."])
def test_magface_is_fed_bgr_from_0_to_1(network, wrapper, loaded):
    state = {f"{wrapper}{k}": v for k, v in network.state_dict().items()}
    content = {**state, "module.fc.weight": torch.ones(16, 4)}
    recogniser = loaded({"arch": "iresnet18", "state_dict": content})
    assert recogniser.card.note.startswith("Fed BGR, values from 0 to 1, as MagFace does")
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(recogniser.features(faces), network(faces.flip(1)))
