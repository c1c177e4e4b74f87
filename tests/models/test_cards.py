from typing import get_type_hints

import pytest

from mfrkit.errors import InputError
from mfrkit.models.cards import Feeding, ModelCard, describe


def said(*words):
    """What the options `--colour`, `--mean` and `--std` make of their words."""
    options = get_type_hints(Feeding, include_extras=True).values()
    read = [option.__metadata__[0].parser for option in options]
    return Feeding(*(w if w is None else r(w) for r, w in zip(read, words, strict=True)))


def test_words_are_read():
    assert said("bgr", "127.5/255", "0.5,0.5,0.25") == Feeding(
        "BGR", (0.5, 0.5, 0.5), (0.5, 0.5, 0.25)
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("grey", None, None), "--colour 'grey': expected RGB or BGR"),
        ((None, "1,2", None), "--mean '1,2': expected one number, or three"),
        ((None, "1/0", None), "--mean '1/0': expected one number"),
        ((None, "nan", None), "--mean 'nan': expected one number"),
        ((None, None, "0"), "--std '0': expected numbers above 0"),
        ((None, None, "x"), "--std 'x': expected one number"),
    ],
)
def test_what_is_no_feeding(words, message):
    with pytest.raises(InputError, match=message):
        said(*words)


@pytest.mark.parametrize(
    ("mean", "std", "shown"),
    [
        ("0", "1", "Fed RGB, values from 0 to 1"),
        ("0", "1/255", "Fed RGB, values from 0 to 255"),
        ("0.5", "128/255", "Fed RGB, (value - 127.5) / 128 of values from 0 to 255"),
        ("0,0.2,0.4", "0.2", "Fed RGB, (value - (0, 51, 102)) / 51 of values from 0 to 255"),
    ],
)
def test_it_is_told_in_values_people_know(mean, std, shown):
    card = ModelCard(name="a", task="recognition", architecture="onnx")
    assert describe(said(None, mean, std).apply(card)) == shown
