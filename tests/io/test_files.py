import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from mfrkit.errors import InputError
from mfrkit.io.files import (
    expand_braces,
    held,
    is_picture,
    key_of,
    refuse_existing,
    replacing,
    replacing_together,
    temporary_name,
    write_whole,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("other")
        raise KeyboardInterrupt
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_names_the_file(tmp_path):
    with pytest.raises(OSError, match="full") as caught, replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "disk full")
    assert caught.value.filename == str(tmp_path / "a")
    assert caught.value.errno == errno.ENOSPC


def test_refuse_existing(tmp_path):
    write_whole(tmp_path / "a", b"x")
    with pytest.raises(InputError, match="--force"):
        refuse_existing(tmp_path / "a", force=False)
    refuse_existing(tmp_path / "a", force=True)
    with pytest.raises(InputError, match="is a folder"):
        refuse_existing(tmp_path, force=True)
    with pytest.raises(InputError, match="is no plain file"):
        refuse_existing(Path(os.devnull), force=True)  # it would be renamed away


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    for name in ("x" * 255, "é" * 127, os.fsdecode(b"\xff" * 255)):
        write_whole(tmp_path / name, b"x")
    assert len(list(tmp_path.iterdir())) == 3


def test_long_names_have_temporary_names_of_their_own(tmp_path):
    names = {temporary_name(tmp_path / ("x" * 240 + end)) for end in "abc"}
    assert len(names) == 3


@pytest.mark.parametrize("stop", range(7))
def test_files_that_belong_together_are_never_old_and_new(tmp_path, monkeypatch, stop):
    """Interrupted before any step of the change: all old, all new, or not to be read at all."""
    paths = [tmp_path / name for name in ("a.lst", "a.rec", "a.idx")]
    for path in paths:
        path.write_text("old")
    steps = iter(range(100))

    def stopping(call):
        def wrapped(*arguments):
            if next(steps) == stop:
                raise KeyboardInterrupt
            return call(*arguments)

        return wrapped

    with suppress(KeyboardInterrupt), replacing_together(paths) as parts:
        for part in parts:
            part.write_text("new")
        monkeypatch.setattr(os, "replace", stopping(os.replace))
        monkeypatch.setattr(os, "unlink", stopping(os.unlink))
    monkeypatch.undo()
    if paths[-1].exists():
        assert {path.read_text() for path in paths} == {"old" if stop == 0 else "new"}
    else:
        assert 0 < stop < 4


HOLDER = """
import sys, time
from pathlib import Path
from mfrkit.io.files import held
sys.argv = ["mfrkit", "pack", "a b"]
with held(Path(sys.stdin.readline().strip())):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `out.h5` until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(f"{tmp_path / 'out.h5'}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_refused_in_a_line_that_names_the_first(tmp_path, holder):
    with pytest.raises(InputError) as caught, held(tmp_path / "out.h5"):
        pass
    text = str(caught.value)
    assert f"out.h5: is being written by process {holder.pid} (mfrkit pack 'a b')" in text
    assert "\n" not in text


def test_a_lock_goes_with_the_run_however_that_ends(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert list(tmp_path.iterdir()), "a killed run leaves the name of its lock"
    with held(tmp_path / "out.h5"):
        pass
    assert not list(tmp_path.iterdir())


def test_those_that_share_keep_out_only_who_wants_it_alone(tmp_path):
    lock = tmp_path / ".lock"
    with held(tmp_path, lock, shared=True):
        with held(tmp_path, lock, shared=True):
            pass
        assert lock.exists(), "the first still holds it"
        with pytest.raises(InputError), held(tmp_path, lock):
            pass
    with held(tmp_path, lock):
        pass
    assert not lock.exists()


def test_long_names_have_short_locks(tmp_path):
    with held(tmp_path / ("x" * 255)):
        assert len(os.listdir(tmp_path)[0]) < 100


def test_key_of_knows_image_suffixes_only():
    assert key_of("a/b.JPEG") == "a/b"
    assert key_of("a/J.Lo") == "a/J.Lo"
    assert key_of("v1.2/photo.face2.png") == "v1.2/photo.face2"


def test_hidden_files_without_a_stem_are_no_pictures():
    assert not is_picture("a/.png")
    assert is_picture("a/b.webp")


def test_braces_name_files_and_never_more_than_there_can_be():
    assert expand_braces("{a,b}-{08..10}.tar")[::4] == ["a-08.tar", "b-09.tar"]
    with pytest.raises(InputError, match=r"counts down; write \{7..9\}"):
        expand_braces("{9..7}.tar")
    for pattern in ("{0..9999999999}.tar", "{a,b}" * 40, "{1..1000}" * 500):
        with pytest.raises(InputError, match="more than 1000000 names"):
            expand_braces(pattern)
    assert expand_braces("{0..1" + "0" * 5000 + "}") == ["{0..1" + "0" * 5000 + "}"]


@pytest.mark.parametrize("name", [".a.txt.part", ".a.txt.lock"])
def test_links_under_hidden_names_lead_nowhere(tmp_path, name):
    """The folder may be somebody else's: what the link names must not be written to."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    write_whole(folder / "a.txt", b"1")
    with replacing_together([folder / "a.txt"]) as (part,):
        part.write_bytes(b"2")
    assert precious.read_bytes() == b"mine"
    assert os.listdir(folder) == ["a.txt"]
    assert (folder / "a.txt").read_bytes() == b"2"
