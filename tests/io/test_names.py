import pytest

from mfrkit.errors import InputError
from mfrkit.io.names import expand_braces, is_picture, key_of


def test_key_of_knows_image_suffixes_only():
    assert key_of("a/b.JPEG") == "a/b"
    assert key_of("a/J.Lo") == "a/J.Lo"
    assert key_of("v1.2/photo.face2.png") == "v1.2/photo.face2"


def test_hidden_files_without_a_stem_are_no_pictures():
    assert not is_picture("a/.png")
    assert is_picture("a/b.webp")


def test_braces_name_files_and_never_more_than_there_can_be():
    assert expand_braces("{a,b}-{08..10}.tar")[::4] == ["a-08.tar", "b-09.tar"]
    assert expand_braces("{9..7}.tar") == []
    for pattern in ("{0..9999999999}.tar", "{a,b}" * 40, "{1..1000}" * 500):
        with pytest.raises(InputError, match="more than 1000000 names"):
            expand_braces(pattern)
    assert expand_braces("{0..1" + "0" * 5000 + "}") == ["{0..1" + "0" * 5000 + "}"]
