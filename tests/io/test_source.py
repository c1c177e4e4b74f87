import json
import os

import pytest

from mfrkit.errors import InputError
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


def test_an_unfinished_folder_is_refused(tmp_path):
    make(tmp_path, "a.png", ".manifest.jsonl.part")
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
        ("{broken", "line 2: not a JSON record"),
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
