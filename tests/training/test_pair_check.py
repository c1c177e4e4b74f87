"""The check on pairs: right figures, and a student that stays as it was."""

import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.models.loading import load_recogniser
from mfrkit.models.registry import build_network
from mfrkit.training.pair_check import PairCheck


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
