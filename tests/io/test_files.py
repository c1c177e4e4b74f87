import errno
import os
from contextlib import suppress

import pytest

from mfrkit.errors import InputError
from mfrkit.io.files import (
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
