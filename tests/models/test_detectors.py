"""The three networks against the same networks computed window by window, without convolutions."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import mfrkit
from mfrkit.faces.mesh import MeshFinder, eye_distance, upper_part
from mfrkit.faces.yunet import YuNetDetector
from mfrkit.io.images import read_image
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import sample_spec
from mfrkit.models.detectors import MTCNN
from mfrkit.models.device import single_core_pool
from mfrkit.models.onednn import BlockedFaceMesh, has_blocked_layout
from mfrkit.models.registry import load_network
from mfrkit.stages.demo import PHOTOS

WEIGHTS = Path(mfrkit.__file__).parent / "data" / "weights" / "mtcnn.safetensors"


@pytest.fixture(scope="module")
def networks():
    networks = MTCNN()
    networks.load_state_dict(load_file(WEIGHTS), strict=True)
    return networks.eval().double()


def dense_convolution(x, weight, bias):
    """Convolve by matrix product over unfolded windows."""
    height, width = (length - weight.shape[2] + 1 for length in x.shape[2:])
    columns = F.unfold(x, weight.shape[2:])
    return (weight.flatten(1) @ columns).view(len(x), -1, height, width) + bias[:, None, None]


def prelu(x, slope):
    return torch.where(x > 0, x, x * slope.view(1, -1, *[1] * (x.ndim - 2)))


def pool(x, side):
    """Maximum over side x side windows at stride 2, the last ones cut off by the border."""
    rows = [
        torch.stack(
            [x[..., i : i + side, j : j + side].amax((2, 3)) for j in starts(x.shape[3], side)], -1
        )
        for i in starts(x.shape[2], side)
    ]
    return torch.stack(rows, -2)


def starts(length, side):
    return range(0, max(1, length - side + 2), 2)


def stage(x, weights, number, side=None):
    x = dense_convolution(x, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"])
    x = prelu(x, weights[f"prelu{number}.weight"])
    return x if side is None else pool(x, side)


def dense(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def columns_first(x):
    """Width outermost, channels innermost, written out."""
    return torch.stack(
        [
            x[:, c, i, j]
            for j in range(x.shape[3])
            for i in range(x.shape[2])
            for c in range(x.shape[1])
        ],
        dim=1,
    )


def published_scale(x):
    return (x * 255 - 127.5) / 128


def test_proposals(networks):
    photos = torch.rand(2, 3, 17, 14, dtype=torch.double)
    weights = networks.pnet.state_dict()
    x = stage(published_scale(photos), weights, 1, side=2)
    x = stage(stage(x, weights, 2), weights, 3)
    score = dense_convolution(x, weights["conv4_1.weight"], weights["conv4_1.bias"])
    offsets = dense_convolution(x, weights["conv4_2.weight"], weights["conv4_2.bias"])
    found = networks.pnet(photos)
    torch.testing.assert_close(found[0], torch.sigmoid(score[:, 1] - score[:, 0]))
    torch.testing.assert_close(found[1], offsets)


def test_refinement(networks):
    crops = torch.rand(2, 3, 24, 24, dtype=torch.double)
    weights = networks.rnet.state_dict()
    x = stage(published_scale(crops), weights, 1, side=3)
    x = stage(stage(x, weights, 2, side=3), weights, 3)
    x = prelu(dense(columns_first(x), weights, "dense4"), weights["prelu4.weight"])
    score, offsets = networks.rnet(crops)
    expected = dense(x, weights, "dense5_1")
    torch.testing.assert_close(score, torch.sigmoid(expected[:, 1] - expected[:, 0]))
    torch.testing.assert_close(offsets, dense(x, weights, "dense5_2"))


def test_output(networks):
    crops = torch.rand(2, 3, 48, 48, dtype=torch.double)
    weights = networks.onet.state_dict()
    x = stage(published_scale(crops), weights, 1, side=3)
    x = stage(stage(stage(x, weights, 2, side=3), weights, 3, side=2), weights, 4)
    x = prelu(dense(columns_first(x), weights, "dense5"), weights["prelu5.weight"])
    score, offsets, points = networks.onet(crops)
    expected = dense(x, weights, "dense6_1")
    torch.testing.assert_close(score, torch.sigmoid(expected[:, 1] - expected[:, 0]))
    torch.testing.assert_close(offsets, dense(x, weights, "dense6_2"))
    flat = dense(x, weights, "dense6_3")  # five x, then five y
    torch.testing.assert_close(points[..., 0], flat[:, :5])
    torch.testing.assert_close(points[..., 1], flat[:, 5:])


@pytest.mark.parametrize("height", [12, 13, 20, 21])
@pytest.mark.parametrize("width", [13, 18, 24])
def test_padding_changes_nothing(networks, height, width):
    photo = torch.rand(1, 3, height, width, dtype=torch.double)
    padded = torch.rand(2, 3, 24, 27, dtype=torch.double)
    padded[:1, :, :height, :width] = photo
    alone = networks.pnet(photo)
    together = networks.pnet(padded, torch.tensor([[height, width], [24, 27]]))
    rows, columns = alone[0].shape[1:]
    torch.testing.assert_close(together[0][:1, :rows, :columns], alone[0])
    torch.testing.assert_close(together[1][:1, :, :rows, :columns], alone[1])
    assert torch.isfinite(together[0]).all()


def test_gradients_reach_the_photo(networks):
    photo = torch.rand(1, 3, 12, 12, dtype=torch.double, requires_grad=True)
    networks.pnet(photo)[0].sum().backward()
    assert photo.grad.abs().sum() > 0


DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def original():
    """The network with its published weights, as it was before it was taught about masks."""
    return load_network(str(DATA / "facemesh_original.safetensors"))[0]


@pytest.fixture(scope="module")
def network():
    return load_network("facemesh")[0]


@pytest.fixture(scope="module")
def reference():
    """Four squares of noise, and what the original graph, cut to this branch, gives for them."""
    tensors = load_file(DATA / "facemesh_reference.safetensors")
    return {name: tensor.float() for name, tensor in tensors.items()}


@torch.inference_mode()
def test_agrees_with_the_published_graph(original, reference):
    mesh, score = original(reference["input"])
    assert (mesh - reference["mesh"]).abs().max() < 2e-4
    assert (score - reference["score"].view(-1)).abs().max() < 2e-4


@pytest.mark.skipif(not has_blocked_layout(), reason="needs oneDNN on an x86 processor")
@torch.inference_mode()
def test_blocked_layout_gives_the_same(original, network, reference):
    mesh, score = BlockedFaceMesh(original)(reference["input"])
    assert (mesh - reference["mesh"]).abs().max() < 4e-4
    assert (score - reference["score"].view(-1)).abs().max() < 4e-4
    for ours, plain in zip(
        BlockedFaceMesh(network)(reference["input"]), network(reference["input"]), strict=True
    ):
        assert (ours - plain).abs().max() < 4e-4


def test_has_the_published_size(network):
    assert sum(p.numel() for p in network.parameters()) == 581_197


def test_the_mean_mesh_is_the_one_before_it_was_taught(network, original):
    assert torch.equal(network.mean, original.mean)


def test_mean_mesh_lies_in_the_crop_as_a_face_does(network):
    mean = network.mean
    left, right, nose, chin = mean[[33, 133]].mean(0), mean[[362, 263]].mean(0), mean[4], mean[152]
    assert 34 < left[0] < 40 < 70 < right[0] < 76
    assert abs(left[1] - right[1]) < 1
    assert left[1] < nose[1] < chin[1]
    assert nose[2] < left[2]  # nearer


@torch.inference_mode()
def test_sees_no_face_where_there_is_none(network, reference):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(6, 3, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, 192, mode="bicubic").clamp(0, 1)
    for nothing in (reference["input"], smooth):
        assert (network(nothing)[1].sigmoid() < 0.1).all()


@pytest.fixture(scope="module")
def bare():
    """The portraits, and their faces as the detector sees them."""
    photos = [read_image(path) for path in sorted(PHOTOS.rglob("*.jpg"))]
    return photos, detect(photos)


@pytest.fixture(scope="module")
def masked(bare):
    """The portraits with masks drawn on them, detected anew."""
    masks, renderer, photos = MaskOptions.parse(types="surgical,kn95"), MaskRenderer(), []
    for number, (photo, face) in enumerate(zip(*bare, strict=True)):
        picture = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
        spec = sample_spec(1, str(number), masks)
        drawn = renderer(picture, torch.from_numpy(face.points)[None], [spec]).masked
        photos.append(to_uint8(drawn)[0].permute(1, 2, 0).numpy())
    return photos, detect(photos)


def detect(photos):
    detector = YuNetDetector(load_network("yunet")[0].graph.numpy())
    return [found[0] for found in detector(photos)]


@pytest.fixture(scope="module")
def error(original, bare):
    """Mean distance of upper vertices from the original's on the bare photo, in eyes' distances."""
    pool, device = single_core_pool(1), torch.device("cpu")
    truth = MeshFinder(original, device, pool, looks=2)(*bare)
    upper = upper_part(original.mean.numpy())

    def measure(network, shown, looks):
        meshes = MeshFinder(network, device, pool, looks)(*shown)
        assert min(mesh.score for mesh in meshes) > 0.5
        apart = [
            np.linalg.norm((mesh.vertices - true.vertices)[upper, :2], axis=1).mean()
            / eye_distance(true.vertices)
            for mesh, true in zip(meshes, truth, strict=True)
        ]
        return np.mean(apart)

    return measure


@pytest.mark.parametrize("looks", [1, 2])
def test_a_mask_moves_it_less_than_before(network, original, error, masked, looks):
    assert error(network, masked, looks) < 0.8 * error(original, masked, looks)


@pytest.mark.parametrize("looks", [1, 2])
def test_bare_faces_are_where_they_were(network, error, bare, looks):
    assert error(network, bare, looks) < 0.04
