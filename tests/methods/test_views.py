"""Two views of one draw: what they share, and what only the student gets."""

import dataclasses

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError, ShapeError
from mfrkit.faces.geometry import template
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.view_draw import ViewOptions, draw_view
from mfrkit.methods.views import PairedViews

POINTS = torch.tensor(template(), dtype=torch.float32)
BARE = MaskOptions(probability=0.0)
STILL = ViewOptions(flip=0.0)


@pytest.fixture(scope="module")
def crops():
    """Eight faces of smooth noise, no two pixels alike."""
    coarse = torch.rand(8, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (112, 112), mode="bilinear")
    return (smooth * 200 + 20).to(torch.uint8)


def show(crops, options, masks=BARE, seed=3, **changes):
    draws = [draw_view(seed, 0, i, options, masks) for i in range(len(crops))]
    draws = [dataclasses.replace(draw, **changes) for draw in draws]
    count = len(crops)
    return PairedViews()(
        crops, POINTS.expand(count, 5, 2), torch.full((count,), -1), torch.arange(count), draws
    )


def test_bare_and_still_is_the_crop_itself(crops):
    batch = show(crops, STILL)
    torch.testing.assert_close(batch.clean, crops / 255)
    torch.testing.assert_close(batch.masked, crops / 255)
    assert not batch.worn.any()


def test_the_teacher_never_sees_a_mask_and_the_source_is_not_painted(crops):
    before = crops.clone()
    batch = show(crops, STILL, MaskOptions(probability=1.0))
    assert batch.worn.all()
    torch.testing.assert_close(batch.clean, crops / 255)
    assert (batch.masked - batch.clean).abs().amax((1, 2, 3)).min() > 0.1
    assert torch.equal(crops, before)


def test_mirroring_and_light_are_shared(crops):
    options = ViewOptions(flip=1.0, gain=0.2, offset=0.1)
    batch = show(crops, options)
    torch.testing.assert_close(batch.masked, batch.clean)
    draw = draw_view(3, 0, 2, options, BARE)
    wanted = ((crops[2] / 255 - 0.5) * draw.gain + 0.5 + draw.offset).clamp(0, 1).flip(2)
    torch.testing.assert_close(batch.clean[2], wanted)


def test_the_mask_follows_the_mirrored_points(crops):
    """A mask on mirrored points lies where the mirror image of the mask on the points lies."""
    even = torch.full_like(crops, 128)
    points = POINTS.clone()
    points[:, 0] += 12  # a face to the right of the middle
    masks = MaskOptions.parse(types="rectangle", jitter=0)
    draw = draw_view(3, 0, 0, STILL, masks)
    views, unknown = PairedViews(), torch.tensor([-1])
    one, other = (
        views(even[:1], points[None], unknown, unknown, [dataclasses.replace(draw, flip=flip)])
        for flip in (False, True)
    )
    middle = torch.arange(112.0)
    at, mirrored = (
        float((b.region[0, 0].sum(0) * middle).sum() / b.region.sum()) for b in (one, other)
    )
    assert at > 60
    assert mirrored == pytest.approx(111 - at, abs=1.0)


def test_misalignment_reaches_the_student_only(crops):
    shift = np.array([8 / 112, 0], np.float32)
    batch = show(crops, STILL, MaskOptions(probability=1.0), shift=shift)
    still = show(crops, STILL, MaskOptions(probability=1.0))
    torch.testing.assert_close(batch.clean, crops / 255)
    # The view looks 8 pixels to the right: what was there moves left.
    torch.testing.assert_close(batch.masked[..., :100], still.masked[..., 8:108], atol=1e-4, rtol=0)
    torch.testing.assert_close(batch.region[..., :100], still.region[..., 8:108], atol=1e-4, rtol=0)


def test_loss_of_resolution_reaches_the_student_only(crops):
    noise = torch.randint(0, 255, crops.shape, dtype=torch.uint8)
    batch = show(noise, STILL, coarse=3.0)
    assert batch.masked.std() < 0.5 * batch.clean.std()


def test_a_view_depends_on_seed_epoch_and_index_alone(crops):
    options = ViewOptions(gain=0.1, rotation=3, scale=0.05, shift=0.02, blur=0.5)
    masks = MaskOptions(probability=0.5)
    whole = show(crops, options, masks)
    draws = [draw_view(3, 0, i, options, masks) for i in (5, 1)]
    part = PairedViews()(
        crops[[5, 1]], POINTS.expand(2, 5, 2), torch.tensor([-1, -1]), torch.tensor([5, 1]), draws
    )
    torch.testing.assert_close(part.masked, whole.masked[[5, 1]])
    first, second = (draw_view(3, epoch, 0, options, masks) for epoch in (0, 1))
    assert first.gain != second.gain
    assert first.spec != second.spec


def test_shares_are_as_asked():
    options = ViewOptions(flip=0.5, blur=0.3)
    draws = [draw_view(0, 0, i, options, MaskOptions(probability=0.75)) for i in range(2000)]
    assert np.mean([d.flip for d in draws]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([d.coarse > 1 for d in draws]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([d.spec.kind != "none" for d in draws]) == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize(
    "wrong", [{"flip": 1.5}, {"blur": -0.1}, {"rotation": 90}, {"shift": 2}, {"coarsest": 0.5}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError, match=f"views.{next(iter(wrong))}"):
        ViewOptions(**wrong)


def test_float_crops_are_refused(crops):
    with pytest.raises(ShapeError, match="uint8"):
        show(crops / 255, STILL)
