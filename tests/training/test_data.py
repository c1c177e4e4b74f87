"""Masks that become more frequent, step by step, and the same after a restart."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.io.manifest import Record
from mfrkit.masks.kinds import BARE
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.views import ViewOptions, draw_view
from mfrkit.stages.pack import PackOptions, pack
from mfrkit.stages.sink import Tally
from mfrkit.training.crops import TrainFace
from mfrkit.training.data import Batches, TrainSet, hold_out, open_train_set
from mfrkit.training.run import deal_out
from mfrkit.training.settings import FitOptions, MaskSettings
from mfrkit.training.world import World

VIEWS, MASKS = ViewOptions(gain=0.1), MaskOptions(probability=0.8)


def batches(crops, steps=8):
    settings = SimpleNamespace(
        views=VIEWS,
        masks=MaskSettings(growth=0.5, probability=0.8),
        fit=FitOptions(steps=steps, batch_size=12),
    )
    return deal_out(open_train_set([str(crops)]), (112, 112), settings, 3, World())


def worn(raw):
    return {
        i for i, draw in zip(raw.index.tolist(), raw.draws, strict=True) if draw.spec.kind != BARE
    }


def test_the_share_grows_to_the_full_one_and_stays(shared_noise_crops):
    made = batches(shared_noise_crops)
    steps = [made.load(step) for step in range(6)]
    assert not worn(steps[0])
    for step, raw in enumerate(steps):
        full = [draw_view(3, step, i, VIEWS, MASKS) for i in raw.index.tolist()]
        share = min(1.0, step / 4)
        for draw, wanted in zip(raw.draws, full, strict=True):
            if draw.spec.kind != BARE:
                assert draw.spec == wanted.spec  # who wears a mask wears that of the full share
            assert (draw.flip, draw.gain) == (wanted.flip, wanted.gain)
        if share == 1:
            assert worn(raw) == {
                i
                for i, draw in zip(raw.index.tolist(), full, strict=True)
                if draw.spec.kind != BARE
            }
    assert 0 < len(worn(steps[2])) < len(worn(steps[5]))


def test_a_restart_sees_the_same(shared_noise_crops):
    stream = batches(shared_noise_crops).stream(2, 4, 1)
    for step, raw in zip((2, 3), stream, strict=True):
        assert worn(raw) == worn(batches(shared_noise_crops).load(step))


def face(key, label):
    path = f"{key}.png"
    return TrainFace(Path(path), Record(key, path, path, "ok"), label)


def faces(people=30, each=4, strangers=40):
    named = [face(f"p{p}/{i}", p) for p in range(people) for i in range(each)]
    flat = [face(f"s{i}", -1) for i in range(strangers)]
    return TrainSet([f"p{p}" for p in range(people)], Tally(), [*named, *flat])


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
    turned = TrainSet(data.identities, Tally(), data.faces[::-1])
    assert names(hold_out(data, 12)[1]) == names(hold_out(turned, 12)[1])


def test_twice_named_faces_are_held_out_twice():
    data = faces(people=0)
    twice = TrainSet([], Tally(), [*data.faces, *data.faces])
    train, held = hold_out(twice, 4)
    assert len(held) == 4
    assert not names(train) & names(held)


def test_small_data_sets_keep_their_faces():
    assert len(hold_out(faces(), 1000)[1]) <= 18
    assert len(hold_out(faces(people=3, strangers=0), 100)[1]) == 0
    train, held = hold_out(faces(), 0)
    assert (len(train), len(held)) == (160, 0)


def deal(data, **changes):
    options = {
        "size": (112, 112),
        "views": ViewOptions(gain=0.1),
        "masks": MaskOptions(),
        "seed": 3,
        "batch_size": 5,
    }
    return Batches(data, **options | changes)


def test_folders_name_people_across_sources(noise_crops, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "stranger.png").write_bytes((noise_crops / "p0" / "p0_0.png").read_bytes())
    data = open_train_set([str(noise_crops), str(flat), str(noise_crops)])
    assert len(data) == 25
    assert list(data.identities) == ["p0", "p1", "p2"]
    once = [0] * 4 + [1] * 4 + [2] * 4
    assert [face.label for face in data.faces] == [*once, -1, *once]


def test_an_epoch_sees_every_face_once_and_in_a_new_order(noise_crops):
    batches = deal(open_train_set([str(noise_crops)]), batch_size=4)
    assert batches.steps_per_epoch == 3
    epochs = [np.concatenate([batches.indices(3 * e + i) for i in range(3)]) for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_processes_share_a_step_without_overlap(noise_crops):
    data = open_train_set([str(noise_crops)])
    whole = deal(data).indices(4).tolist()
    shares = [deal(data, rank=rank, world=2).indices(4).tolist() for rank in range(2)]
    assert [shares[i % 2][i // 2] for i in range(5)] == whole


def test_workers_and_resuming_change_nothing(noise_crops):
    data = open_train_set([str(noise_crops)])
    one = list(deal(data).stream(0, 6, workers=1))
    rest = list(deal(data).stream(3, 6, workers=4))
    for a, b in zip(one[3:], rest, strict=True):
        assert torch.equal(a.crops, b.crops)
        assert torch.equal(a.index, b.index)
        assert [d.spec for d in a.draws] == [d.spec for d in b.draws]
        assert [d.gain for d in a.draws] == [d.gain for d in b.draws]


def test_unreadable_crops_are_left_out_and_named(noise_crops):
    broken, small = noise_crops / "p0" / "p0_1.png", noise_crops / "p2" / "p2_3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    Image.new("RGB", (50, 60)).save(small)
    batches = deal(open_train_set([str(noise_crops)]), batch_size=12)
    raw = batches.load(0)
    assert len(raw.crops) == len(raw.label) == len(raw.draws) == len(raw.points) == 10
    assert sorted(raw.index.tolist()) == [0, *range(2, 11)]
    text = "\n".join(sorted(raw.broken))
    assert "p0_1.png: damaged picture" in text
    assert "p2_3.png: 50x60 is no crop of 112x112" in text


def test_damaged_records_are_counted_and_numbers_stay_with_their_file(noise_crops, tmp_path):
    for name in ("a.rec", "b.rec"):
        pack(PackOptions(str(noise_crops), tmp_path / name[0] / name), Console(-1))
    damaged = tmp_path / "b" / "b.rec"
    content = bytearray(damaged.read_bytes())
    content[int((tmp_path / "b" / "b.idx").read_text().splitlines()[2].split("\t")[1])] ^= 1
    damaged.write_bytes(content)
    data = open_train_set([str(tmp_path / "a" / "a.rec"), str(noise_crops), str(damaged)])
    assert len(data) == 12 + 12 + 11
    assert (data.skipped, list(data.tally.reasons)) == (1, ["damaged record"])
    labels = [face.label for face in data.faces]
    people = [labels[:4], labels[4:8], labels[12:16], labels[24:27], labels[27:31]]
    assert [set(each) for each in people] == [{0}, {1}, {3}, {6}, {7}]
    broken = str(deal(data, batch_size=35).load(0).broken)
    assert broken == "[]"


def test_nothing_readable_is_an_error(noise_crops):
    for path in noise_crops.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the 5 crops of a step"):
        deal(open_train_set([str(noise_crops)])).load(0)


def test_points_come_from_the_manifest(noise_crops):
    points = (template() + 2).round(2).tolist()
    records = [
        {"schema": 1, "path": "p0/p0_0.png", "align": {"points": points}},
        {"schema": 1, "path": "p0/p0_1.png"},
        {"schema": 1, "key": "p0/p0_9", "status": "skipped", "path": None, "reason": "no face"},
    ]
    manifest = noise_crops / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
    data = open_train_set([str(noise_crops)])
    assert (len(data), data.skipped) == (2, 1)
    raw = deal(data, batch_size=2).load(0)
    by_index = dict(zip(raw.index.tolist(), raw.points.numpy(), strict=True))
    np.testing.assert_allclose(by_index[0], points, atol=1e-4)
    np.testing.assert_allclose(by_index[1], template(), atol=1e-4)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no crops found"):
        open_train_set([str(tmp_path)])
