"""The mesh network against the published graph, in the processor's own layout, and as taught."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mfrkit.faces.mesh import MeshFinder, eye_distance, upper_part
from mfrkit.faces.yunet import YuNetDetector
from mfrkit.io.images import read_image
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import sample_spec
from mfrkit.models.device import single_core_pool
from mfrkit.models.onednn import BlockedFaceMesh, has_blocked_layout
from mfrkit.models.registry import load_network
from mfrkit.stages.demo import PHOTOS

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
