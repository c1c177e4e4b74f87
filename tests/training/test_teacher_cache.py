"""The teachers' templates on disk."""

import numpy as np
import pytest
import torch

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.images import read_image
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import embed_faces
from mfrkit.training.data import open_train_set
from mfrkit.training.teacher_cache import TeacherCache, fingerprint, write_cache


def test_templates_are_those_of_the_crops(noise_crops, tmp_path):
    broken = noise_crops / "p1" / "p1_0.png"
    broken.write_bytes(b"")
    data, teacher = open_train_set([str(noise_crops)]), load_recogniser("arcface")
    path = tmp_path / "cache.h5"
    mark = fingerprint([teacher, teacher], data)
    write_cache(path, [teacher, teacher], data, 2, Console(-1))
    cache = TeacherCache(path, mark)
    got = cache(torch.tensor([11, 0]))
    crops = np.stack([read_image(data.faces[i].path) for i in (11, 0)])
    faces = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(embed_faces(teacher, faces))
    torch.testing.assert_close(got, torch.cat([wanted, wanted], 1) / 2**0.5, atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="unreadable when the teacher cache was made"):
        cache(torch.tensor([4]))


def test_another_teacher_or_other_data_is_refused(noise_crops, tmp_path):
    data, teacher = open_train_set([str(noise_crops)]), load_recogniser("arcface")
    path = tmp_path / "cache.h5"
    write_cache(path, [teacher], data, 1, Console(-1))
    other = load_recogniser("arcface")
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    fewer = open_train_set([str(noise_crops / "p0")])
    for mark in (fingerprint([other], data), fingerprint([teacher], fewer)):
        with pytest.raises(InputError, match="other teachers or other data"):
            TeacherCache(path, mark)


def test_centres_are_the_means_of_people(noise_crops, tmp_path):
    """People by folder; a face without a name is alone."""
    nameless = tmp_path / "nameless"
    nameless.mkdir()
    (noise_crops / "p0" / "p0_0.png").rename(nameless / "somebody.png")
    data, teacher = open_train_set([str(noise_crops), str(nameless)]), load_recogniser("arcface")
    path = tmp_path / "cache.h5"
    write_cache(path, [teacher], data, 1, Console(-1))
    cache = TeacherCache(path, fingerprint([teacher], data))
    everybody = torch.arange(len(data))
    templates, centres = cache(everybody), cache.centres(everybody)
    labels = torch.tensor([face.label for face in data.faces])
    assert (labels < 0).any()
    for place, label in enumerate(labels):
        alike = labels == label if label >= 0 else everybody == place
        wanted = torch.nn.functional.normalize(templates[alike].sum(0), dim=0)
        torch.testing.assert_close(centres[place], wanted)
