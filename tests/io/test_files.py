import errno

import pytest

from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing, replacing, write_whole


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
