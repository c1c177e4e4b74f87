"""The checks on held-out faces and on pairs: right figures, and networks that stay as they were."""

import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.views import PairedViews, ViewOptions
from mfrkit.models.completion import SmallCompletion
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import FaceFeatures
from mfrkit.models.registry import build_network
from mfrkit.training.checks import CompletionCheck, PairCheck
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


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.txt"
    same = [f"p{p}/p{p}_{i} p{p}/p{p}_{i} 1" for p in range(3) for i in range(2)]
    other = [f"p{p}/p{p}_{i} p{(p + 1) % 3}/p{(p + 1) % 3}_{i} 0" for p in range(3) for i in (0, 1)]
    path.write_text("\n".join(same + other) + "\n")
    return path


def test_the_check_measures_the_weights_it_is_given(noise_crops, pairs):
    student = load_recogniser("arcface").train()
    check = PairCheck(pairs, str(noise_crops), masks=MaskOptions(), workers=1)
    before = {k: v.clone() for k, v in student.state_dict().items()}
    figures = check(student, student.state_dict())
    assert figures["check_unmasked_eer"] == 0  # a picture against itself
    assert figures["check_error"] == pytest.approx(
        (figures["check_unmasked_eer"] + figures["check_masked_eer"]) / 2
    )
    assert check(student, student.state_dict()) == figures
    torch.manual_seed(0)
    fresh = build_network("mobilefacenet", {"embedding_dim": 192}).state_dict()
    assert check(student, {f"network.{k}": v for k, v in fresh.items()}) != figures
    assert student.training
    assert all(p.requires_grad for p in student.parameters())
    after = student.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_missing_crops_are_named(noise_crops, pairs):
    (noise_crops / "p0" / "p0_0.png").unlink()
    with pytest.raises(InputError, match="lacks 1 of the 6 crops .*p0/p0_0"):
        PairCheck(pairs, str(noise_crops), masks=MaskOptions(), workers=1)
