"""Free-form holes: of every size, reproducible, inside the picture."""

import numpy as np

from mfrkit.masks.freeform import draw_strokes


def test_holes_are_reproducible_and_differ():
    one, again, two = (draw_strokes(np.random.default_rng(s), (112, 112)) for s in (3, 3, 4))
    assert (one == again).all()
    assert (one != two).any()
    assert one.shape == (112, 112)
    assert one.dtype == np.float32


def test_holes_cover_some_but_not_all():
    shares = [draw_strokes(np.random.default_rng(s), (96, 64)).mean() for s in range(60)]
    assert min(shares) > 0.005
    assert max(shares) < 0.85
    assert 0.1 < np.mean(shares) < 0.45
    assert np.std(shares) > 0.05
