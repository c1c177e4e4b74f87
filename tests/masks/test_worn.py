"""Masks cut out of faces: laid flat as they were worn, and refused where they are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from mfrkit.errors import InputError
from mfrkit.masks.camera import read_camera
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.pose import fit_pose
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.spec import sample_spec
from mfrkit.masks.worn import (
    ACROSS,
    BOTTOM,
    COLUMNS,
    ROWS,
    TOP,
    CutOut,
    WornFile,
    WornMasks,
    cut_out,
)

POINTS = np.array([[[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]])
SKIN = np.array([0.72, 0.55, 0.46])


def spec_of(kind, place=0.0, mirror=0.0, **words):
    options = MaskOptions(types={kind: 1.0}, jitter=0.0, **words)
    return replace(sample_spec(0, "a", options), texture_u=place, texture_v=mirror, cords=False)


def draw(spec, points=POINTS, worn=None, size=112, light=1.0):
    """Draw a mask on plain skin; (H, W, 3) and its region (H, W), both in [0, 1]."""
    face = torch.tensor(SKIN * light, dtype=torch.float32)[None, :, None, None]
    faces = face.expand(1, 3, size, size).contiguous()
    drawn = MaskRenderer(worn=worn)(faces, torch.tensor(points, dtype=torch.float32), [spec])
    return drawn.masked[0].permute(1, 2, 0).numpy(), drawn.region[0, 0].numpy()


def cut(picture, region, points=POINTS):
    pixels = (picture * 255 + 0.5).astype(np.uint8)
    pose = fit_pose(points)
    return cut_out(pixels, region, pose, read_camera(pixels[None], [0], pose))


def collection(tmp_path, *masks):
    file = WornFile.write(tmp_path / "worn.safetensors", masks, [str(n) for n in range(len(masks))])
    return WornMasks(file.planes)


def flat(red, green, blue, half=0.85):
    """A cut-out of one colour with a rectangular outline from 0.3 down to 1.86."""
    x = (np.arange(COLUMNS) + 0.5) / COLUMNS * 2 * ACROSS - ACROSS
    y = TOP + (np.arange(ROWS) + 0.5) / ROWS * (BOTTOM - TOP)
    sides, ends = half - np.abs(x)[None], np.minimum(y - 0.3, 1.86 - y)[:, None]
    color = np.broadcast_to(np.array([red, green, blue], np.float32), (ROWS, COLUMNS, 3))
    return CutOut(color, np.minimum(sides, ends).clip(-0.5, 0.5).astype(np.float32))


@pytest.mark.parametrize("kind", ["n95", "surgical"])
def test_a_mask_put_back_on_covers_what_it_covered_in_the_colour_it_had(tmp_path, kind):
    picture, region = draw(spec_of(kind, colors={"teal": 1.0}))
    mask = cut(picture, region)
    again, covered = draw(spec_of("worn"), worn=collection(tmp_path, mask))
    both, either = np.minimum(region, covered).sum(), np.maximum(region, covered).sum()
    assert both / either > 0.93
    inside = (region > 0.99) & (covered > 0.99)
    assert np.abs(picture - again)[inside].mean() < 0.03


def test_light_is_taken_out_and_that_of_the_next_face_put_on(tmp_path):
    """The same mask seen in bright and in dim light is one; on a dim face it is dim."""
    bright, dim = (
        cut(*draw(spec_of("n95", colors={"white": 1.0}), light=light)) for light in (1.0, 0.55)
    )
    inside = bright.edge > 0.1
    assert abs(np.median(bright.color[inside]) / np.median(dim.color[inside]) - 1) < 0.06
    worn = collection(tmp_path, bright)
    lights = []
    for light in (1.0, 0.55):
        picture, region = draw(spec_of("worn"), worn=worn, light=light)
        lights.append(np.median(picture[region > 0.9]))
    assert lights[1] < 0.85 * lights[0]


def test_a_turned_wearers_mask_is_straightened_and_its_hidden_side_filled(tmp_path):
    turned = POINTS.copy()
    turned[0, 2, 0] += 5
    picture, region = draw(spec_of("n95", colors={"teal": 1.0}), turned)
    mask = cut(picture, region, turned)
    _, covered = draw(spec_of("worn"), worn=collection(tmp_path, mask))
    _, straight = draw(spec_of("n95"))
    assert np.minimum(straight, covered).sum() / np.maximum(straight, covered).sum() > 0.88


def test_the_spec_says_which_mask_and_whether_mirrored(tmp_path):
    half = flat(0.8, 0.1, 0.1)
    color = half.color.copy()
    color[:, COLUMNS // 2 :] = (0.1, 0.1, 0.8)
    worn = collection(tmp_path, flat(0.1, 0.7, 0.1), CutOut(color, half.edge))
    left, right = (85, 40), (85, 72)
    for place, mirror, channels in ((0.49, 0.0, (1, 1)), (0.5, 0.0, (0, 2)), (0.99, 0.5, (2, 0))):
        picture, _ = draw(spec_of("worn", place, mirror), worn=worn)
        assert (picture[left].argmax(), picture[right].argmax()) == channels


def test_a_face_without_a_mask_or_with_a_poor_one_is_refused():
    picture, region = draw(spec_of("n95", colors={"teal": 1.0}))
    assert cut(picture, np.zeros_like(region)) == "no mask over nose and mouth"
    low, below = draw(spec_of("surgical", coverage={"chin": 1.0}))
    assert cut(low, below) == "no mask over nose and mouth"
    high = np.where(np.arange(112)[:, None] > 50, 1.0, region).astype(np.float32)
    assert cut(picture, high) == "not worn over the nose"
    half = np.where(np.arange(112) < 36, 0.0, region).astype(np.float32)
    assert cut(picture, half) == "too narrow or askew"
    doubt = np.where(region > 0.5, 0.7, region).astype(np.float32)
    assert cut(picture, doubt) == "uncertain"
    hand, held = draw(spec_of("n95", colors={"teal": 1.0}))
    hand[held > 0.5] = SKIN
    assert cut(hand, held) == "of the colour of skin"


def test_a_turned_head_and_a_blurred_photo_are_refused():
    picture, region = draw(spec_of("n95"))
    pixels = (picture * 255).astype(np.uint8)
    pose = fit_pose(POINTS)
    camera = read_camera(pixels[None], [0], pose)
    away = replace(pose, yaw=np.array([0.6]))
    assert cut_out(pixels, region, away, camera) == "turned away"
    soft = replace(camera, blur=np.array([2.4]))
    assert cut_out(pixels, region, pose, soft) == "blurred"


def test_a_file_is_read_as_it_was_written(tmp_path):
    masks = [flat(0.2, 0.4, 0.6), flat(1.0, 0.0, 0.5, half=0.7)]
    path = tmp_path / "worn.safetensors"
    written = WornFile.write(path, masks, ["a", "b/c"])
    read = WornFile.read(path)
    assert read.keys == ["a", "b/c"]
    np.testing.assert_array_equal(read.planes, written.planes)
    color = read.planes[1, :3].transpose(1, 2, 0) / 255
    np.testing.assert_allclose(color, masks[1].color, atol=0.003)
    edge = read.planes[1, 3] / 255 - 0.5
    np.testing.assert_allclose(edge, masks[1].edge, atol=0.003)
    assert len(read.describe()["sha256"]) == 64


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file of worn masks; mfrkit cut-masks"), (b"rubbish", "holds no worn masks")],
)
def test_what_is_no_such_file_is_refused(tmp_path, content, message):
    path = tmp_path / "worn.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        WornFile.read(path)


@pytest.mark.parametrize("keys", ["1", "null", "[" * 20_000, '{"a": 1}'])
def test_keys_that_are_no_list_are_refused(tmp_path, keys):
    path = tmp_path / "worn.safetensors"
    WornFile.write(path, [flat(0.2, 0.4, 0.6)], ["a"])
    with safe_open(path, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"keys": keys})
    with pytest.raises(InputError):
        WornFile.read(path)


def test_a_renderer_without_worn_masks_says_so():
    with pytest.raises(InputError, match="--worn-from"):
        draw(spec_of("worn"))
