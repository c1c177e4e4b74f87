"""What models are there, and the card of one: as a table, as JSON, or as a page of Markdown."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfrkit.console import Console, to_line
from mfrkit.models.cards import BUNDLED, ModelCard
from mfrkit.models.registry import count_parameters, read_card, verify
from mfrkit.pages.table import Table, to_markdown

if TYPE_CHECKING:
    pass


SCHEMA = 1


@dataclass(frozen=True)
class ModelInfo:
    """A model as its file of so many bytes describes it.

    Attributes:
        parameters: values in all tensors, those of other models it shares too.
        verified: whether the file holds the bytes it should.
    """

    card: ModelCard
    path: Path
    parameters: int
    size: int
    verified: bool

    def to_json(self) -> dict[str, Any]:
        """Return the card's fields, then those of the file."""
        return {
            **self.card.to_json(),
            "file": str(self.path),
            "parameters": self.parameters,
            "bytes": self.size,
            "verified": self.verified,
        }


def describe(model: str) -> ModelInfo:
    """Read a model's card and check its file.

    Raises:
        InputError: no such model.
        WeightsError: not a model file.

    Example:
        >>> describe("arcface").parameters
        1292992
    """
    card, header, path = read_card(model)
    valid = verify(model, header, path)
    return ModelInfo(card, path, count_parameters(card, header), path.stat().st_size, valid)


def list_models(console: Console, *, as_json: bool = False) -> None:
    """Print the bundled models as a table, or as one JSON object."""
    models = [describe(name) for name in BUNDLED]
    if as_json:
        console.data(to_line({"schema": SCHEMA, "models": [model.to_json() for model in models]}))
        return
    columns = ["name", "task", "size", "parameters", "licence", "source"]
    rows = [
        [
            model.card.name,
            ", ".join(model.card.tasks),
            f"{model.size / 1e6:.1f} MB",
            f"{model.parameters:,}",
            model.card.licence,
            model.card.source,
        ]
        for model in models
    ]
    console.table("Bundled models", columns, rows)


def show_model(model: str, console: Console, *, as_json: bool = False) -> None:
    """Print the whole card of one model as a table, or as one JSON object; errors as `describe`."""
    info = describe(model)
    if as_json:
        console.data(to_line(info.to_json()))
        return
    shown = info.to_json() | {
        "parameters": f"{info.parameters:,}",
        "bytes": f"{info.size:,}",
        "verified": "yes" if info.verified else "NO: the file is not what its hash says",
    }
    rows = [[key, _text(value)] for key, value in shown.items() if value not in ("", None, {}, [])]
    console.table(info.card.name, ["field", "value"], rows)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def show_card(model: str, console: Console) -> None:
    """Print the whole card of one model as Markdown; errors as `describe`."""
    console.data(to_card(describe(model)))


def to_card(info: ModelInfo) -> str:
    """Return the whole card as a page of Markdown.

    Example:
        >>> to_card(describe("mtcnn")).splitlines()[0]
        '# mtcnn'
    """
    card = info.card
    parts = [f"# {card.name}", card.note, _facts(info)]
    for title, text in (
        ("Data", card.data),
        ("Training", _training(card)),
        ("Measured", "\n\n".join(_measured(card.metrics))),
        ("Thresholds", thresholds_table([card]) if card.thresholds else ""),
    ):
        parts += [f"## {title}", text] if text else []
    return "\n\n".join(part for part in parts if part)


def thresholds_table(cards: Sequence[ModelCard]) -> str:
    """Return the thresholds of recognisers, one line for each state of two faces and FMR."""
    columns = ["model", "faces", "FMR", "threshold", "FNMR %", "genuine", "impostors"]
    rows = [
        [card.name, faces, f"{at.fmr:g}", f"{at.threshold:.4f}", f"{at.fnmr:.2%}".rstrip("%"),
         f"{at.genuine:,}", f"{at.impostors:,}"]
        for card in cards
        for faces, points in card.thresholds.items()
        for at in points
    ]  # fmt: skip
    return to_markdown(Table("", columns, rows, []))


def _facts(info: ModelInfo) -> str:
    card = info.card
    size = "any size" if card.input_size is None else "x".join(map(str, card.input_size))
    facts = {
        "task": ", ".join(card.tasks),
        "architecture": card.architecture,
        "arguments": ", ".join(f"{name}: {_argument(card.arguments[name])}"
                               for name in card.arguments),
        "parameters": f"{info.parameters:,}",
        "file": f"{info.size:,} bytes, {'intact' if info.verified else 'NOT what its hash says'}",
        "weights of": ", ".join(sorted(set(card.shared.values()))),
        "input": f"{size}, {card.colour} in [0, 1], less {_triple(card.mean)}, over "
        f"{_triple(card.std)}",
        "output": f"{card.embedding_dim} values" if card.embedding_dim else "",
        "licence": card.licence,
        "source": card.source,
        "paper": card.paper,
        "SHA-256": card.sha256,
    }  # fmt: skip
    rows = [[key, value] for key, value in facts.items() if value]
    return to_markdown(Table("", ["", ""], rows, [])).replace("---:", "---")


def _argument(value: Any) -> str:
    """Return an argument in short: of another card only its name."""
    if isinstance(value, Mapping):
        return str(value.get("name", json.dumps(value, ensure_ascii=False)))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " + ".join(map(_argument, value))
    return str(value)


def _triple(values: Sequence[float]) -> str:
    return f"{values[0]:.4g}" if len(set(values)) == 1 else ", ".join(f"{v:.4g}" for v in values)


def _training(card: ModelCard) -> str:
    parts = [f"```sh\n{card.training}\n```"] if card.training else []
    settings = {name: value for name, value in card.config.items() if name != "card"}
    if settings:
        lines = (f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in settings.items())
        parts.append("Settings:\n\n```text\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts)


def _measured(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table for each set of conditions, and one of the figures that stand alone."""
    alone = {name: value for name, value in metrics.items() if not isinstance(value, Mapping)}
    if alone:
        rows = [[name.replace("_", " "), f"{value:g}"] for name, value in alone.items()]
        yield to_markdown(Table("", ["figure", "value"], rows, []))
    for name, figures in metrics.items():
        if not isinstance(figures, Mapping):
            continue
        sides = {key: value for key, value in figures.items() if isinstance(value, Mapping)}
        columns = list(dict.fromkeys(column for side in sides.values() for column in side))
        rows = [
            [side.replace("_", " "), *(str(values.get(column, "")) for column in columns)]
            for side, values in sides.items()
        ]
        notes = [f"{key}: {value}" for key, value in figures.items() if key not in sides]
        title = name.replace("_", " ")
        yield to_markdown(Table(title, ["", *columns], rows, ["; ".join(notes)] if notes else []))
