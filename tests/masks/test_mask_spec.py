"""Specs and options: drawn from seed and key alone, exact in JSON, refused with the remedy."""

import json

import pytest

from mfrkit.errors import InputError
from mfrkit.masks.kinds import BARE, COLORS, KINDS
from mfrkit.masks.options import MaskOptions, parse_color, parse_colors, parse_weights
from mfrkit.masks.spec import MaskSpec, sample_spec


def test_spec_depends_on_seed_key_and_options_alone():
    options = MaskOptions()
    first = [sample_spec(3, f"p/{i}", options) for i in range(50)]
    again = [sample_spec(3, f"p/{i}", options) for i in reversed(range(50))][::-1]
    assert first == again
    assert len(set(first)) == 50
    assert sample_spec(4, "p/0", options) != first[0]


def test_spec_is_the_same_on_every_machine():
    """A change here changes every masked set made from a seed: say so in the change log."""
    spec = sample_spec(7, "ann/0001.jpg", MaskOptions())
    assert (spec.kind, spec.coverage, spec.texture) == ("sponge", "above", "plain")
    assert (spec.lift, spec.grain_row, spec.grain_column) == (-0.051662132558547444, 78, 64)


def test_fixing_one_option_leaves_the_rest_of_the_draw():
    free = sample_spec(1, "a", MaskOptions(types={"cloth": 1.0}))
    fixed = sample_spec(1, "a", MaskOptions(types={"cloth": 1.0}, colors={"#102030": 1.0}))
    assert fixed.color == (16 / 255, 32 / 255, 48 / 255)
    assert (free.tilt, free.texture, free.grain_row) == (fixed.tilt, fixed.texture, fixed.grain_row)


def test_shares_follow_the_weights():
    options = MaskOptions(types={"surgical": 3.0, "cloth": 1.0}, probability=0.5)
    kinds = [sample_spec(0, str(i), options).kind for i in range(2000)]
    assert kinds.count(BARE) == pytest.approx(1000, abs=90)
    assert kinds.count("surgical") == pytest.approx(750, abs=90)
    assert kinds.count("n95") == 0


def test_texture_falls_back_to_what_the_kind_has():
    options = MaskOptions(types={"surgical": 1.0, "cloth": 1.0}, textures={"dots": 1.0})
    for i in range(40):
        spec = sample_spec(0, str(i), options)
        assert spec.texture == ("dots" if spec.kind == "cloth" else "plain")


def test_json_round_trip_is_exact_and_ignores_other_fields():
    for i in range(20):
        spec = sample_spec(0, str(i), MaskOptions())
        record = json.loads(json.dumps({**spec.to_json(), "polygon": [[1, 2]]}))
        assert MaskSpec.from_json(record) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tilt": None}, "'tilt' cannot be null"),
        ({"color": [1, 2]}, "'color' cannot be"),
        ({"cords": 1}, "'cords' cannot be 1"),
        ({"lift": 10**400}, "'lift' cannot be 1000"),
        ({"kind": "gas"}, "kind 'gas' is unknown. Known: "),
        ({"texture": "tweed"}, "texture 'tweed' is unknown"),
        ({"coverage": "eyes"}, "coverage 'eyes' is unknown"),
    ],
)
def test_a_damaged_record_is_refused(change, message):
    record = {**sample_spec(0, "a", MaskOptions()).to_json(), **change}
    with pytest.raises(InputError, match=message):
        MaskSpec.from_json(record)


def test_what_is_no_record_is_refused():
    with pytest.raises(InputError, match="is int, expected an object"):
        MaskSpec.from_json(3)


def test_a_record_without_a_field_is_refused():
    record = sample_spec(0, "a", MaskOptions()).to_json()
    del record["shadow"]
    with pytest.raises(InputError, match="no 'shadow'"):
        MaskSpec.from_json(record)


def test_weights_are_read_and_checked():
    assert parse_weights(" surgical:3, cloth ", KINDS, "mask type") == {
        "surgical": 3.0,
        "cloth": 1.0,
    }
    for text, message in [
        ("surgcal", "Did you mean surgical"),
        ("", "no mask type given"),
        ("cloth,cloth", "listed twice"),
        ("cloth:0", "positive number"),
        ("cloth:x", "positive number"),
        ("cloth:inf", "positive number"),
    ]:
        with pytest.raises(InputError, match=message):
            parse_weights(text, KINDS, "mask type")


def test_colours_are_names_or_hexadecimal():
    assert parse_color("Navy") == COLORS["navy"]
    assert parse_color("#fff") == (1.0, 1.0, 1.0)
    assert parse_colors("#000000:2,red") == {"#000000": 2.0, "red": 1.0}
    for text in ("bleu", "#12345", "#gggggg", ""):
        with pytest.raises(InputError):
            parse_colors(text)


@pytest.mark.parametrize(
    "bad",
    [
        {"types": {}},
        {"types": {"gas": 1.0}},
        {"types": {"cloth": -1.0}},
        {"colors": {"bleu": 1.0}},
        {"textures": {"tweed": 1.0}},
        {"coverage": {"eyes": 1.0}},
        {"probability": 1.5},
        {"probability": float("nan")},
        {"jitter": -1.0},
    ],
)
def test_options_are_validated(bad):
    with pytest.raises(InputError):
        MaskOptions(**bad)


def test_options_parse_a_command_lines_words():
    options = MaskOptions.parse("all", "black", "check:2,plain", "above:8,on:1", 0.5, 2.0)
    assert set(options.types) == set(KINDS) - {"template", "worn"}, "these have to be given"
    assert options.textures == {"check": 2.0, "plain": 1.0}
    assert options.coverage == {"above": 8.0, "on": 1.0}
    assert MaskOptions.parse() == MaskOptions()
