"""Which faces a step sees, and that nothing but seed and step decides it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.faces.geometry import template
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.stages.pack import PackOptions, pack
from mfrkit.stages.train_data import Batches, open_train_set


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
