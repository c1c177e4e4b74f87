"""Who is on the images of a pair list."""

import numpy as np
import pytest

from mfrkit.evaluation.subjects import Confidence, find_people
from mfrkit.io.pairs import read_pairs


def people_of(tmp_path, text, identities=None):
    (tmp_path / "pairs.txt").write_text(text)
    pairs = read_pairs(tmp_path / "pairs.txt")
    return pairs, *find_people(pairs, identities or {})


def test_names_of_an_lfw_list(tmp_path):
    _, people, told_by = people_of(tmp_path, "Ada 1 2\nBob 1 Cid 1\nAda 1 Bob 2\n")
    assert told_by == "names"
    assert people.count == 3
    assert people.first.tolist() == [0, 1, 0]
    assert people.second.tolist() == [0, 2, 1]


def test_stored_identities_come_before_folders(tmp_path):
    lines = "x/1 x/2 1\nx/1 x/3 0\ny/4 x/3 1\n"
    identities = {"x/1": "Ada", "x/2": "Ada", "x/3": "Bob", "y/4": "Bob"}
    _, people, told_by = people_of(tmp_path, lines, identities)
    assert told_by == "names"
    assert people.first.tolist() == [0, 0, 1]
    assert people.second.tolist() == [0, 1, 1]


@pytest.mark.parametrize("folder", ["", "all/"])
def test_images_are_joined_by_genuine_pairs_where_names_say_nothing(tmp_path, folder):
    lines = "1 2 1\n2 3 1\n4 5 1\n1 5 0\n6 3 0\n"
    keyed = "\n".join(
        " ".join([folder + a, folder + b, same])
        for a, b, same in map(str.split, lines.splitlines())
    )
    _, people, told_by = people_of(tmp_path, keyed)
    assert told_by == "genuine pairs"
    assert people.count == 3
    one, two, three = people.first[0], people.first[2], people.first[4]
    assert people.first.tolist() == [one, one, two, one, three]
    assert people.second.tolist() == [one, one, two, two, one]


def test_one_wrong_label_in_many_does_not_discredit_the_names(tmp_path):
    text = "\n".join(f"P{n}/1 P{n}/2 1" for n in range(150)) + "\nP1/1 P1/3 0\n"
    _, people, told_by = people_of(tmp_path, text)
    assert told_by == "names"
    assert people.count == 150


def test_some_pairs_keep_the_draws_of_all(tmp_path):
    _, people, told_by = people_of(tmp_path, "Ada 1 2\nBob 1 Cid 1\n")
    some = Confidence(0.95, 0, people, told_by).people_of(np.array([False, True]))
    assert (some.first.tolist(), some.second.tolist(), some.count) == ([1], [2], 3)
