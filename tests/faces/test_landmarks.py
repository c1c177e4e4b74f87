"""The face-alignment backend with weight files made here: real networks, arbitrary weights."""

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError, ShapeError
from mfrkit.faces.landmarks import FaceAlignmentDetector, five_points

BOXES, LANDMARKS = "s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar"


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """An empty folder in which the package looks for its weights, and no way to fetch any."""

    def refuse(url, *_args, **_kwargs):
        raise AssertionError(f"tried to download {url}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr("face_alignment.utils.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def save_box_network(path):
    """S3FD that answers with 512-pixel boxes, all but one suppressed, scored 1 / (1 + e^-2)."""
    from face_alignment.detection.sfd.net_s3fd import s3fd

    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in s3fd().state_dict().items()}
    # Expanded zeros are stored as one number, so that the file is small.
    weights = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if name.endswith("_conf.bias"):
            weights[name] = torch.zeros(shape)
            weights[name][0] = 9.0  # background
    weights["conv7_2_mbox_conf.bias"] = torch.tensor([0.0, 2.0])
    torch.save(weights, path)


def save_landmark_network(path):
    from face_alignment.models import FAN

    torch.manual_seed(0)
    torch.save(FAN(4).state_dict(), path)


def test_five_points_are_eye_centres_nose_and_mouth_corners():
    landmarks = np.zeros((2, 68, 2))
    landmarks[1, [36, 39, 42, 45, 30, 48, 54]] = [
        [10, 20], [20, 22], [40, 22], [50, 20], [30, 40], [18, 55], [42, 56],
    ]  # fmt: skip
    points = five_points(landmarks)
    assert points.shape == (2, 5, 2)
    assert points[1].tolist() == [[15, 21], [45, 21], [30, 40], [18, 55], [42, 56]]
    assert points.dtype == np.float32


@pytest.mark.parametrize("present", [[], [BOXES], [LANDMARKS]])
def test_absent_weights_are_named_and_never_fetched(checkpoints, present):
    for name in present:
        (checkpoints / name).touch()
    with pytest.raises(InputError) as caught:
        FaceAlignmentDetector()
    message = str(caught.value)
    assert "\n" not in message
    assert str(checkpoints) in message
    assert "--detector mtcnn" in message
    for name in (BOXES, LANDMARKS):
        assert (name in message) == (name not in present)


@pytest.fixture
def uncompiled(monkeypatch):
    """The package's numba helpers as plain Python: compiling takes longer than the networks."""
    import face_alignment.utils as helpers

    for name in ("transform_np", "_get_preds_fromhm"):
        function = getattr(helpers, name)
        monkeypatch.setattr(helpers, name, getattr(function, "py_func", function))


@pytest.mark.usefixtures("uncompiled")
def test_the_whole_detector(checkpoints):
    save_box_network(checkpoints / BOXES)
    save_landmark_network(checkpoints / LANDMARKS)
    detector = FaceAlignmentDetector("cpu", batch_size=2)
    photo = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    before = photo.copy()
    faces, none = detector([photo, np.zeros((20, 500, 3), np.uint8)])
    assert none == []
    (face,) = faces
    centre = (face.box[:2] + face.box[2:]) / 2  # of the grid 64, 192: all score the same
    np.testing.assert_allclose(np.abs(centre - 128), [64, 64], atol=1e-3)
    np.testing.assert_allclose(face.box[2:] - face.box[:2], [512, 512], atol=1e-3)
    assert face.score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-5)
    assert face.landmarks.shape == (68, 2)
    assert face.point_scores.shape == (68,)
    assert np.isfinite(face.point_scores).all()
    np.testing.assert_array_equal(face.points, five_points(face.landmarks))
    # The network sees a square of 200/195 of the box's side, a little above its centre.
    assert np.abs(face.landmarks - centre + [0, 0.12 * 512]).max() <= 512 * 200 / 195 + 1
    assert (photo == before).all()
    with pytest.raises(ShapeError, match="expected an RGB uint8 photo"):
        detector([photo[..., 0]])
