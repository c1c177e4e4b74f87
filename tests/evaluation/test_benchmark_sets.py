"""What a benchmark's folder remembers, and what it refuses."""

import pytest

from mfrkit.errors import InputError
from mfrkit.evaluation.benchmark_sets import BenchmarkFolder

BEGUN = {
    "pairs": "80 images, sha256 be0b",
    "images": "/lfw",
    "detector": "yunet",
    "landmarks": "mesh",
}
MASKS = {"types": None, "jitter": 1.0, "seed": 7}


@pytest.fixture
def folder(tmp_path):
    begun = BenchmarkFolder(tmp_path / "bench", anew=False)
    begun.begin(BEGUN | MASKS)
    begun.add(["arcface", "mine"])
    return tmp_path / "bench"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 8}, "--seed 7, not 8"),
        ({"detector": "mtcnn"}, "--detector yunet, not mtcnn"),
        ({"landmarks": "five"}, "--landmarks mesh, not five"),
        ({"types": "cloth"}, "no --type, not --type cloth"),
        ({"images": "/other"}, "the pictures in /lfw, not those in /other"),
        ({"pairs": "6 images, sha256 0a"}, "another pair list (its 80 images"),
    ],
)
def test_other_options_are_refused_in_the_words_of_the_command_line(folder, changed, words):
    before = (folder / "benchmark.json").read_bytes()
    with pytest.raises(InputError) as caught:
        BenchmarkFolder(folder, anew=False).begin(BEGUN | MASKS | changed)
    assert f"{folder}: was begun with {words}" in str(caught.value)
    assert "--output" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (folder / "benchmark.json").read_bytes() == before


def test_what_was_given_and_no_longer_is_is_refused_too(tmp_path):
    BenchmarkFolder(tmp_path, anew=False).begin({"types": "cloth"})
    with pytest.raises(InputError, match="begun with --type cloth, not without --type;"):
        BenchmarkFolder(tmp_path, anew=False).begin({"types": None})


def test_masks_may_come_later(tmp_path):
    BenchmarkFolder(tmp_path, anew=False).begin(BEGUN)
    BenchmarkFolder(tmp_path, anew=False).begin(BEGUN | MASKS)
    with pytest.raises(InputError, match="--seed 7, not 0"):
        BenchmarkFolder(tmp_path, anew=False).begin(BEGUN | MASKS | {"seed": 0})


def test_models_stay_in_the_order_they_came(folder):
    again = BenchmarkFolder(folder, anew=False)
    again.begin(BEGUN)
    assert again.add(["other", "arcface"]) == ["arcface", "mine", "other"]


def test_beginning_anew_forgets_options_models_and_embeddings(folder):
    (folder / "embeddings").mkdir()
    (folder / "embeddings" / "mine-crops.h5").touch()
    anew = BenchmarkFolder(folder, anew=True)
    anew.begin(BEGUN | MASKS | {"seed": 8})
    assert anew.add(["arcface"]) == ["arcface"]
    assert not list((folder / "embeddings").iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "[" * 100_000, '{"options": 3}', '{"models": "arcface"}',
        '{"options": {}, "models": [1]}', '{"options": {}, "models": ["../other"]}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(InputError, match=r"benchmark\.json: "):
        BenchmarkFolder(tmp_path, anew=False)


def test_models_whose_names_are_no_text_are_kept(tmp_path):
    begun = BenchmarkFolder(tmp_path, anew=False)
    begun.begin({"images": "/lfw-\udcff"})
    begun.add(["mine-\udcff"])
    assert BenchmarkFolder(tmp_path, anew=False).models == ["mine-\udcff"]
