"""Two views of one draw: what they share, and what only the student gets."""

import dataclasses

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError, ShapeError
from mfrkit.faces.geometry import template
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.realign import Context
from mfrkit.methods.views import PairedViews, ViewOptions, draw_view

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


class Aligner(torch.nn.Module):
    """Believes that every face belongs `shift` pixels further right, if it is sure at all."""

    def __init__(self, shift, sure=True):
        super().__init__()
        self.shift, self.sure, self.boxes = shift, sure, None

    def forward(self, pictures, boxes, side):
        self.boxes = boxes
        edge = (pictures.shape[3] - side) / 2
        matrix = torch.tensor([[1.0, 0, self.shift - edge], [0, 1, -edge]])
        return matrix.expand(len(boxes), 2, 3), torch.full((len(boxes),), self.sure)


@pytest.fixture(scope="module")
def wide():
    """The surroundings of the first and third of four faces."""
    coarse = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(coarse, (224, 224), mode="bilinear")
    pictures = (smooth * 200 + 20).to(torch.uint8)
    return Context(torch.tensor([0, 2]), pictures, torch.tensor([[55.0, 64, 105, 2]] * 2))


def show_wide(crops, wide, aligner, masks=BARE, **options):
    crops = crops[:4].clone()
    crops[wide.place] = wide.pictures[:, :, 56:168, 56:168]
    views = ViewOptions(align="mesh", **options)
    draws = [draw_view(3, 0, i, views, masks) for i in range(4)]
    unknown = torch.full((4,), -1)
    points = POINTS.expand(4, 5, 2)
    shown = PairedViews(aligner)(crops, points, unknown, unknown, draws, context=wide)
    return shown, crops / 255


def test_faces_cut_out_wide_are_aligned_anew_from_what_is_round_them(crops, wide):
    aligner = Aligner(shift=20)
    batch, plain = show_wide(crops, wide, aligner, flip=0.0)
    torch.testing.assert_close(batch.clean, plain)
    torch.testing.assert_close(batch.masked[[1, 3]], plain[[1, 3]])
    beyond = wide.pictures[:, :, 56:168, 36:148] / 255
    torch.testing.assert_close(batch.masked[[0, 2]], beyond, atol=1e-4, rtol=0)
    middle = aligner.boxes.mean(0)[:2] - 56
    assert (middle - torch.tensor([55.0, 64])).abs().max() < 20  # shaken, in the picture's pixels


def test_mirroring_comes_after_the_alignment(crops, wide):
    straight, _ = show_wide(crops, wide, Aligner(shift=7), flip=0.0)
    mirrored, _ = show_wide(crops, wide, Aligner(shift=7), flip=1.0)
    torch.testing.assert_close(mirrored.masked, straight.masked.flip(3))
    torch.testing.assert_close(mirrored.clean, straight.clean.flip(3))


@pytest.mark.parametrize(
    ("aligner", "options"),
    [(Aligner(20, sure=False), {}), (None, {}), (Aligner(20), {"meshed": 0.0})],
)
def test_faces_the_mesh_does_not_align_are_moved_as_drawn(crops, wide, aligner, options):
    shift = draw_view(3, 0, 2, ViewOptions(shift=0.05), BARE).shift * 112
    batch, _ = show_wide(crops, wide, aligner, flip=0.0, shift=0.05, **options)
    at = np.round(shift).astype(int)
    assert np.abs(at).max() > 2
    near = wide.pictures[1, :, 56 + at[1] : 168 + at[1], 56 + at[0] : 168 + at[0]] / 255
    assert (batch.masked[2] - near).abs().mean() < 0.02


def test_masks_of_wide_faces_lie_where_those_of_plain_ones_do(crops, wide):
    worn = MaskOptions.parse(types="surgical", jitter=0, probability=1)
    batch, plain = show_wide(crops, wide, None, worn, flip=0.0)
    near = show(torch.round(plain * 255).to(torch.uint8), STILL, worn)
    assert (batch.region[[0, 2]] - near.region[[0, 2]]).abs().mean() < 1e-3


def test_long_tails_leave_the_middle_as_it_is():
    angles, tails = [], []
    for found, tail in ((angles, 0.0), (tails, 3.0)):
        options = ViewOptions(rotation=2, tail=tail)
        draws = [draw_view(1, 0, i, options, BARE) for i in range(4000)]
        found += [abs(np.degrees(np.arctan2(d.turn[1, 0], d.turn[0, 0]))) for d in draws]
    assert np.median(angles) == pytest.approx(2 * 0.674, rel=0.1)
    assert np.median(tails) == pytest.approx(2 * 0.765, rel=0.1)  # of Student's t at 3
    assert np.quantile(angles, 0.99) < 5.5 < 8 < np.quantile(tails, 0.99)
    assert max(tails) <= 12


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
    "wrong",
    [
        {"flip": 1.5},
        {"blur": -0.1},
        {"rotation": 90},
        {"shift": 2},
        {"coarsest": 0.5},
        {"tail": 0.5},
        {"meshed": 2},
        {"looks": 0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError, match=f"views.{next(iter(wrong))}"):
        ViewOptions(**wrong)


def test_float_crops_are_refused(crops):
    with pytest.raises(ShapeError, match="uint8"):
        show(crops / 255, STILL)
