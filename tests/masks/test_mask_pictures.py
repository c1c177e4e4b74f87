"""Decoded pictures get what the renderer draws on the same pictures in [0, 1]."""

import numpy as np
import torch

from mfrkit.masks.kinds import KINDS, OWN
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.pictures import mask_pictures
from mfrkit.masks.renderer import MaskRenderer, to_uint8
from mfrkit.masks.spec import sample_spec

POINTS = np.array([[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]], np.float32)
DRAWN = [name for name in KINDS if name not in OWN]


def test_pictures_get_the_renderers_own_bytes():
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (len(DRAWN), 112, 112, 3), np.uint8)
    before = pictures.copy()
    points = POINTS + generator.normal(0, 2, (len(DRAWN), 5, 2)).astype(np.float32)
    specs = [sample_spec(0, kind, MaskOptions(types={kind: 1.0})) for kind in DRAWN]
    renderer = MaskRenderer()
    masked, region = mask_pictures(renderer, pictures, points, specs)

    faces = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    drawn = renderer(faces, torch.from_numpy(points), specs)
    np.testing.assert_array_equal(masked, to_uint8(drawn.masked).permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(region, to_uint8(drawn.region)[:, 0].numpy())
    np.testing.assert_array_equal(pictures, before)


def test_a_picture_without_a_mask_is_returned_as_it_is():
    picture = np.full((1, 112, 112, 3), 77, np.uint8)
    bare = sample_spec(0, "a", MaskOptions(probability=0.0))
    masked, region = mask_pictures(MaskRenderer(), picture, POINTS[None], [bare])
    np.testing.assert_array_equal(masked, picture)
    assert not region.any()
