"""The fast path gives what the plain module gives, in order, and cleans up after itself."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from mfrkit.errors import ShapeError, WeightsError
from mfrkit.models.cards import ModelCard
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.iresnet import IResNet
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser

CROPS = np.random.default_rng(0).integers(0, 256, (10, 112, 112, 3), np.uint8)
STUB = ModelCard(
    name="stub", task="recognition", architecture="none", input_size=(2, 2), embedding_dim=3
)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) + 2


@pytest.fixture(scope="module")
def arcface():
    return load_recogniser("arcface")


def plain(recogniser, crops, *, flip):
    """The plain module, one view after the other."""
    faces = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        features = recogniser.features(faces)
        if flip:
            features = (features + recogniser.features(faces.flip(3))) / 2
    return features.numpy()


@pytest.mark.parametrize("flip", [False, True])
def test_agrees_with_the_plain_module(arcface, flip):
    expected = plain(arcface, CROPS, flip=flip)
    length = np.linalg.norm(expected, axis=1)
    for workers in (1, 2):
        with EmbedEngine(arcface, flip=flip, workers=workers) as engine:
            vectors, norms = engine(CROPS)
        cosine = (vectors * expected).sum(1) / length
        assert vectors.dtype == norms.dtype == np.float32
        assert (1 - cosine).max() < 1e-4
        np.testing.assert_allclose(norms, length, rtol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_order_and_values_do_not_depend_on_the_batches(arcface):
    sizes = [1, 0, 3, 2, 4]
    starts = np.cumsum([0, *sizes])
    batches = [CROPS[at : at + size] for at, size in zip(starts, sizes, strict=False)]
    with EmbedEngine(arcface, workers=2) as engine:
        whole = engine(CROPS)
        parts = list(engine.map(batches))
    assert [len(part.vectors) for part in parts] == sizes
    np.testing.assert_allclose(np.concatenate([p.vectors for p in parts]), whole.vectors, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([p.norms for p in parts]), whole.norms, rtol=1e-5)


def test_other_networks_take_the_same_road():
    torch.manual_seed(0)
    card = ModelCard(name="r", task="recognition", architecture="iresnet18", embedding_dim=16)
    recogniser = Recogniser(IResNet((1, 1, 1, 1), 16), card).eval()
    expected = plain(recogniser, CROPS[:3], flip=True)
    with EmbedEngine(recogniser, workers=1) as engine:
        vectors, norms = engine(CROPS[:3])
    length = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected / length, atol=1e-4)
    np.testing.assert_allclose(norms, length[:, 0], rtol=1e-4)


def test_reads_only_a_little_ahead():
    taken = []

    def batches():
        for number in range(100):
            taken.append(number)
            yield np.zeros((8, 2, 2, 3), np.uint8)

    with EmbedEngine(Recogniser(Mean(), STUB), flip=False, workers=2) as engine:
        for given, _ in enumerate(engine.map(batches())):
            assert len(taken) - given <= 6
    assert len(taken) == 100


def test_views_that_are_not_contiguous(arcface):
    with EmbedEngine(arcface, workers=1) as engine:
        straight = engine(np.ascontiguousarray(CROPS[:4, :, ::-1]))
        mirrored = engine(CROPS[:4, :, ::-1])
    np.testing.assert_array_equal(straight.vectors, mirrored.vectors)


@pytest.mark.parametrize(
    "faces",
    [
        np.zeros((1, 2, 2, 3), np.float32),
        np.zeros((2, 2, 3), np.uint8),
        np.zeros((1, 3, 2, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=["float", "no batch", "channels first", "wrong size"],
)
def test_wrong_crops_are_refused(faces):
    with (
        EmbedEngine(Recogniser(Mean(), STUB), workers=1) as engine,
        pytest.raises(ShapeError, match="expected"),
    ):
        engine(faces)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_useless_output_stops_the_run(value):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), value)

    with (
        EmbedEngine(Recogniser(Broken(), STUB), workers=1) as engine,
        pytest.raises(WeightsError, match="stub"),
    ):
        engine(np.zeros((1, 2, 2, 3), np.uint8))


def test_threads_stay_on_one_core_and_end():
    seen = []

    class Spy(Mean):
        def forward(self, x):
            seen.append((threading.current_thread(), torch.get_num_threads()))
            return super().forward(x)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with EmbedEngine(Recogniser(Spy(), STUB), workers=2) as engine:
            assert torch.get_num_threads() == 2
            engine(np.zeros((64, 2, 2, 3), np.uint8))
    finally:
        torch.set_num_threads(before)
    assert {threads for _, threads in seen} == {1}
    assert not any(thread.is_alive() for thread, _ in seen)
