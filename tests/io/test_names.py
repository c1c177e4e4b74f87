from mfrkit.io.names import is_picture, strip_suffix


def test_strip_suffix_knows_image_suffixes_only():
    assert strip_suffix("a/b.JPEG") == "a/b"
    assert strip_suffix("a/J.Lo") == "a/J.Lo"
    assert strip_suffix("v1.2/photo.face2.png") == "v1.2/photo.face2"


def test_hidden_files_without_a_stem_are_no_pictures():
    assert not is_picture("a/.png")
    assert is_picture("a/b.webp")
