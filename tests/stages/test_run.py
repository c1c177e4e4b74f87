from pathlib import Path

import pytest

from mfrkit.io.item import Item
from mfrkit.io.manifest import Record
from mfrkit.stages.run import either, inside, numbered, without_clashes


def passed(keys, owner):
    items = [Item(n, Record(k, f"{k}.png", f"{k}.png"), Path(k)) for n, k in enumerate(keys)]
    return [item.record.key for item in without_clashes(items, owner) if item.path is not None]


VARIANTS = either(numbered("mask", 3), inside("_regions"))


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        (["x", "x.mask2"], ["x"]),
        (["x.mask2", "x"], ["x.mask2"]),
        (["x", "x.mask4"], ["x", "x.mask4"]),
        (["x", "x.mask1"], ["x", "x.mask1"]),
        (["x.mask2", "y"], ["x.mask2", "y"]),
        (["x", "x.mask2.mask3"], ["x"]),
        (["x", "_regions/x"], ["x"]),
        (["x", "_regions/x.mask2"], ["x"]),
        (["_regions/x", "x", "a"], ["_regions/x", "a"]),
        (["a/x", "a/x.mask2", "b/x.mask2"], ["a/x", "b/x.mask2"]),
    ],
)
def test_of_two_that_could_want_one_name_the_later_is_skipped(keys, kept):
    assert passed(keys, VARIANTS) == kept


def test_what_gives_one_result_of_its_own_name_clashes_with_nothing():
    assert passed(["x", "x.mask2", "x.face2"], None) == ["x", "x.mask2", "x.face2"]


def test_the_reason_names_the_other():
    items = [Item(n, Record(k, k, k), Path(k)) for n, k in enumerate(["x", "x.face7"])]
    skipped = list(without_clashes(items, numbered("face")))[1]
    assert skipped.record.reason == "name taken: what 'x' gives could have it"
    assert skipped.position == 1
