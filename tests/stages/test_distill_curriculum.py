"""Masks that become more frequent, step by step, and the same after a restart."""

from mfrkit.masks.catalog import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.view_draw import ViewOptions, draw_view
from mfrkit.stages.distill_curriculum import GrowingMasks
from mfrkit.stages.fit_options import FitOptions
from mfrkit.stages.train_data import open_train_set

VIEWS, MASKS = ViewOptions(gain=0.1), MaskOptions(probability=0.8)


def batches(crops, steps=8):
    return GrowingMasks(
        open_train_set([str(crops)]),
        growth=0.5,
        fit=FitOptions(steps=steps),
        size=(112, 112),
        views=VIEWS,
        masks=MASKS,
        seed=3,
        batch_size=12,
    )


def worn(raw):
    return {
        i for i, draw in zip(raw.index.tolist(), raw.draws, strict=True) if draw.spec.kind != BARE
    }


def test_the_share_grows_to_the_full_one_and_stays(shared_noise_crops):
    made = batches(shared_noise_crops)
    steps = [made.load(step) for step in range(6)]
    assert not worn(steps[0])
    for step, raw in enumerate(steps):
        full = [draw_view(3, step, i, VIEWS, MASKS) for i in raw.index.tolist()]
        share = min(1.0, step / 4)
        for draw, wanted in zip(raw.draws, full, strict=True):
            if draw.spec.kind != BARE:
                assert draw.spec == wanted.spec  # who wears a mask wears that of the full share
            assert (draw.flip, draw.gain) == (wanted.flip, wanted.gain)
        if share == 1:
            assert worn(raw) == {
                i
                for i, draw in zip(raw.index.tolist(), full, strict=True)
                if draw.spec.kind != BARE
            }
    assert 0 < len(worn(steps[2])) < len(worn(steps[5]))


def test_a_restart_sees_the_same(shared_noise_crops):
    stream = batches(shared_noise_crops).stream(2, 4, 1)
    for step, raw in zip((2, 3), stream, strict=True):
        assert worn(raw) == worn(batches(shared_noise_crops).load(step))
