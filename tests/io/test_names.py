from mfrkit.io.names import is_picture, key_of


def test_key_of_knows_image_suffixes_only():
    assert key_of("a/b.JPEG") == "a/b"
    assert key_of("a/J.Lo") == "a/J.Lo"
    assert key_of("v1.2/photo.face2.png") == "v1.2/photo.face2"


def test_hidden_files_without_a_stem_are_no_pictures():
    assert not is_picture("a/.png")
    assert is_picture("a/b.webp")
