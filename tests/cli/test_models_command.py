"""`mfrkit models`: what it prints, and what it refuses."""

import json
from dataclasses import replace

import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.models.cards import BUNDLED
from mfrkit.models.registry import build_network, save_network
from mfrkit.stages.models import describe, list_models, show_model


def one_object(text):
    assert text.count("\n") == 1
    return json.loads(text)


def test_list_is_a_table_of_all_bundled_models(capsys):
    list_models(Console())
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["name", "task", "size", "parameters", "licence", "source"]
    assert [line[0] for line in lines[1:]] == list(BUNDLED)
    assert lines[1][1:4] == ["recognition", "2.6 MB", "1,292,992"]


def test_list_json_is_one_object(capsys):
    list_models(Console(), as_json=True)
    models = one_object(capsys.readouterr().out)["models"]
    assert [model["name"] for model in models] == list(BUNDLED)
    assert all(model["verified"] for model in models)


def test_show_gives_the_whole_card(capsys):
    show_model("arcface", Console())
    shown = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert shown["verified"] == "yes"
    assert shown["embedding_dim"] == "192"
    assert shown["mean"] == "[0.5, 0.5, 0.5]"
    assert len(shown["sha256"]) == 64


def test_show_json_of_a_file_with_metrics(capsys, tmp_path):
    card = replace(describe("arcface").card, metrics={"eer": 0.008})
    path = tmp_path / "student of mine.safetensors"
    network = build_network("mobilefacenet", {"embedding_dim": 192})
    save_network(path, network, card)
    show_model(str(path), Console(), as_json=True)
    shown = one_object(capsys.readouterr().out)
    assert shown["metrics"] == {"eer": 0.008}
    assert shown["file"] == str(path)
    assert shown["verified"] is True


def test_show_says_when_a_file_was_changed(capsys, tmp_path):
    path = tmp_path / "damaged.safetensors"
    content = bytearray(describe("arcface").path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    show_model(str(path), Console())
    assert "verified\tNO" in capsys.readouterr().out


def test_show_refuses_an_unknown_name():
    with pytest.raises(InputError, match="Known: "):
        show_model("nobody", Console())


def test_command_line(mfr):
    run = mfr("models", "show", "arcface", "--json", check=0)
    assert one_object(run.stdout.decode())["name"] == "arcface"
    run = mfr("models", "show", "arcfaec", check=2)
    assert run.stdout == b""
    assert b"did you mean arcface?" in run.stderr


def test_the_card_as_markdown(mfr):
    run = mfr("models", "show", "arcface", "--markdown", check=0)
    assert run.stdout.startswith(b"# arcface\n")
    both = mfr("models", "show", "arcface", "--markdown", "--json", check=2)
    assert b"choose one of them" in both.stderr
