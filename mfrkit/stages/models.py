"""Describe models: the bundled ones side by side, or one in full. Needs no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfrkit.console import Console, to_line
from mfrkit.models.cards import BUNDLED, ModelCard
from mfrkit.models.model_files import count_parameters, read_card, verify

SCHEMA = 1


@dataclass(frozen=True)
class ModelInfo:
    """A model as its file describes it.

    Attributes:
        card: the model card.
        path: the model file.
        parameters: values in all tensors, those of other models it shares too.
        size: of the file, bytes.
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

    Args:
        model: bundled name or model file.

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
    """Print the bundled models.

    Args:
        console: where to.
        as_json: one JSON object instead of a table.

    Raises:
        WeightsError: a bundled file is missing or damaged.
    """
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
    """Print the whole card of one model.

    Args:
        model: bundled name or model file.
        console: where to.
        as_json: one JSON object instead of a table.

    Raises:
        InputError: no such model.
        WeightsError: not a model file.
    """
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
