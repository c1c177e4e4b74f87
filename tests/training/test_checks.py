"""The check on held-out faces: right figures, a generator that stays as it was, a sheet."""

import pytest
import torch

from mfrkit.masks.options import MaskOptions
from mfrkit.methods.views import PairedViews, ViewOptions
from mfrkit.models.completion import SmallCompletion
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import FaceFeatures
from mfrkit.training.checks import CompletionCheck
from mfrkit.training.data import Batches, open_train_set


class Knowing(SmallCompletion):
    """Draws what it was told."""

    def __init__(self, truth):
        super().__init__((8, 8, 16, 16), heads=2)
        self.truth = truth

    def pictures(self, faces, hole):
        return [self.truth]


@pytest.fixture
def parts(noise_crops):
    batches = Batches(
        open_train_set([str(noise_crops)]),
        size=(112, 112),
        views=ViewOptions(flip=0.0),
        masks=MaskOptions(),
        seed=7,
        batch_size=4,
    )
    batches.steps_per_epoch = 1
    views = PairedViews()

    def show(raw):
        return views(raw.crops, raw.points, raw.label, raw.index, raw.draws)

    return batches, show, FaceFeatures(load_recogniser("arcface")).requires_grad_(False)


def test_the_truth_is_perfect(parts):
    batches, show, _ = parts
    truth = show(batches.load(0)).clean
    generator = Knowing(truth).train()
    check = CompletionCheck(generator, *parts)
    figures = check(generator.state_dict())
    # Where the grown region's edge is soft, and outside, the contact shadow of the mask stays.
    assert figures["check_psnr"] > 40
    assert figures["check_ssim"] > 0.97
    assert figures["check_identity"] > 0.97 > figures["check_identity_masked"]
    assert figures["check_error"] < 0.02
    assert generator.training
    assert check.draw(generator.state_dict()).shape[2] == 3


def test_it_measures_the_weights_it_is_given(parts):
    torch.manual_seed(0)
    generator, other = (SmallCompletion((8, 8, 16, 16), heads=2) for _ in range(2))
    torch.nn.init.constant_(other.picture.bias, 0.1)  # both begin with the smooth filling
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    check = CompletionCheck(generator, *parts)
    assert check(generator.state_dict()) == check(generator.state_dict())
    assert check(other.state_dict()) != check(generator.state_dict())
    assert all(torch.equal(before[k], v) for k, v in generator.state_dict().items())
    assert all(p.requires_grad for p in generator.parameters())
