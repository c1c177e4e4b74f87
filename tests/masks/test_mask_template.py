"""User templates: read and refused in words, and drawn where their points say."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.masks.kinds import TEMPLATE
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.spec import sample_spec
from mfrkit.masks.template import ANCHORS, Template, TemplateFile, find_problems

POINTS = {
    "top_left": [20, 60], "top": [100, 20], "top_right": [180, 60],
    "bottom_left": [30, 110], "bottom": [100, 180], "bottom_right": [170, 110],
}  # fmt: skip
EYES_NOSE_MOUTH = torch.tensor([[[76.0, 104], [148, 104], [112, 144], [82, 184], [142, 184]]])


def write(folder: Path, points=POINTS, opacity: int = 255) -> Path:
    """A template that is red on the picture's left and green on its right."""
    outline = np.array(
        [
            POINTS[name]
            for name in ("top_left", "top", "top_right", "bottom_right", "bottom", "bottom_left")
        ]
    )
    layer = cv2.fillPoly(np.zeros((200, 200, 4), np.uint8), [outline], (20, 20, 220, opacity))
    layer[:, 100:, :3] = layer[:, 100:, [0, 2, 1]]
    path = folder / "mine.png"
    cv2.imwrite(str(path), layer)
    if points is not None:
        path.with_suffix(".json").write_text(json.dumps({"points": points}))
    return path


def test_a_template_is_read_with_its_points(tmp_path):
    file = TemplateFile.read(write(tmp_path))
    assert file.layer.shape == (200, 200, 4)
    assert file.layer[100, 60].tolist() == [220, 20, 20, 255], "RGB"
    assert file.points[1].tolist() == [100, 20]
    assert find_problems(file) == []
    assert len(file.describe()["sha256"]) == 64


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (None, "mine.json: missing; it holds"),
        ({**POINTS, "top": [1]}, "needs points.top"),
        ({k: v for k, v in POINTS.items() if k != "bottom"}, r"points.bottom = \[x, y\] \(under"),
        ({**POINTS, "top": ["a", 2]}, "expected two numbers"),
        ({**POINTS, "top": [1e999, 2]}, "expected two numbers"),
        ({**POINTS, "top": [10**400, 2]}, "expected two numbers"),
    ],
)
def test_a_template_without_its_points_is_refused(tmp_path, points, message):
    with pytest.raises(InputError, match=message):
        TemplateFile.read(write(tmp_path, points))


def test_what_is_no_picture_is_refused(tmp_path):
    path = write(tmp_path)
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="not a picture"):
        TemplateFile.read(path)


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ({**POINTS, "top_left": [180, 60], "top_right": [20, 60]}, "top_left must be left of top"),
        ({**POINTS, "top": [100, 190]}, "top must be above bottom"),
        ({**POINTS, "bottom": [100, 400]}, "bottom (100, 400) lies outside its 200x200 pixels"),
    ],
)
def test_misplaced_points_are_told(tmp_path, points, problem):
    assert problem in find_problems(TemplateFile.read(write(tmp_path, points)))


def test_the_six_points_land_on_their_places_exactly(tmp_path):
    file = TemplateFile.read(write(tmp_path))
    anchors = torch.tensor(list(ANCHORS.values()), dtype=torch.float64)
    u, v = Template(file)._places(anchors[:, 0], anchors[:, 1])
    pixels = (np.stack([u, v], axis=1) + 1) / 2 * 200 - 0.5
    np.testing.assert_allclose(pixels, file.points, atol=1e-5)


def draw(renderer, points=EYES_NOSE_MOUTH):
    spec = sample_spec(0, "a", MaskOptions(types={TEMPLATE: 1.0}, jitter=0))
    face = torch.tensor([0.7, 0.5, 0.4])[None, :, None, None].expand(1, 3, 224, 224)
    drawn = renderer(face, points, [spec])
    return drawn.masked[0], drawn.region[0, 0]


def test_a_template_lies_over_nose_and_mouth_the_right_way_round(tmp_path):
    masked, region = draw(MaskRenderer(TemplateFile.read(write(tmp_path))))
    assert 0.15 < region.mean() < 0.4
    assert region[104, 76] == 0, "an eye"
    assert region[150, 112] == 1, "the nose"
    red, green = masked[:, 170, 85], masked[:, 170, 140]
    assert red[0] > 2 * red[1]
    assert green[1] > 2 * green[0]


def test_a_turned_face_shortens_the_far_side(tmp_path):
    turned = EYES_NOSE_MOUTH.clone()
    turned[0, :, 0] = 112 + (turned[0, :, 0] - 112) * 0.85
    turned[0, 2, 0] += 18
    _, region = draw(MaskRenderer(TemplateFile.read(write(tmp_path))), turned)
    row, nose = region[170] > 0.5, int(turned[0, 2, 0])
    assert row[nose:].sum() * 1.3 < row[:nose].sum()


def test_half_clear_templates_let_the_face_through(tmp_path):
    _, region = draw(MaskRenderer(TemplateFile.read(write(tmp_path, opacity=180))))
    assert region.max() == pytest.approx(180 / 255, abs=0.02)


def test_a_renderer_without_a_template_says_so():
    with pytest.raises(InputError, match="--template"):
        draw(MaskRenderer())
