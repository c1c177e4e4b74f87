"""Model files against bytes written by hand from the format's specification."""

import errno
import json
import os
import zipfile

import pytest
import torch
from safetensors import safe_open

from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import (
    load_pickled,
    load_tensors,
    mismatches,
    read_header,
    rewrite_card,
    save_model,
)

CARD = {"name": "tiny", "note": "Zoë", "metrics": {"eer": 0.5}}
TENSORS = {"a.weight": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([3, 4, 5])}


def by_hand(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape, start, end):
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_model(path, TENSORS, CARD)
    return path


def test_reads_a_file_written_by_hand(tmp_path):
    path = tmp_path / "hand.safetensors"
    header = {
        "__metadata__": {"card": json.dumps(CARD)},
        "x": entry([2, 3], 0, 24),
        "scalar": entry([], 24, 28),
    }
    content = by_hand(header, bytes(28))
    path.write_bytes(content)
    found = read_header(path)
    assert found.card == CARD
    assert found.shapes == {"x": (2, 3), "scalar": ()}
    assert found.parameters == 7
    assert found.start == len(content) - 28


def test_the_formats_own_library_reads_what_is_saved(saved):
    with safe_open(saved, "pt") as file:
        card = json.loads(file.metadata()["card"])
        assert {k: v for k, v in card.items() if k != "sha256"} == CARD
        assert all(torch.equal(file.get_tensor(name), TENSORS[name]) for name in TENSORS)


def test_round_trip(saved):
    tensors = load_tensors(saved, read_header(saved))
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_same_input_same_bytes(saved, tmp_path):
    again = tmp_path / "again.safetensors"
    save_model(again, dict(reversed(TENSORS.items())), CARD)
    assert again.read_bytes() == saved.read_bytes()


def test_views_and_strides_are_saved_by_value(tmp_path):
    path = tmp_path / "views.safetensors"
    base = torch.arange(6.0).reshape(2, 3)
    save_model(path, {"t": base.T, "row": base[1]}, CARD)
    tensors = load_tensors(path, read_header(path))
    assert torch.equal(tensors["t"], base.T)
    assert torch.equal(tensors["row"], base[1])


def test_rewriting_the_card_keeps_the_tensors(saved):
    before = read_header(saved)
    rewrite_card(saved, {**before.card, "note": "n" * 1000})
    after = read_header(saved)
    assert after.card["note"] == "n" * 1000
    assert after.card["sha256"] == before.card["sha256"]
    assert all(torch.equal(t, TENSORS[n]) for n, t in load_tensors(saved, after).items())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"this is a text file, not weights",
        b"PK\x03\x04" + bytes(100),
        by_hand(b"not json at all"),
        by_hand(b"[1, 2]"),
        by_hand({"x": 3}),
        by_hand({"x": {"dtype": "F32", "shape": [1]}}, bytes(4)),
        by_hand({"x": entry("ab", 0, 4)}, bytes(4)),
        by_hand({"__metadata__": {"card": "{"}, "x": entry([1], 0, 4)}, bytes(4)),
        by_hand({"x": entry([1], 0, 4)}, bytes(4)),
        by_hand({"__metadata__": {"card": "[]"}, "x": entry([1], 0, 4)}, bytes(4)),
        by_hand({}, length=10**12),
        by_hand({}, length=999),
    ],
)
def test_foreign_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_header(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        with pytest.raises(WeightsError):
            read_header(saved)
    saved.write_bytes(content + b"\0")
    with pytest.raises(WeightsError, match="its header says"):
        read_header(saved)


def test_flipped_bit_is_found(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 0x10
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_tensors(saved, read_header(saved))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        read_header(tmp_path / "none.safetensors")


def test_full_disk_keeps_the_earlier_file(saved, monkeypatch):
    before = saved.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_model(saved, {"other": torch.zeros(1000)}, CARD)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_mismatches_stop_after_a_few():
    assert mismatches({}, {}) == ""
    text = mismatches({f"n{i}": () for i in range(9)}, {})
    assert text == "9 missing (n0, n1, n2, ...)"


def zipped(path, content, *, name="archive/data.pkl"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


def test_pickled_files_that_are_cut_short_changed_or_compressed(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.arange(1000.0)}, path)
    content = path.read_bytes()
    assert torch.equal(load_pickled(path)["a"], torch.arange(1000.0))
    for end in range(0, len(content), 97):
        path.write_bytes(content[:end])
        with pytest.raises(WeightsError, match="a.pth: damaged, or no PyTorch file"):
            load_pickled(path)
    zipped(path, bytes(50_000_000))
    with pytest.raises(WeightsError, match="a.pth: unfolds to 50000000 bytes"):
        load_pickled(path)
