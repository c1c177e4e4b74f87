"""Held-out faces: whole people, whatever the order, never too many."""

from pathlib import Path

from mfrkit.io.manifest import Record
from mfrkit.stages.holdout import hold_out
from mfrkit.stages.sink import Tally
from mfrkit.stages.train_data import TrainSet
from mfrkit.stages.train_faces import TrainFace


def face(key, label):
    path = f"{key}.png"
    return TrainFace(Path(path), Record(key, path, path, "ok"), label)


def faces(people=30, each=4, strangers=40):
    named = [face(f"p{p}/{i}", p) for p in range(people) for i in range(each)]
    flat = [face(f"s{i}", -1) for i in range(strangers)]
    return TrainSet([*named, *flat], [f"p{p}" for p in range(people)], Tally())


def names(data):
    return {face.record.key for face in data.faces}


def test_people_are_held_out_whole():
    data = faces()
    train, held = hold_out(data, 12)
    assert 12 <= len(held) < 16
    assert names(train) | names(held) == names(data)
    assert not names(train) & names(held)
    known = {face.label for face in train.faces} - {-1}
    assert not known & {face.label for face in held.faces}
    assert {-1} < {face.label for face in held.faces}  # strangers and people
    assert train.identities == data.identities


def test_the_order_of_the_sources_does_not_matter():
    data = faces()
    turned = TrainSet(data.faces[::-1], data.identities, Tally())
    assert names(hold_out(data, 12)[1]) == names(hold_out(turned, 12)[1])


def test_twice_named_faces_are_held_out_twice():
    data = faces(people=0)
    twice = TrainSet([*data.faces, *data.faces], [], Tally())
    train, held = hold_out(twice, 4)
    assert len(held) == 4
    assert not names(train) & names(held)


def test_small_data_sets_keep_their_faces():
    assert len(hold_out(faces(), 1000)[1]) <= 18
    assert len(hold_out(faces(people=3, strangers=0), 100)[1]) == 0
    train, held = hold_out(faces(), 0)
    assert (len(train), len(held)) == (160, 0)
