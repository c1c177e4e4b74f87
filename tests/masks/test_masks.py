"""The renderer: what it covers, what it leaves alone, and that its bytes depend on nothing else."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mfrkit.errors import InputError, ShapeError
from mfrkit.masks.draw import SHADOW_REACH
from mfrkit.masks.kinds import COLORS, COVERAGES, KINDS, OWN, PASTED
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.pose import fit_pose
from mfrkit.masks.renderer import MaskRenderer, mask_pictures, outline_polygon, to_uint8
from mfrkit.masks.spec import MaskSpec, sample_spec
from mfrkit.masks.template import TemplateFile
from mfrkit.masks.worn import WornMasks

TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
EVERY = MaskOptions(
    types=dict.fromkeys(KINDS, 1.0),
    coverage={"above": 3, "on": 1, "below": 1, "chin": 1},
    jitter=2.0,
)


EVERYDAY = sorted(name for name, kind in KINDS.items() if kind.everyday)
OPAQUE = sorted(set(EVERYDAY) - {"window"})


def plain_template() -> TemplateFile:
    """A red hexagon with a blue upper half, its points in its corners."""
    import cv2

    points = np.array([[20, 60], [100, 20], [180, 60], [30, 110], [100, 180], [170, 110]])
    outline = points[[0, 1, 2, 5, 4, 3]].astype(np.int32)
    layer = cv2.fillPoly(np.zeros((200, 200, 4), np.uint8), [outline], (200, 40, 40, 255))
    layer[:85, :, :3] = layer[:85, :, 2::-1]
    return TemplateFile(Path("hexagon.png"), layer, points.astype(np.float64))


def plain_worn() -> WornMasks:
    """Three masks of smooth noise, of one outline each, soft to its edge."""
    planes = np.random.default_rng(3).integers(0, 255, (3, 4, 82, 96), dtype=np.uint8)
    x, y = np.meshgrid(np.linspace(-1.35, 1.35, 96), np.linspace(0.05, 2.35, 82))
    for place, half in enumerate((0.7, 0.8, 0.9)):
        edge = np.minimum(half - np.abs(x), np.minimum(y - 0.3, 1.8 - y))
        planes[place, 3] = np.clip((edge + 0.5) * 255, 0, 255)
    return WornMasks(planes)


def face_like(count: int, size: int = 112, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth coloured pictures with points scattered round the template, heads turned."""
    generator = np.random.default_rng(seed)
    coarse = torch.tensor(generator.random((count, 3, 6, 6)), dtype=torch.float32)
    faces = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    faces = faces * 0.6 + torch.tensor([0.35, 0.25, 0.2])[:, None, None]
    points = TEMPLATE + generator.normal(0, 1.5, (count, 5, 2))
    points[:, 2, 0] += generator.uniform(-14, 14, count)  # half profiles to frontal
    points = points * size / 112
    return faces, torch.tensor(points, dtype=torch.float32)


def specs_for(count: int, options: MaskOptions = EVERY, seed: int = 0) -> list[MaskSpec]:
    return [sample_spec(seed, str(i), options) for i in range(count)]


def template(count: int = 1) -> Tensor:
    return torch.tensor(TEMPLATE, dtype=torch.float32).repeat(count, 1, 1)


@pytest.fixture(scope="module")
def renderer() -> MaskRenderer:
    return MaskRenderer(plain_template(), plain_worn())


@pytest.fixture
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def in_batches(renderer, faces, points, specs, order, batch) -> Tensor:
    """Render in the given order and batch size; put the uint8 results back in place."""
    out = torch.zeros(faces.shape, dtype=torch.uint8)
    regions = torch.zeros(faces[:, :1].shape, dtype=torch.uint8)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        drawn = renderer(faces[part], points[part], [specs[i] for i in part])
        out[part], regions[part] = to_uint8(drawn.masked), to_uint8(drawn.region)
    return torch.cat([out, regions], dim=1)


@pytest.mark.parametrize(("size", "each"), [(112, 2), (160, 1), (77, 1)])
def test_bytes_depend_on_the_face_alone(renderer, restore_threads, size, each):
    kinds = [*KINDS] * each
    count = len(kinds)
    faces, points = face_like(count, size)
    options = [dataclasses.replace(EVERY, types={kind: 1.0}) for kind in kinds]
    specs = [sample_spec(0, str(i), drawn) for i, drawn in enumerate(options)]
    torch.set_num_threads(1)
    expected = in_batches(renderer, faces, points, specs, list(range(count)), count)
    shuffled = np.random.default_rng(1).permutation(count).tolist()
    for threads, order, batch in (
        (1, list(range(count)), 1),
        (2, shuffled, 7),
        (2, shuffled, count),
    ):
        torch.set_num_threads(threads)
        got = in_batches(renderer, faces, points, specs, order, batch)
        assert torch.equal(got, expected), (threads, batch)


def test_input_is_untouched_and_output_is_new(renderer):
    faces, points = face_like(4)
    before = faces.clone()
    specs = [*specs_for(3), sample_spec(0, "bare", MaskOptions(probability=0.0))]
    drawn = renderer(faces, points, specs)
    assert torch.equal(faces, before)
    assert drawn.masked.data_ptr() != faces.data_ptr()
    assert torch.equal(drawn.masked[3], faces[3])
    assert drawn.region[3].max() == 0


@pytest.mark.parametrize("kind", OPAQUE)
def test_an_ordinary_mask_covers_the_lower_face_but_no_eye(renderer, kind):
    faces, _ = face_like(16)
    specs = specs_for(16, MaskOptions(types={kind: 1.0}))
    drawn = renderer(faces, template(16), specs)
    assert drawn.region.min() >= 0
    assert drawn.region.max() <= 1
    assert 0 <= drawn.masked.min() <= drawn.masked.max() <= 1
    share = drawn.region.mean(dim=(1, 2, 3))
    assert (share > 0.20).all(), share
    assert (share < 0.45).all(), share
    for x, y in TEMPLATE[:2].round().astype(int):
        assert drawn.region[:, 0, y - 6 : y + 5, x - 8 : x + 9].max() == 0
    nose_x, nose_y = TEMPLATE[2].round().astype(int)
    assert drawn.region[:, 0, nose_y, nose_x].min() == 1
    for x, y in TEMPLATE[3:].round().astype(int):
        assert drawn.region[:, 0, y, x].min() == 1


def test_a_window_shows_the_mouth_and_hides_the_rest(renderer):
    faces, _ = face_like(4)
    specs = specs_for(4, MaskOptions(types={"window": 1.0}))
    region = renderer(faces, template(4), specs).region[:, 0]
    nose, mouth = (int(TEMPLATE[i, 1]) for i in (2, 3))
    assert (region[:, mouth - 3, 56] < 0.5).all()
    assert (region[:, mouth - 3, 28] == 1).all()
    assert (region[:, nose, 56] == 1).all()


@pytest.mark.parametrize("kind", OPAQUE)
def test_coverage_levels_are_ordered(renderer, kind):
    faces, _ = face_like(1)
    spec = sample_spec(0, "a", MaskOptions(types={kind: 1.0}, jitter=0))
    specs = [dataclasses.replace(spec, coverage=name) for name in COVERAGES]
    region = renderer(faces.expand(len(specs), -1, -1, -1), template(len(specs)), specs).region
    upper = region[:, 0, :, 56].argmax(dim=1)  # row of the upper edge on the mid-line
    assert (upper.diff() > 3).all(), upper
    nose, mouth = int(TEMPLATE[2, 1]), int(TEMPLATE[3, 1])
    above, on, below, chin = region[:, 0, :, 56]
    assert above[nose - 4] > 0.5
    assert on[nose - 8] == 0
    assert on[nose + 6] == 1
    assert below[nose] == 0
    assert below[mouth + 14] == 1
    assert chin[mouth - 4] == 0


def test_as_many_at_a_time_as_on_a_gpu_give_the_same(renderer, monkeypatch):
    faces = torch.rand(40, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    points = torch.from_numpy(TEMPLATE).float().expand(40, 5, 2)
    specs = [sample_spec(2, str(number), MaskOptions()) for number in range(40)]
    drawn = renderer(faces, points, specs)
    monkeypatch.setattr("mfrkit.masks.renderer._CHUNK", 3)
    again = renderer(faces, points, specs)
    assert torch.equal(drawn.masked, again.masked)
    assert torch.equal(drawn.region, again.region)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_hides_part_of_the_lower_face_alone(renderer, kind):
    faces, _ = face_like(4)
    drawn = renderer(faces, template(4), specs_for(4, MaskOptions(types={kind: 1.0})))
    assert (drawn.region[:, 0, 96] > 0.5).any(dim=1).all()
    assert drawn.region[:, 0, :40].max() == 0
    assert torch.isfinite(drawn.masked).all()


@pytest.mark.parametrize("kind", [n for n, k in KINDS.items() if k.flat and n not in PASTED])
def test_a_benchmark_shape_is_one_colour_and_never_jittered(renderer, kind):
    faces, _ = face_like(2)
    options = MaskOptions(types={kind: 1.0}, colors={"red": 1.0}, coverage={"below": 1.0})
    drawn = renderer(faces, template(2), specs_for(2, options))
    assert torch.equal(drawn.region[0], drawn.region[1])
    inside = drawn.region[0, 0] == 1
    red = torch.tensor(COLORS["red"])
    torch.testing.assert_close(drawn.masked[0][:, inside].T, red.expand(int(inside.sum()), 3))
    assert torch.equal(drawn.masked[:, :, :40], faces[:, :, :40])


def test_nist_heights_are_ordered(renderer):
    faces, _ = face_like(6)
    specs = [sample_spec(0, "a", MaskOptions(types={f"nist-{c}": 1.0})) for c in "acebdf"]
    region = renderer(faces, template(6), specs).region[:, 0]
    share, top = region.mean(dim=(1, 2)), (region[:, :, 56] > 0.5).float().argmax(dim=1)
    for wide, round_ in ((0, 3), (1, 4), (2, 5)):
        assert share[wide] > share[round_]
    assert share[0] > share[1] > share[2]
    assert share[3] > share[4] > share[5]
    assert (top[:3].diff() > 5).all()
    assert (top[3:].diff() > 5).all()


def test_outside_the_region_only_the_contact_shadow_darkens(renderer):
    faces, points = face_like(12)
    drawn = renderer(faces, points, specs_for(12))
    clear = drawn.region == 0
    assert (drawn.masked <= faces)[clear.expand_as(faces)].all()
    # A tenth of the eye distance along the sheet; a turned head shows its near side larger.
    reach = int(np.ceil(3.5 * SHADOW_REACH * fit_pose(points.numpy()).scale.max()))
    near = torch.nn.functional.max_pool2d(drawn.region, 2 * reach + 1, 1, reach) > 0
    far = ~near.expand_as(faces)
    assert far.float().mean() > 0.2
    assert torch.equal(drawn.masked[far], faces[far])
    assert (drawn.masked < faces)[(clear & near).expand_as(faces)].any()


def test_a_turned_face_shows_less_of_the_far_side(renderer):
    faces, _ = face_like(2)
    turned = TEMPLATE.copy()
    turned[2, 0] += 9  # the nose towards the picture's right,
    turned[:, 0] = 56 + (turned[:, 0] - 56) * 0.85  # and the features drawn together
    points = torch.tensor(np.stack([TEMPLATE, turned]), dtype=torch.float32)
    spec = sample_spec(0, "a", MaskOptions(types={"surgical": 1.0}, jitter=0))
    region = renderer(faces, points, [dataclasses.replace(spec, cords=False)] * 2).region[:, 0]
    row = region[:, 80] > 0.5
    nose = points[:, 2, 0].round().long()
    far = torch.stack([row[i, nose[i] :].sum() for i in range(2)])
    near = torch.stack([row[i, : nose[i]].sum() for i in range(2)])
    assert abs(int(far[0]) - int(near[0])) <= 3  # frontal: both sides alike
    assert far[1] * 1.5 < near[1]
    assert far[1] < far[0]


def test_size_scales_with_the_face_not_the_picture(renderer):
    faces, _ = face_like(1, 224)
    spec = sample_spec(0, "a", MaskOptions(types={"n95": 1.0}))
    doubled = template() * 2 + 0.5  # pixel centres
    large = renderer(faces, doubled, [spec]).region
    small = renderer(faces[..., :112, :112], template(), [spec]).region
    halved = torch.nn.functional.avg_pool2d(large, 2)
    assert (halved - small).abs().mean() < 0.01


def test_gradients_flow_through_what_is_uncovered(renderer):
    faces, points = face_like(3)
    faces.requires_grad_()
    drawn = renderer(faces, points, specs_for(3))
    drawn.masked.sum().backward()
    gradient = faces.grad[:, :1]
    assert not drawn.region.requires_grad
    assert torch.all(gradient[drawn.region == 1] == 0)
    assert torch.all(gradient[drawn.region == 0] > 0)


def test_a_spec_renders_the_same_bytes_after_json(renderer):
    import json

    faces, points = face_like(8)
    specs = specs_for(8)
    again = [MaskSpec.from_json(json.loads(json.dumps(spec.to_json()))) for spec in specs]
    first, second = renderer(faces, points, specs), renderer(faces, points, again)
    assert torch.equal(first.masked, second.masked)


def test_the_mask_is_as_dark_as_the_face(renderer):
    faces, _ = face_like(1)
    spec = sample_spec(0, "a", MaskOptions(types={"surgical": 1.0}, colors={"white": 1.0}))
    pair = torch.cat([faces, faces * 0.25])
    drawn = renderer(pair, template(2), [spec] * 2)
    inside = drawn.region[0, 0] == 1
    bright, dark = (drawn.masked[i, :, inside].mean() for i in range(2))
    assert dark < 0.65 * bright


def test_a_grey_picture_gets_a_grey_mask(renderer):
    faces, _ = face_like(1)
    grey = faces.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    spec = sample_spec(0, "a", MaskOptions(types={"surgical": 1.0}, colors={"blue": 1.0}))
    masked = renderer(grey, template(), [spec]).masked
    assert (masked.amax(dim=1) - masked.amin(dim=1)).max() < 1e-5


def test_faces_outside_their_pictures_are_left_alone(renderer):
    faces, _ = face_like(1)
    drawn = renderer(faces, template() + 900, specs_for(1))
    assert torch.equal(drawn.masked, faces)


def test_bad_shapes_and_points_are_refused(renderer):
    faces, points = face_like(2)
    specs = specs_for(2)
    with pytest.raises(ShapeError, match="float32"):
        renderer((faces * 255).to(torch.uint8), points, specs)
    with pytest.raises(ShapeError, match="points must be"):
        renderer(faces, points[:1], specs)
    with pytest.raises(ShapeError, match="2 faces but 1"):
        renderer(faces, points, specs[:1])
    with pytest.raises(InputError, match="finite"):
        renderer(faces, points * float("nan"), specs)


def test_polygon_encloses_the_region(renderer):
    import cv2

    faces, points = face_like(4)
    specs = specs_for(4, MaskOptions(types={"surgical": 1.0}))
    drawn = renderer(faces, points, [dataclasses.replace(s, cords=False) for s in specs])
    for plane in drawn.region[:, 0].numpy():
        polygon = outline_polygon(plane)
        filled = cv2.fillPoly(np.zeros(plane.shape, np.uint8), [polygon], 1)
        inside = plane > 0.5
        assert (filled != inside).sum() < 0.06 * inside.sum()
    assert outline_polygon(np.zeros((4, 4), np.float32)).shape == (0, 2)


def test_to_uint8_rounds_halves_up():
    values = torch.tensor([0.0, 0.4999 / 255, 0.5 / 255, 254.5 / 255, 1.0, 2.0])
    assert to_uint8(values).tolist() == [0, 0, 1, 255, 255, 255]


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
