"""Bad input gets one clear line and the right exit code, and loses nothing."""

import io
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from mfrkit.io.images import encode_image


def one_line(run, *words):
    """Check that standard error is one line that names everything in `words`."""
    text = run.stderr.decode()
    assert text.count("\n") == 1, text
    for word in words:
        assert word in text, text


def manifest(folder):
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return {record["key"]: record for record in map(json.loads, lines)}


def bomb():
    """A PNG of 30,000 x 30,000 pixels in a few kilobytes."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("command", ["align", "synth-mask", "embed"])
def test_an_empty_folder_and_a_missing_path(mfr, command):
    (mfr.folder / "empty").mkdir()
    one_line(mfr(command, "empty", check=2), "empty", "no pictures found")
    one_line(mfr(command, "absent", check=2), "absent", "no such file or folder")
    assert sorted(p.name for p in mfr.folder.iterdir()) == ["empty"]


def test_decoders_do_not_talk_over_the_records(mfr):
    """OpenCV logs a PNG that is cut short, Pillow warns of tags: neither in its users' words."""
    photos = mfr.folder / "photos"
    photos.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    whole = encode_image(picture, ".png")
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2] + b"IEND\xaeB`\x82")
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "x" * 50
    tagged = io.BytesIO()
    Image.fromarray(picture).save(tagged, "JPEG", exif=tags)
    content = bytearray(tagged.getvalue())
    count = content.index(b"Exif") + 18
    content[count : count + 4] = b"\xff\xff\xff\x7f"  # of letters in the maker's name
    (photos / "tags.jpg").write_bytes(content)
    run = mfr.apart(
        "align", "photos", "--detector", "none", "-o", "out"
    )  # a decoder writes past us
    one_line(run, "1 written, 1 skipped")
    assert manifest(mfr.folder / "out")["tags"]["status"] == "ok"


def test_damaged_photos_are_recorded_and_the_good_ones_aligned(mfr, portrait):
    photos = mfr.folder / "photos"
    photos.mkdir()
    good = portrait.read_bytes()
    files = {
        "good.jpg": good,
        "zero.jpg": b"",
        "cut.jpg": good[: len(good) // 2],
        "text.jpg": b"Dear diary,\n" * 40,
        "bomb.png": bomb(),
        "name with spaces.jpg": good,
        "line\nbreak.jpg": good,
        "Zoë 写真.jpg": good,
        "notes.txt": b"not a picture, and not named like one",
    }
    for name, content in files.items():
        (photos / name).write_bytes(content)
    (photos / "loop").symlink_to(photos)
    (photos / "dangling.jpg").symlink_to("nowhere.jpg")
    (photos / "blank.png").write_bytes(blank())
    run = mfr("align", "photos", check=0)
    found = manifest(mfr.folder / "crops")
    assert {k: r["status"] for k, r in found.items()} == {
        "good": "ok", "zero": "skipped", "cut": "skipped", "text": "skipped", "bomb": "skipped",
        "name with spaces": "ok", "line\nbreak": "ok", "Zoë 写真": "ok", "dangling": "skipped",
        "blank": "skipped",
    }  # fmt: skip
    reasons = {key: record.get("reason", "") for key, record in found.items()}
    assert reasons["zero"] == "empty file"
    assert "damaged" in reasons["cut"]
    assert reasons["text"] == "not a picture"
    assert "30000x30000" in reasons["bomb"]
    assert "unreadable" in reasons["dangling"]
    assert reasons["blank"] == "no face found"
    assert (mfr.folder / "crops/line\nbreak.png").exists()
    one_line(run, "4 written, 6 skipped")
    mfr("embed", check=0)
    strict = mfr("align", "photos", "-o", "strict", "--max-skipped", "0.5", "-q", check=3)
    one_line(strict, "6 of 10")


def blank():
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (200, 200), "grey").save(out, "PNG")
    return out.getvalue()


def test_an_unreadable_file_is_a_skipped_input(mfr, portrait):
    photos = mfr.folder / "photos"
    photos.mkdir()
    shutil.copy(portrait, photos / "a.jpg")
    (photos / "folder.jpg").mkdir()  # a folder named like a picture is walked, not read
    shutil.copy(portrait, photos / "secret.jpg")
    os.chmod(photos / "secret.jpg", 0)
    mfr("align", "photos", check=0)
    found = manifest(mfr.folder / "crops")
    if os.geteuid() != 0:  # root reads everything
        assert found["secret"]["reason"].startswith("unreadable")
    assert found["a"]["status"] == "ok"


def test_two_inputs_of_one_name(mfr, portrait):
    photos = mfr.folder / "photos"
    photos.mkdir()
    shutil.copy(portrait, photos / "a.jpg")
    shutil.copy(portrait, photos / "a.jpeg")
    mfr("align", "photos", check=0)
    lines = (mfr.folder / "crops/manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["ok", "skipped"]
    assert "same name as a.jpeg" in lines[1]


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.png", "a/../../outside.png"])
def test_manifest_paths_that_leave_the_root(mfr, path):
    (mfr.folder / "crops").mkdir()
    record = {"path": path, "source": "x", "status": "ok"}
    (mfr.folder / "crops/manifest.jsonl").write_text(json.dumps(record) + "\n")
    one_line(mfr("embed", check=2), "manifest.jsonl, line 1", path, "leaves its folder")
    stream = json.dumps({**record, "root": str(mfr.folder)}).encode()
    one_line(
        mfr("embed", "-", stdin=stream, check=2), "standard input, line 1", "leaves its folder"
    )


def test_standard_input_that_is_no_stream_of_records(mfr):
    one_line(mfr("embed", "-", stdin=b"hello\n", check=2), "standard input, line 1")
    one_line(mfr("embed", "-", stdin=b"", check=2), "no inputs arrived")
    one_line(mfr("synth-mask", "-", stdin=b"", check=2), "no inputs arrived")
    assert list(mfr.folder.iterdir()) == []


def test_an_hdf5_that_is_not_ours(mfr):
    import h5py

    (mfr.folder / "pairs.txt").write_text("a 1 2\n")
    (mfr.folder / "text.h5").write_text("hello")
    with h5py.File(mfr.folder / "other.h5", "w") as file:
        file["spectra"] = [1, 2, 3]
    one_line(mfr("eval", "pairs.txt", "text.h5", check=2), "text.h5", "not a readable HDF5")
    one_line(mfr("eval", "pairs.txt", "other.h5", check=2), "other.h5", "no dataset 'embeddings'")
    one_line(mfr("merge", "text.h5", "-o", "all.h5", check=2), "text.h5")
    assert not (mfr.folder / "all.h5").exists()


def test_a_malformed_pairs_line_is_named(mfr, worked):
    (mfr.folder / "pairs.txt").write_text("barack_obama 1 2\nbarack_obama one 2\n")
    run = mfr("eval", "pairs.txt", worked.folder / "embeddings.h5", check=2)
    one_line(run, "pairs.txt, line 2")


def test_missing_embeddings_are_listed_with_their_reasons(mfr, worked):
    (mfr.folder / "pairs.txt").write_text("barack_obama 1 2\nbarack_obama 1 9\n")
    run = mfr("eval", "pairs.txt", worked.folder / "embeddings.h5", check=2)
    one_line(run, "barack_obama/barack_obama_0009", "--missing")
    mfr("eval", "pairs.txt", worked.folder / "embeddings.h5", "--missing", "drop", check=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["align", ".", "--size", "100"], ["112"]),
        (["align", ".", "--select", "best"], ["--select", "largest"]),
        (["align", ".", "--detector", "mtcn"], ["--detector", "mtcnn"]),
        (["align", ".", "--size", "1120000000"], ["1120000000", "4480"]),
        (["align", ".", "--workers", "100000"], ["--workers 100000", "1024"]),
        (["align", ".", "--shard", "5/4"], ["--shard", "5/4"]),
        (["embed", ".", "--colour", "grey"], ["--colour", "grey", "BGR"]),
        (["embed", ".", "--mean", "1,2"], ["--mean", "1,2"]),
        (["embed", ".", "--std", "0.5", "--model", "arcface"], ["arcface", "--std"]),
        (["align", ".", "--device", "tpu"], ["--device"]),
        (["align", ".", "--device", "cuda:7"], ["cuda"]),
        (["align", ".", "-o", "."], ["source"]),
        (["synth-mask", ".", "--type", "surgicl"], ["surgicl", "surgical"]),
        (["synth-mask", ".", "--color", "blu"], ["blu", "blue"]),
        (["embed", ".", "--model", "arcfase"], ["arcfase", "arcface"]),
        (["embed", ".", "--model", "mtcnn"], ["detection"]),
        (["embed", ".", "--model", "absent.safetensors"], ["absent.safetensors"]),
        (["embed", ".", "--resume", "--force"], ["--resume", "--force"]),
        (["models", "show", "nothing"], ["nothing", "arcface"]),
        (["eval", "pairs.txt", "e.h5", "--picture", "a.jpg"], ["--picture", "--report"]),
        (["search", ".", ".", "--fpir", "3"], ["FPIR 3"]),
    ],
)
def test_options_no_run_can_use(mfr, portrait, arguments, words):
    shutil.copy(portrait, mfr.folder / "a.jpg")
    one_line(mfr(*arguments, check=2), *words)
    assert [p.name for p in mfr.folder.iterdir()] == ["a.jpg"]


def test_a_detector_whose_weights_are_not_here(mfr, portrait):
    """Nothing is downloaded unasked: the message says which files belong where."""
    mfr.environment["TORCH_HOME"] = str(mfr.folder / "torch")
    (mfr.folder / "photos").mkdir()
    shutil.copy(portrait, mfr.folder / "photos")
    run = mfr("align", "photos", "--detector", "face-alignment", check=2)
    one_line(run, "2DFAN4", str(mfr.folder / "torch"), "--detector mtcnn")
    assert not (mfr.folder / "crops").exists()


@pytest.mark.parametrize("command", [["models", "show"], ["embed", "crops", "--model"]])
def test_damaged_model_files(mfr, worked, command):
    import mfrkit

    whole = (Path(mfrkit.__file__).parent / "data/weights/arcface.safetensors").read_bytes()
    shutil.copytree(worked.folder / "crops", mfr.folder / "crops")
    files = {
        "cut.safetensors": whole[: len(whole) // 2],
        "text.safetensors": b"hello, world",
        "empty.safetensors": b"",
    }
    for name, content in files.items():
        (mfr.folder / name).write_bytes(content)
        one_line(mfr(*command, name, check=2), name)
    (mfr.folder / "flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    if command[0] == "models":
        assert b"verified" in mfr("models", "show", "flipped.safetensors", check=0).stdout


def test_unknown_options_and_commands_are_usage_errors(mfr):
    assert b"No such option" in mfr("align", "--nonsense", check=2).stderr
    assert b"No such command" in mfr("nonsense", check=2).stderr


def test_debug_shows_the_traceback_and_quiet_only_the_error(mfr):
    run = mfr("align", "absent", "--debug")
    assert run.returncode == 2
    assert b"Traceback" in run.stderr
    one_line(mfr("align", "absent", "-q", check=2), "absent")
