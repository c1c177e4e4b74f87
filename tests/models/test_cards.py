import pytest

from mfrkit.errors import InputError
from mfrkit.models.cards import Feeding, ModelCard, describe


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
        Feeding.parse(*words)


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
    assert describe(Feeding.parse(None, mean, std).apply(card)) == shown
