"""Which template is paired with which."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.io.embeddings import Rows, write_embeddings
from mfrkit.training.eum import TemplateBatches, read_templates

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def write(path, rows, **attributes):
    """Write (key, identity, masked, vector) rows."""
    keys, identities, masked, vectors = zip(*rows, strict=True)
    block = replace(
        Rows.empty(),
        embeddings=np.array(vectors, np.float32),
        keys=list(keys),
        identities=list(identities),
        norms=np.ones(len(keys), np.float32),
        masked=np.array(masked, np.int8),
        mask_type=[""] * len(keys),
        positions=np.arange(len(keys)),
    )
    write_embeddings(path, [block], 2, {"model": "m", **attributes})
    return path


def goals(data):
    """Return what each masked template should become, in order."""
    return data.targets[data.target[data.worn]]


def test_by_key_by_photo_and_by_person(tmp_path):
    clean = write(
        tmp_path / "clean.h5",
        [("a/1", "a", -1, EAST), ("a/2", "a", 0, [0.0, 2.0]), ("b/1", "b", 0, WEST)],
    )
    masked = write(
        tmp_path / "masked.h5",
        [
            ("a/2", "a", 1, EAST),  # the same photo
            ("a/1.mask2", "a", 1, NORTH),  # another version of a photo
            ("a/9", "a", 1, WEST),  # another photo: the mean of a's
            ("c/1", "c", 1, WEST),  # nobody known
            ("b/1", "b", 1, [0.0, 0.0]),  # no vector
        ],
    )
    data = read_templates([masked, clean])
    wanted = torch.tensor([NORTH, EAST, [2**-0.5, 2**-0.5]])
    torch.testing.assert_close(goals(data), wanted)
    assert data.worn.tolist() == [True] * 3 + [False] * 3
    assert data.skipped == 2
    bare = data.batch(torch.tensor([3, 4, 5]), torch.device("cpu"))
    assert torch.equal(bare.template, bare.target)
    assert bare.template.tolist() == [EAST, NORTH, WEST]
    assert not bare.worn.any()
    names = [data.identities[n] for n in data.label.tolist()]
    assert names == ["a", "a", "a", "a", "a", "b"]


def test_batches_deal_out_every_place_once(tmp_path):
    rows = [(f"a/{n}", "a", n % 2, EAST) for n in range(8)]
    data = read_templates([write(tmp_path / "a.h5", rows)])
    batches = TemplateBatches(data, seed=3, batch_size=4)
    seen = [index for step in range(2) for index in batches.load(step).index.tolist()]
    assert sorted(seen) == list(range(8))
    assert batches.load(0).index.tolist() != batches.load(2).index.tolist()


@pytest.mark.parametrize(
    ("second", "attributes", "message"),
    [
        ([("a/1", "a", 0, EAST)], {}, "no row is marked as masked"),
        ([("x/1", "x", 1, EAST)], {}, "has the key or the identity"),
        ([("a/1", "a", 1, EAST)], {"weights_sha256": "f"}, "cannot be compared"),
        ([("b/1", "b", 0, EAST), ("a/1", "a", 1, EAST)], {}, "same key"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, second, attributes, message):
    first = write(tmp_path / "a.h5", [("a/1", "a", 0, EAST), ("b/1", "b", 0, EAST)])
    with pytest.raises(InputError, match=message):
        read_templates([first, write(tmp_path / "b.h5", second, **attributes)])
