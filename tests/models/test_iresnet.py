"""Names and sizes that published weights rely on."""

import pytest
import torch

from mfrkit.models import iresnet

# Entries and parameters of the networks InsightFace publishes weights for.
PUBLISHED = {
    18: (187, 24_025_600),
    34: (331, 34_139_328),
    50: (475, 43_590_848),
    100: (925, 65_156_160),
    200: (1_807, 118_833_920),
}
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def build(depth, **arguments):
    with torch.device("meta"):  # no memory for 119 million values
        return getattr(iresnet, f"iresnet{depth}")(**arguments)


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_size(depth):
    network = build(depth)
    parameters = sum(p.numel() for p in network.parameters())
    assert (len(network.state_dict()), parameters) == PUBLISHED[depth]


def test_published_names():
    names = list(build(18).state_dict())
    bn1, bn2, bn3 = ([f"{bn}.{part}" for part in BATCH_NORM] for bn in ("bn1", "bn2", "bn3"))
    unit = [*bn1, "conv1.weight", *bn2, "prelu.weight", "conv2.weight", *bn3]
    shortcut = ["downsample.0.weight", *(f"downsample.1.{part}" for part in BATCH_NORM)]
    expected = ["conv1.weight", *bn1, "prelu.weight"]
    for layer in range(1, 5):
        expected += [f"layer{layer}.0.{name}" for name in unit + shortcut]
        expected += [f"layer{layer}.1.{name}" for name in unit]
    expected += [*bn2, "fc.weight", "fc.bias", *(f"features.{part}" for part in BATCH_NORM)]
    assert names == expected


def test_shapes_and_strides():
    shapes = {name: tuple(tensor.shape) for name, tensor in build(18).state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 3, 3)
    assert shapes["layer4.0.conv1.weight"] == (512, 256, 3, 3)
    assert shapes["fc.weight"] == (512, 25_088)
    faces = torch.zeros(2, 3, 112, 112, device="meta")
    assert build(18, embedding_dim=128).eval()(faces).shape == (2, 128)


def test_unit_by_hand():
    """All norms neutral and convolutions the identity: x + prelu(x), with slope 1/4."""
    unit = iresnet.IResBlock(1, 1, stride=1).eval()
    with torch.no_grad():
        for convolution in (unit.conv1, unit.conv2):
            convolution.weight.zero_()[..., 1, 1] = 1
        result = unit(torch.tensor([[[[4.0, -4.0]]]]))
    torch.testing.assert_close(result, torch.tensor([[[[8.0, -5.0]]]]), rtol=1e-4, atol=0)


def test_published_initialisation():
    torch.manual_seed(0)
    block = iresnet.IResNet((1, 1, 1, 1), 16)
    assert block.layer4[0].conv1.weight.std().item() == pytest.approx(0.1, rel=0.01)
    assert block.features.weight.eq(1).all()
    assert not block.features.weight.requires_grad
