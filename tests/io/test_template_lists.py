"""Template lists are read as published, and complained of in one line."""

import pytest

from mfrkit.errors import InputError
from mfrkit.io.tables import read_templates

IJB = "1.jpg 10 69544\nimg/2.jpg 10 69544\n3.jpg 20 7\n4.jpg 10 8\n"


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "t.txt").write_text(text)
        return read_templates(tmp_path / "t.txt")

    return read


@pytest.mark.parametrize(
    "text",
    [
        IJB,
        IJB.replace(" ", "\t"),
        "SIGHTING_ID,SUBJECT_ID,FILENAME,TEMPLATE_ID\n"
        "69544,s,1.jpg,10\n69544,s,img/2.jpg,10\n7,s,3.jpg,20\n8,s,4.jpg,10\n",
        "path;template;media\n1;10;a\nimg/2;10;a\n3;20;a\n4;10;b\n",
    ],
)
def test_lists_are_read_and_ordered(read, text):
    found = read(text)
    assert found.names == ["10", "20"]
    assert found.keys == ["1", "img/2", "4", "3"]
    assert found.template.tolist() == [0, 0, 0, 1]
    assert found.media.tolist() == [0, 0, 1, 2]


def test_without_media_each_picture_is_its_own(read):
    assert read("template,image\nt,a\nt,b\nu,a\n").media.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the template list is empty"),
        ("a b\n", "line 1: expected `image template media`"),
        ("a t 1\na t\n", "line 2: expected `image template media`"),
        ("template,image\n", "no templates"),
        ("template,image\n,x\n", "line 2: expected a template and an image"),
    ],
)
def test_malformed_lists_say_what_and_where(read, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(text)
    assert "t.txt" in str(caught.value)
