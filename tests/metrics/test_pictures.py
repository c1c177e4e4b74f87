"""Overlap of regions, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from mfrkit.errors import ShapeError
from mfrkit.metrics.pictures import intersection_over_union


def test_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 5, 8, 6)) > 0.6
    found = intersection_over_union(a, b)
    wanted = [jaccard_score(y.ravel(), x.ravel()) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, wanted)


def test_nothing_found_where_nothing_is():
    empty, full = np.zeros((1, 2, 2), bool), np.ones((1, 2, 2), bool)
    assert intersection_over_union(empty, empty).tolist() == [1.0]
    assert intersection_over_union(full, empty).tolist() == [0.0]


def test_refuses_other_shapes():
    with pytest.raises(ShapeError, match="must be"):
        intersection_over_union(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 3), bool))
