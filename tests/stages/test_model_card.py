"""Model cards as Markdown."""

import re
from dataclasses import replace

import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.models.cards import BUNDLED
from mfrkit.stages.models import describe, show_card, thresholds_table, to_card


@pytest.mark.parametrize("name", BUNDLED)
def test_every_card_is_a_page_of_whole_tables(name):
    info = describe(name)
    page = to_card(info)
    assert page.startswith(f"# {name}\n")
    assert f"{info.parameters:,}" in page
    assert "| licence |" in page
    for rows in re.findall(r"(?:^\|.*\n?)+", page, re.M):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}
        assert len(widths) == 1, rows


def test_a_card_tells_what_made_it_and_how_well_it_does(capsys):
    show_card("maskinv", Console())
    page = capsys.readouterr().out
    headings = re.findall("^## (.*)$", page, re.M)
    assert headings == ["Data", "Training", "Measured", "Thresholds"]
    assert "```sh\nmfrkit distill wide wide wide" in page
    assert "| probe masked | 98.3 | 1.73 | 2.53 | 8.33 | 10.53 |" in page
    assert "conditions: benchmark lfw\\_pairs\\_test.txt lfw --seed 7" in page
    assert "\n| maskinv | unmasked-unmasked | 0.001 | 0.4744 | 2.90 | 4,414 | 7,255,541 |" in page


def test_parts_are_named_and_damage_is_told():
    info = describe("mfr")
    assert "parts: maskinv-edge + maskinv" in to_card(info)
    assert "NOT what its hash says" in to_card(replace(info, verified=False))


def test_a_bare_card_has_no_empty_sections():
    card = replace(describe("mtcnn").card, data="", note="")
    assert "##" not in to_card(replace(describe("mtcnn"), card=card))


def test_single_figures_are_a_table_of_their_own():
    card = replace(describe("mtcnn").card, metrics={"check_error": 0.25})
    page = to_card(replace(describe("mtcnn"), card=card))
    assert "| check error | 0.25 |" in page


def test_thresholds_of_several_models_are_one_table():
    cards = [describe(name).card for name in ("arcface", "mfr")]
    lines = thresholds_table(cards).splitlines()
    counted = sum(len(points) for card in cards for points in card.thresholds.values())
    assert len(lines) == 2 + counted > 10


def test_a_model_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="nobody"):
        show_card("nobody", Console())
