"""Commands built from dataclasses of options."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import typer

from mfrkit.cli.options import takes
from mfrkit.config import Shard
from mfrkit.options import Checked, Offers, Some, Usually, Within

WHOLE = Shard()


@dataclass(frozen=True)
class Speed(Checked):
    threads: Annotated[int, typer.Option("--threads", "-j", help="At work."), Within(1)] = 2
    device: Annotated[str, typer.Option(help="Where.")] = "auto"


@dataclass(frozen=True)
class Base(Checked):
    source: Annotated[tuple[str, ...], typer.Argument(help="Crops."), Usually("crops", "align")]
    output: Annotated[Path, typer.Option("--output", "-o", help="File.")] = Path("out")
    shard: Annotated[Shard, typer.Option(help="Part.", parser=Shard.parse)] = WHOLE
    extra: Annotated[tuple[str, ...], typer.Option(help="More.")] = ()
    inner: str = "programs alone"


@dataclass(frozen=True)
class Whole(Base):
    mode: Annotated[str, typer.Option(help="How."), Offers("a", "b")] = "a"
    speed: Annotated[Speed, Some("threads")] = field(default_factory=Speed)


@pytest.fixture
def call():
    seen = []

    @takes(Whole)
    def command(
        options: Whole, *, flag: Annotated[bool, typer.Option("--flag", help="Own.")] = False
    ) -> None:
        """Do it."""
        seen.append((options, flag))

    app = typer.Typer()
    app.command()(command)
    built = typer.main.get_command(app)

    def run(*words):
        built(words, standalone_mode=False)
        return seen.pop()

    run.command = built
    return run


def test_values_arrive_in_an_instance(call):
    options, flag = call(
        *("a", "b", "-o", "x", "--shard", "2/3", "--extra", "one", "--extra", "two"),
        *("--mode", "z", "-j", "5", "--flag"),
    )
    assert options == Whole(("a", "b"), Path("x"), Shard(2, 3), ("one", "two"), mode="z",
                            speed=Speed(5))  # fmt: skip
    assert flag


def test_defaults_are_those_of_the_fields(call):
    assert call("a") == (Whole(("a",)), False)


def test_arguments_come_first_then_own_options_then_inherited_ones_then_groups(call):
    names = [parameter.name for parameter in call.command.params]
    assert names[:7] == ["source", "mode", "output", "shard", "extra", "threads", "flag"]


def test_help_shows_what_the_fields_say(call):
    shard = next(each for each in call.command.params if each.name == "shard")
    assert (shard.help, shard.default) == ("Part.", "1/1")
    assert {"inner", "device"}.isdisjoint(each.name for each in call.command.params)


def test_the_usual_input_serves_where_none_is_named(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crops").mkdir()
    assert call()[0].source == ("crops",)
