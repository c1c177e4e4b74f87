import errno
import io
import json
import os

import pytest

from mfrkit.errors import InputError, MfrError
from mfrkit.io import manifest as manifests
from mfrkit.io.manifest import END
from mfrkit.io.source import NamedSource, open_source


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def listing(source):
    return [(item.record.key, item.record.status) for item in source]


def manifest(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def ok(path):
    return {"path": path, "source": path, "status": "ok"}


def test_a_folder_is_walked_in_name_order(tmp_path):
    make(tmp_path, "b/2.jpg", "a.png", "b/1.JPG", "b/notes.txt", ".hidden/x.jpg", "b/.x.jpg")
    items = list(open_source(str(tmp_path)))
    assert [item.record.key for item in items] == ["a", "b/1", "b/2"]
    assert [item.position for item in items] == [0, 1, 2]
    assert [item.record.identity for item in items] == [None, "b", "b"]
    assert items[1].path == tmp_path / "b/1.JPG"
    assert open_source(str(tmp_path)).count() == 3


def test_names_with_spaces_newlines_and_letters_of_any_script(tmp_path):
    names = ["a b/c\nd.jpg", "Zoë/写真.png", "日本/ ' \".jpg"]
    make(tmp_path, *names)
    found = [os.path.relpath(item.path, tmp_path) for item in open_source(str(tmp_path))]
    assert sorted(found) == sorted(names)


def test_two_files_of_one_key_give_one_input_and_one_skip(tmp_path):
    make(tmp_path, "a/x.jpg", "a/x.png", "b/x.png")
    items = list(open_source(str(tmp_path)))
    assert [item.record.status for item in items] == ["ok", "skipped", "ok"]
    assert items[1].record.reason == "same name as a/x.jpg"
    assert items[1].path is None


def test_links_are_followed_and_loops_are_not(tmp_path):
    make(tmp_path, "photos/a.jpg", "other/b.jpg")
    (tmp_path / "photos/loop").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/more").symlink_to(tmp_path / "other")
    (tmp_path / "photos/self.jpg").symlink_to(tmp_path / "photos/self.jpg")
    keys = [key for key, _ in listing(open_source(str(tmp_path / "photos")))]
    assert keys == ["a", "more/b", "self"]  # the dangling picture is an input that will be skipped


def test_the_output_folder_is_not_an_input(tmp_path):
    make(tmp_path, "a.jpg", "crops/b.png")
    source = open_source(str(tmp_path), exclude=tmp_path / "crops")
    assert listing(source) == [("a", "ok")]


def test_a_single_picture(tmp_path):
    make(tmp_path, "x.jpg")
    assert listing(open_source(str(tmp_path / "x.jpg"))) == [("x", "ok")]


def test_a_folder_with_a_manifest_is_read_through_it(tmp_path):
    make(tmp_path, "z.png", "a.png", "stray.png")
    skip = {"key": "m", "status": "skipped", "reason": "no face", "path": None}
    manifest(tmp_path / "manifest.jsonl", ok("z.png"), skip, ok("a.png"))
    source = open_source(str(tmp_path))
    assert listing(source) == [("z", "ok"), ("m", "skipped"), ("a", "ok")]
    assert source.count() == 3


@pytest.mark.parametrize("mark", [".manifest.jsonl.part", ".manifest.jsonl.withdrawn"])
def test_an_unfinished_folder_is_refused(tmp_path, mark):
    make(tmp_path, "a.png", mark)
    with pytest.raises(InputError, match="--resume"):
        open_source(str(tmp_path))


def test_shard_manifests_are_interleaved(tmp_path):
    manifest(tmp_path / "manifest-1-of-2.jsonl", ok("a.png"), ok("c.png"), ok("e.png"))
    manifest(tmp_path / "manifest-2-of-2.jsonl", ok("b.png"), ok("d.png"))
    assert [key for key, _ in listing(open_source(str(tmp_path)))] == list("abcde")


def test_a_missing_shard_is_named(tmp_path):
    manifest(tmp_path / "manifest-1-of-3.jsonl", ok("a.png"))
    manifest(tmp_path / "manifest-3-of-3.jsonl", ok("c.png"))
    with pytest.raises(InputError, match="shard 2/3 is missing"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "line 2: not JSON"),
        ("[1]", "line 2: expected a JSON object, got list"),
        (json.dumps(ok("../x.png")), "line 2: path '../x.png' leaves its folder"),
        (json.dumps(ok("a.png")), "line 2: key 'a' appears twice"),
    ],
)
def test_a_bad_manifest_line_is_named(tmp_path, line, message):
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps(ok("a.png")) + "\n" + line + "\n")
    with pytest.raises(InputError, match=message):
        list(open_source(str(path)))


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        open_source(str(tmp_path / "absent"))


def test_a_list_of_names_picks_and_numbers_anew(tmp_path):
    make(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    items = list(NamedSource(open_source(str(tmp_path)), {"b", "d", "missing"}))
    assert [(item.position, item.record.key) for item in items] == [(0, "b"), (1, "d")]
    assert [item.position for item in NamedSource(open_source(str(tmp_path)), set())] == []


JPEG = b"\xff\xd8\xff\xe0 and so on"


def test_pictures_of_all_kinds_are_inputs_and_other_files_are_counted(tmp_path):
    make(tmp_path, "1.HEIC", "2.jp2", "3.mpo", "4.avif", "a.mov", "b.mov", "c.txt", "README")
    (tmp_path / "IMG_0005").write_bytes(JPEG)
    (tmp_path / "6.Ann_0006").write_bytes(JPEG)
    os.mkfifo(tmp_path / "pipe")
    source = open_source(str(tmp_path))
    assert [key for key, _ in listing(source)] == ["1", "2", "3", "4", "6.Ann_0006", "IMG_0005"]
    assert source.passed_over() == "5 other files passed over (no suffix: 2, .mov: 2, .txt: 1)"


def test_names_that_look_the_same_are_one_key(tmp_path):
    make(tmp_path, "Jose\u0301/1.jpg", "Jos\u00e9/2.jpg", "e\u0301.jpg", "\u00e9.jpg")
    found = listing(open_source(str(tmp_path)))
    assert found == [
        ("Jos\u00e9/1", "ok"), ("Jos\u00e9/2", "ok"), ("\u00e9", "ok"), ("\u00e9", "skipped"),
    ]  # fmt: skip


def test_one_file_spelt_twice_is_found_out(tmp_path):
    path = manifest(tmp_path / "manifest.jsonl", ok("x.png"), ok("./x.png"))
    with pytest.raises(InputError, match="line 2: key 'x' appears twice"):
        list(open_source(str(path)))


def test_a_record_that_cannot_be_used_is_a_skipped_input(tmp_path):
    path = tmp_path / "manifest.jsonl"
    deep = '{"path": "b.png", "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    lines = ['{"path": "a.png"}', deep, '{"path": "c\\u0000.png"}', '{"path": "d.png"}']
    path.write_text("\n".join(lines) + "\n")
    found = [
        (item.position, item.record.key, item.record.status) for item in open_source(str(path))
    ]
    assert found == [
        (0, "a", "ok"), (1, "record 2", "skipped"), (2, "record 3", "skipped"), (3, "d", "ok"),
    ]  # fmt: skip


class Piped:
    """Standard input that is a pipe."""

    def __init__(self, content):
        self.buffer = io.BytesIO(content)

    def isatty(self):
        return False


def line(key, **more):
    return json.dumps({"schema": 1, "root": "/", "path": f"{key}.png", **more}).encode() + b"\n"


CLOSING = json.dumps(END).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "is_whole"),
    [
        (line("a", more=True) + line("b", more=True) + CLOSING, True),
        (line("a", more=True) + line("b", more=True), False),
        (line("a", more=True) + line("b", more=True)[:-9], False),
        (line("a", more=True) + CLOSING[:-9], False),
        (line("a", more=True) + CLOSING + line("b", more=True) + CLOSING, True),
        (line("a", more=True) + CLOSING + line("b", more=True), False),
        (line("a") + line("b"), True),  # of another program
        (line("a") + line("b")[:-1], True),
        (b"", True),
    ],
)
def test_the_end_of_a_stream_is_told_from_the_death_of_its_sender(monkeypatch, content, is_whole):
    monkeypatch.setattr("sys.stdin", Piped(content))
    came = iter(open_source("-"))
    if is_whole:
        assert [item.record.key for item in came] == ["a", "b"][: content.count(b"path")]
        return
    assert next(came).record.key == "a"
    with pytest.raises(MfrError, match="ended before its closing record"):
        list(came)


def test_a_folder_that_cannot_be_listed_costs_no_other(tmp_path, monkeypatch):
    make(tmp_path, "a.png", "locked/b.png", "locked.png", "z/c.png")
    listed = os.scandir

    def refusing(folder):
        if str(folder).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    items = list(open_source(str(tmp_path)))
    assert [item.record.key for item in items] == ["a", "locked/*", "locked", "z/c"]
    assert items[1].record.reason == "folder cannot be listed: Permission denied"
    assert [item.path is None for item in items] == [False, True, False, False]
    with pytest.raises(InputError, match="locked: folder cannot be listed"):
        list(open_source(str(tmp_path / "locked")))


def test_folders_without_end_are_not_followed(tmp_path):
    make(tmp_path, "a.png")
    make(tmp_path, "d/" * 300 + "b.png")
    (found, odd) = open_source(str(tmp_path))
    assert found.record.key == "a"
    assert odd.record.reason == "folder more than 100 folders down"


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(manifests, "_MOST_BYTES", 1000)
    path = manifest(tmp_path / "m.jsonl", ok("a.png"))
    path.write_bytes(path.read_bytes() + bytes(1001))
    found = iter(open_source(str(path)))
    assert next(found).record.key == "a"
    with pytest.raises(InputError, match="line 2: longer than any record"):
        next(found)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    with pytest.raises(InputError, match="standard input, line 2: longer than any record"):
        list(open_source("-"))
