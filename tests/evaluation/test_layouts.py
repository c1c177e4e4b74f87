import pytest

from mfrkit.errors import InputError
from mfrkit.evaluation.layouts import LAYOUTS, find_layout


def test_the_usual_names_are_found(tmp_path):
    (tmp_path / "pairs.txt").touch()
    (tmp_path / "lfw-deepfunneled").mkdir()
    layout, pairs, images = find_layout("lfw", tmp_path)
    assert (pairs.name, images.name, layout.detector) == ("pairs.txt", "lfw-deepfunneled", "yunet")


def test_real_masks_are_not_masked_again(tmp_path):
    (tmp_path / "pairs.txt").touch()
    layout, _, images = find_layout("mfr2", tmp_path)
    assert not layout.masks
    assert images == tmp_path / ".", "the people's folders lie beside the list"


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_says_where_the_files_go(tmp_path, name):
    with pytest.raises(InputError) as caught:
        find_layout(name, tmp_path)
    text = str(caught.value)
    assert str(tmp_path / LAYOUTS[name].pairs[0]) in text
    assert "\n" not in text


def test_an_unknown_data_set_lists_the_known(tmp_path):
    with pytest.raises(InputError, match="lfw, calfw"):
        find_layout("lwf", tmp_path)
