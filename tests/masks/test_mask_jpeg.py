"""JPEG grain: read off pictures whose quality is known, and drawn as the JPEG library makes it."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from mfrkit.masks.camera import add_grain, read_camera, steps
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.pose import fit_pose
from mfrkit.masks.renderer import MaskRenderer, mask_pictures, to_uint8
from mfrkit.masks.spec import MaskSpec, sample_spec

POINTS = np.array([[38, 52], [74, 52], [56, 72], [41, 92], [71, 92]], np.float32)


def photos(count: int, seed: int = 0) -> np.ndarray:
    """Coloured pictures with soft shapes and a little noise, (B, 112, 112, 3)."""
    generator = np.random.default_rng(seed)
    shapes = [cv2.GaussianBlur(s, (0, 0), 3) for s in generator.normal(0, 160, (count, 112, 112))]
    noise = generator.normal(0, 2.5, (count, 112, 112, 3))
    skin = np.array([170, 130, 110])
    return np.clip(np.stack(shapes)[..., None] + skin + noise, 0, 255).astype(np.uint8)


def compressed(pictures: np.ndarray, quality: int) -> np.ndarray:
    return np.stack(
        [
            cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], -1)
            for p in pictures
        ]
    )


def read(pictures: np.ndarray) -> list[int]:
    pose = fit_pose(np.repeat(POINTS[None], len(pictures), axis=0))
    return read_camera(pictures, list(range(len(pictures))), pose).quality.tolist()


def masks(count: int) -> list[MaskSpec]:
    options = MaskOptions(types={"surgical": 1.0, "cloth": 1.0, "gaiter": 1.0})
    return [sample_spec(0, str(i), options) for i in range(count)]


@pytest.mark.parametrize("quality", [25, 50, 75, 85])
def test_the_quality_is_told_from_the_pixels(quality):
    found = read(compressed(photos(4), quality))
    for each in found:  # some qualities share their steps
        np.testing.assert_array_equal(steps(each)[:3, :3], steps(quality)[:3, :3])
    mirrored = compressed(photos(4), quality)[:, :, ::-1]
    assert read(np.ascontiguousarray(mirrored)) == found


def test_clean_shifted_and_resized_pictures_count_as_clean():
    assert read(photos(4)) == [0] * 4
    coarse = compressed(photos(4), 40)
    assert read(np.roll(coarse, 3, axis=2)) == [0] * 4
    large = [cv2.resize(p, (150, 150)) for p in coarse]
    assert read(np.stack([p[19:131, 19:131] for p in large])) == [0] * 4
    assert read(np.full((1, 6, 6, 3), 100, np.uint8)) == [0], "smaller than a block"


@pytest.mark.parametrize(("quality", "share"), [(20, 0.4), (50, 0.35), (75, 0.35)])
def test_the_grain_is_that_of_the_library(quality, share):
    grey = photos(1)[0, :104, :101, 0]  # the last blocks are cut
    expected = cv2.imdecode(cv2.imencode(".jpg", grey, [1, quality])[1], -1).astype(np.float32)
    planes = torch.from_numpy(grey / np.float32(255)).expand(1, 3, -1, -1).clone()
    add_grain(planes, torch.ones(1, *grey.shape), np.array([quality]))
    drawn = planes[0, 1].numpy() * 255
    assert np.abs(drawn - expected).mean() < share * np.abs(grey - expected).mean()


def test_grain_touches_what_is_covered_and_no_clean_picture():
    faces = torch.from_numpy(photos(3)).permute(0, 3, 1, 2).float() / 255
    alpha = torch.zeros(3, 112, 112)
    alpha[:, 50:90, 30:80] = 1
    planes = faces.clone()
    add_grain(planes, alpha, np.array([50, 0, 75]))
    changed = (planes != faces).any(dim=1)
    assert not changed[alpha == 0].any()
    assert not changed[1].any()
    assert changed[0][alpha[0] > 0].float().mean() > 0.9
    alone = faces[2:].clone()
    with torch.autocast("cpu", torch.bfloat16):  # as in training
        add_grain(alone, alpha[2:], np.array([75]))
    assert torch.equal(alone, planes[2:])


def test_a_level_more_in_a_pixel_tips_no_block():
    """Else devices, which differ in a last bit, could differ in much."""
    one = torch.from_numpy(photos(1)).permute(0, 3, 1, 2).float() / 255
    alpha = torch.ones(1, 112, 112)
    generator = np.random.default_rng(0)
    for row, column in generator.integers(0, 112, (40, 2)):
        planes, other = one.clone(), one.clone()
        other[..., row, column] += 1 / 255
        for each in (planes, other):
            add_grain(each, alpha, np.array([30]))
        other[..., row, column] -= 1 / 255
        assert (planes - other).abs().max() * 255 <= 2


def test_masks_carry_the_grain_of_compressed_photos_whatever_the_batch():
    pictures = compressed(photos(6), 60)
    pictures[4:] = photos(6)[4:]  # clean ones among them
    points, specs, renderer = np.repeat(POINTS[None], 6, axis=0), masks(6), MaskRenderer()
    masked, region = mask_pictures(renderer, pictures, points, specs)
    older = [dataclasses.replace(spec, jpeg=False) for spec in specs]
    smooth, same_region = mask_pictures(renderer, pictures, points, older)
    np.testing.assert_array_equal(region, same_region)
    np.testing.assert_array_equal(masked[4:], smooth[4:])
    np.testing.assert_array_equal(masked[region == 0], smooth[region == 0])
    inside = region[:4] == 255
    assert (masked[:4] != smooth[:4]).any(axis=-1)[inside].mean() > 0.3

    faces = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    drawn = renderer(faces, torch.from_numpy(points), specs).masked
    np.testing.assert_array_equal(masked, to_uint8(drawn).permute(0, 2, 3, 1).numpy())
    for i in range(6):
        alone = mask_pictures(renderer, pictures[i : i + 1], points[:1], specs[i : i + 1])[0][0]
        np.testing.assert_array_equal(alone, masked[i])


def test_a_manifest_older_than_the_grain_draws_none():
    record = masks(1)[0].to_json()
    assert MaskSpec.from_json(record).jpeg
    del record["jpeg"]
    assert not MaskSpec.from_json(record).jpeg
    assert not sample_spec(0, "a", MaskOptions(types={"nist-a": 1.0})).jpeg
