"""What a field says of its option is what the dataclass checks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from mfrkit.errors import InputError
from mfrkit.options import Checked, Like, OneOf, PictureName, Usually, Within, declared


@dataclass(frozen=True)
class Cut(Checked):
    shape: Annotated[str, typer.Option("--form"), OneOf("round", "square", "oval")] = "round"
    size: Annotated[int, Within(12, unit="pixels")] = 40
    share: Annotated[float | None, Within(0, 1)] = None
    rates: Annotated[tuple[float, ...], Within(0, 1, above=True)] = ()
    place: Annotated[str, Like(r"\d+:\d+", "X:Y")] = "0:0"
    picture: Annotated[Path | None, PictureName] = None


def test_values_in_range_are_taken():
    Cut("oval", 12, 1, (1, 0.5), "3:4", Path("line\nfeed.png"))
    assert Cut().share is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": "flat"}, "--form 'flat': expected round, square or oval"),
        ({"size": 11}, "--size 11: expected at least 12 pixels"),
        ({"share": 1.5}, "--share 1.5: expected 0 to 1"),
        ({"share": float("nan")}, "--share nan: expected 0 to 1"),
        ({"rates": (0.5, 0.0)}, "--rates 0: expected above 0 and at most 1"),
        ({"place": "3"}, "--place '3': expected X:Y"),
        ({"picture": Path("a.gif")}, "--picture 'a.gif': expected a name ending in .png or .jpg"),
    ],
)
def test_others_are_refused_by_their_flag(wrong, message):
    with pytest.raises(InputError) as caught:
        Cut(**wrong)
    assert str(caught.value) == message


def test_a_field_says_its_flag_and_type():
    said = {each.field.name: each for each in declared(Cut)}
    assert (said["shape"].flag, said["shape"].values) == ("--form", str)
    assert said["size"].option is None
    assert said["share"].values == float | None


def test_the_usual_input_is_named_with_its_maker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = Usually("crops", "mfrkit align PHOTOS")
    with pytest.raises(InputError, match="crops: not here yet; mfrkit align PHOTOS makes it"):
        usual.find()
    assert usual.find(needed=False) == "crops"
    (tmp_path / "crops").mkdir()
    assert usual.find() == "crops"
