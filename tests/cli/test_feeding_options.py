"""How a model of another program is fed can be said wherever one can be named."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.benchmark_options import BenchmarkOptions
from mfrkit.models.cards import Feeding
from mfrkit.models.loading import recogniser_card
from mfrkit.recognition import search, verify
from mfrkit.recognition.options import SearchOptions, VerifyOptions

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from tables import each_command

BGR = Feeding("BGR", None, (1 / 255,) * 3)


def test_every_command_that_names_a_recogniser_takes_them():
    taken = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in each_command()
    }
    said = {name for name, options in taken.items() if {"--colour", "--mean", "--std"} <= options}
    assert said == {
        "mfrkit benchmark",
        "mfrkit embed",
        "mfrkit models add",
        "mfrkit search",
        "mfrkit verify",
    }
    assert {name for name, options in taken.items() if "--model" in options} - said == {
        "mfrkit inpaint",  # a generator
        "mfrkit unmask",  # a translator of embeddings
    }


@pytest.fixture
def asked(monkeypatch):
    """Return what the commands load, which stops them there."""
    seen = []

    def stop(model, **options):
        seen.append((model, options["feeding"]))
        raise InputError("stopped")

    def card(model, feeding):
        return replace(recogniser_card("mfr"), name=model, colour=feeding.colour)

    for module in (search, verify):
        monkeypatch.setattr(module, "Recogniser", stop)
        monkeypatch.setattr(module, "recogniser_card", card)
    return seen


def test_verify_and_search_feed_as_they_are_told(asked, photos):
    someone = photos / "joe_biden" / "joe_biden_0001.jpg"
    with pytest.raises(InputError, match="stopped"):
        verify.verify(VerifyOptions((someone, someone), "a.onnx", fed=BGR), Console())
    with pytest.raises(InputError, match="stopped"):
        search.search(SearchOptions(str(photos), str(photos), "b.onnx", fed=BGR), Console())
    assert asked == [("a.onnx", BGR), ("b.onnx", BGR)]


def test_a_bundled_model_says_itself_how_it_is_fed(photos, tmp_path):
    someone = photos / "joe_biden" / "joe_biden_0001.jpg"
    with pytest.raises(InputError, match="mfr: says itself how it is fed"):
        verify.verify(VerifyOptions((someone, someone), fed=BGR), Console())
    with pytest.raises(InputError, match="mfr: says itself how it is fed"):
        search.search(SearchOptions(str(photos), str(photos), fed=BGR), Console())
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b,same\nx,y,1\n")
    with pytest.raises(InputError, match="are for models of other programs"):
        BenchmarkOptions(pairs, "photos", tmp_path / "out", ("arcface",), fed=BGR)
