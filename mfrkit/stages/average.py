"""A model whose weights lie between those of two others.

Paper:
    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv:2109.01903: the mean
    of the weights before and after fine-tuning keeps what either knows.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfrkit.console import Console
from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import mismatches
from mfrkit.io.files import refuse_existing
from mfrkit.models.cards import ModelCard
from mfrkit.models.model_files import read_card, read_tensors, write_model

_ALIKE = ("task", "architecture", "arguments", "input_size", "colour", "mean", "std")


@dataclass(frozen=True)
class AverageOptions:
    """What to average.

    Attributes:
        first: bundled name or model file.
        second: of the same architecture, fed in the same way.
        output: model file to write.
        share: of the second model's weights, in [0, 1]; the rest is the first's.
        force: replace an output there is.
    """

    first: str
    second: str
    output: Path
    share: float = 0.5
    force: bool = False


def average_models(options: AverageOptions, console: Console) -> None:
    """Write the model in between; its card names both.

    Raises:
        InputError: the output exists, a share outside [0, 1], no such models, or models that differ
            in more than their weights.
        WeightsError: a file is damaged.
    """
    refuse_existing(options.output, force=options.force)
    if not 0 <= options.share <= 1:
        raise InputError(f"--share {options.share:g}: expected a share from 0 to 1")
    cards = [read_card(model)[0] for model in (options.first, options.second)]
    for name in _ALIKE:
        values = [getattr(card, name) for card in cards]
        if values[0] != values[1]:
            raise InputError(
                f"{options.first} and {options.second} differ in {name}: {values[0]} and "
                f"{values[1]}; only models of one kind have a mean"
            )
    (_, first), (_, second) = map(read_tensors, (options.first, options.second))
    shapes = [{name: tuple(t.shape) for name, t in each.items()} for each in (first, second)]
    difference = mismatches(shapes[0], shapes[1])
    if difference:
        raise WeightsError(f"{options.second}: not as {options.first} is: {difference}")
    # Whole numbers, such as batch norm's counters, are the first's.
    between = {
        name: tensor.float().lerp(second[name].float(), options.share)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }
    write_model(options.output, between, _card(options, *cards))
    console.info(
        f"{options.share:g} of the way from {options.first} to {options.second} -> {options.output}"
    )


def _card(options: AverageOptions, first: ModelCard, second: ModelCard) -> ModelCard:
    licences = dict.fromkeys(card.licence for card in (first, second) if card.licence)
    return replace(
        first.as_part(),
        name=options.output.stem,
        shared={},
        licence="; ".join(licences),
        source=f"{1 - options.share:g} of the weights of {first.name}, {options.share:g} of "
        f"those of {second.name}",
        note="",
        config={"average": [_origin(first, 1 - options.share), _origin(second, options.share)]},
    )


def _origin(card: ModelCard, share: float) -> dict[str, Any]:
    kept = ("name", "sha256", "source", "training", "config")
    return {"share": share} | {name: getattr(card, name) for name in kept if getattr(card, name)}
