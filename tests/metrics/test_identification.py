"""Identification, against hand-worked searches and plain loops."""

import numpy as np
import pytest

from mfrkit.errors import InputError, ShapeError
from mfrkit.metrics.all_pairs import FaceBlock
from mfrkit.metrics.identification import (
    NEVER,
    ScoredGallery,
    Searches,
    cmc,
    failed_searches,
    join,
    open_set_point,
    read_scores,
)

RANDOM = np.random.default_rng(11)


def faces(vectors, person, photo):
    vectors = np.asarray(vectors, np.float32)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return FaceBlock(vectors, np.asarray(person), np.asarray(photo), np.arange(len(vectors)))


def worked() -> Searches:
    """Three people; four mated searches, one of them failed, and four strangers, one failed."""
    scores = np.array(
        [
            [0.9, 0.2, 0.1],  # person 0, rank 1
            [0.6, 0.5, 0.5],  # person 1: one above, one tie: rank 3
            [0.4, 0.1, 0.7],  # person 2, rank 1
            [0.8, 0.3, 0.1],  # strangers
            [0.2, 0.3, 0.1],
            [0.1, 0.1, 0.6],
        ]
    )
    column = np.array([0, 1, 2, -1, -1, -1])
    searched = read_scores(scores, column, column >= 0)
    return join([searched, failed_searches(np.array([True, False]))])


def test_ranks_and_cmc_by_hand():
    searches = worked()
    assert searches.rank.tolist() == [1, 3, 1, NEVER, NEVER, NEVER, NEVER, NEVER]
    assert cmc(searches, np.array([1, 2, 3])).tolist() == [0.5, 0.5, 0.75]


def test_open_set_by_hand():
    point = open_set_point(worked(), 0.25)  # one stranger of four may come through
    assert (point.threshold, point.fpir) == (0.7, 0.25)
    assert (point.fnir, point.dir) == (0.5, 0.5)  # 0.9 and 0.7 of 0.9, 0.5, 0.7, failed
    assert point.enough_searches
    none = open_set_point(worked(), 0.1)
    assert (none.threshold, none.fpir, none.fnir, none.enough_searches) == (0.9, 0.0, 0.75, False)
    half = open_set_point(worked(), 0.5)
    # At 0.5 person 1 is returned too, behind another: no miss, but no identification at rank 1.
    assert (half.threshold, half.fnir, half.dir) == (0.5, 0.25, 0.5)


def test_a_closed_set_has_no_open_set_errors():
    point = open_set_point(read_scores(np.eye(2), np.arange(2), np.ones(2, bool)), 0.1)
    assert np.isnan([point.fpir, point.fnir, point.dir]).all()
    nobody = read_scores(np.eye(2), np.array([-1, -1]), np.zeros(2, bool))
    assert np.isnan(cmc(nobody, np.array([1]))).all()


def test_a_person_enrolled_without_template_is_never_found():
    searches = read_scores(np.array([[0.9]]), np.array([-1]), np.array([True]))
    assert cmc(searches, np.array([1, 100])).tolist() == [0.0, 0.0]


def test_bad_arguments():
    with pytest.raises(ShapeError):
        read_scores(np.eye(2), np.arange(3), np.ones(2, bool))
    with pytest.raises(InputError):
        open_set_point(worked(), 0.0)


def draw(count, people, photos):
    person = RANDOM.integers(0, people, count)
    return faces(RANDOM.normal(size=(count, 6)), person, person * 100 + photos)


@pytest.mark.parametrize("pool", ["none", "mean", "norm"])
def test_scores_are_those_of_plain_loops(pool):
    known = draw(30, 7, RANDOM.integers(0, 8, 30))
    probes = draw(12, 9, RANDOM.integers(0, 8, 12))  # some of the gallery's own photos, strangers
    norms = RANDOM.uniform(1, 5, 30).astype(np.float32)
    weights = {"none": None, "mean": np.ones(30, np.float32), "norm": norms}[pool]
    gallery = ScoredGallery(known, weights)
    found = gallery.scores(probes)
    assert gallery.persons.tolist() == sorted(set(known.person.tolist()))
    assert gallery.rows == (30 if pool == "none" else len(gallery.persons))
    alone = 0
    for row in range(12):
        for column, person in enumerate(gallery.persons):
            mine = (known.person == person) & (known.photo != probes.photo[row])
            if not mine.any():
                assert found[row, column] == -np.inf
                alone += 1
                continue
            if weights is None:
                expected = (known.vectors[mine] @ probes.vectors[row]).max()
            else:
                template = (known.vectors[mine] * weights[mine, None]).sum(axis=0)
                expected = template @ probes.vectors[row] / np.linalg.norm(template)
            assert found[row, column] == pytest.approx(expected, abs=1e-5)
    own = np.isin(probes.photo, known.photo)
    assert 0 < own.sum() < 12


@pytest.mark.parametrize("weights", [None, np.ones(3, np.float32)])
def test_a_face_does_not_find_its_own_photo(weights):
    known = faces([[1, 0], [0, 1], [1, 1]], [5, 5, 8], [0, 1, 2])
    scores = ScoredGallery(known, weights).scores(faces([[1, 0], [1, 1]], [5, 8], [0, 2]))
    assert scores[0].tolist() == pytest.approx([0.0, 0.5**0.5], abs=1e-6)
    assert scores[1, 1] == -np.inf
