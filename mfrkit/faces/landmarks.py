"""68 facial landmarks through the `face-alignment` package, as one more detector.

Paper:
    Bulat, Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", ICCV
    2017, arXiv:1703.07332 (the landmark network); Zhang et al., "S3FD: Single Shot Scale-Invariant
    Face Detector", ICCV 2017, arXiv:1708.05237 (the boxes).

Boxes come from the package's S3FD, not from its smaller detectors: the landmark network's crops are
defined on S3FD boxes, and it runs on any torch device. Its weights download on first use, so
`FaceAlignmentDetector` first looks whether they are there and never lets that happen unasked.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch

from mfrkit.errors import InputError
from mfrkit.faces.detect import Face, check_photo

_SMALLEST_PHOTO = 32  # pixels; S3FD halves its picture five times
# iBUG points whose mean is each ArcFace point: the eyes' corners, nose tip, mouth corners.
_ARCFACE_FROM_IBUG = ((36, 39), (42, 45), (30,), (48,), (54,))


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Reduce 68 landmarks (..., 68, 2) in iBUG order to the five of the ArcFace template.

    Example:
        >>> five_points(np.arange(136.0).reshape(68, 2))[:, 0].tolist()
        [75.0, 87.0, 60.0, 96.0, 108.0]
    """
    means = [landmarks[..., list(group), :].mean(-2) for group in _ARCFACE_FROM_IBUG]
    return np.stack(means, -2).astype(np.float32)


class FaceAlignmentDetector:
    """Detector with 68 landmarks and a confidence for each, from the `face-alignment` package.

    A landmark's confidence is the peak of its heat map, averaged over the face and its mirror
    image; it falls where something hides the face. Landmarks are whole pixels, as the package
    rounds them.

    Args:
        device: where both networks run.
        batch_size: faces of one photo that go through the landmark network together.

    Raises:
        InputError: the weight files are not on this machine.
    """

    def __init__(self, device: torch.device | str = "cpu", batch_size: int = 8) -> None:
        from face_alignment import FaceAlignment, LandmarksType  # slow to import

        _require_weights()
        self._network = FaceAlignment(
            LandmarksType.TWO_D,
            device=str(device),
            face_detector="sfd",
            flip_input=True,
            compile=False,
            max_batch_size=batch_size,
        )

    def __call__(self, photos: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find the faces of each photo; see `mfrkit.faces.detect.Detector`."""
        for photo in photos:
            check_photo(photo)
        return [self._faces(photo) for photo in photos]

    def _faces(self, photo: np.ndarray) -> list[Face]:
        if min(photo.shape[:2]) < _SMALLEST_PHOTO:
            return []
        boxes = self._network.face_detector.detect_from_image(photo.copy())
        if len(boxes) == 0:
            return []
        landmarks, peaks, _ = self._network.get_landmarks_from_image(
            photo, detected_faces=boxes, return_landmark_score=True
        )
        parts = zip(np.asarray(boxes, np.float32), landmarks, peaks, strict=True)
        faces = (_face(*each) for each in parts)
        return sorted(faces, key=lambda face: face.score, reverse=True)


def _face(box: np.ndarray, landmarks: np.ndarray, peaks: np.ndarray) -> Face:
    points = np.asarray(landmarks, dtype=np.float32)
    confidence = np.asarray(peaks, dtype=np.float32) / 2  # the package adds the mirrored heat map
    return Face(box[:4], float(box[4]), five_points(points), points, confidence)


def _require_weights() -> None:
    """Refuse to go on when the package would have to download something."""
    from face_alignment.api import models_urls as landmark_urls
    from face_alignment.detection.sfd.sfd_detector import models_urls as box_urls

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    urls = (landmark_urls["2DFAN-4"], box_urls["s3fd"])
    names = [Path(urlparse(url).path).name for url in urls]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"face-alignment weights {' and '.join(missing)} are not in {folder}; put them there, "
            'or let the face_alignment package download them once: python -c "import '
            "face_alignment as f; f.FaceAlignment(f.LandmarksType.TWO_D, device='cpu', "
            'compile=False)" (--detector mtcnn needs none)'
        )
