"""Combine recognisers of one embedding space into one model file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing
from mfrkit.models.cards import ModelCard
from mfrkit.models.model_files import read_card
from mfrkit.models.recognisers import is_foreign


@dataclass(frozen=True)
class CombineOptions:
    """Which models make up another one.

    Attributes:
        output: model file to write.
        unmasked: recogniser of bare faces: bundled name or model file of mfrkit.
        masked: recognisers of masked faces, whose embeddings are averaged.
        region: region predictor, which tells the two sorts.
        force: replace an output there is.
    """

    output: Path
    unmasked: str
    masked: Sequence[str]
    region: str = "region"
    force: bool = False


def combine_models(options: CombineOptions, console: Console) -> None:
    """Write a `combined` model, whole: it needs none of its parts afterwards.

    Raises:
        InputError: the output exists, or models for other tasks, of another program, for crops of
            different sizes or with embeddings of different lengths.
        WeightsError: a file is damaged.
    """
    refuse_existing(options.output, force=options.force)
    cards = [_card(model) for model in (options.unmasked, *options.masked)]
    region_card = read_card(options.region)[0]

    from mfrkit.models.combined import CombinedRecogniser, combined_card  # torch loads here
    from mfrkit.models.recognisers import load_recogniser
    from mfrkit.models.region import load_region
    from mfrkit.models.registry import save_network

    card = combined_card(options.output.stem, region_card, cards[0], cards[1:])
    network = CombinedRecogniser(
        load_region(options.region),
        load_recogniser(options.unmasked),
        [load_recogniser(model) for model in options.masked],
    )
    save_network(options.output, network, card)
    console.info(f"{options.unmasked} and {', '.join(options.masked)} -> {options.output}")


def _card(model: str) -> ModelCard:
    """Return the card of a recogniser whose network can be built anew from it."""
    if is_foreign(model):
        raise InputError(f"{model}: only models of mfrkit can be combined; use fuse on embeddings")
    card, _, path = read_card(model)
    if card.task != "recognition":
        raise InputError(f"{path}: is for {card.task}, not recognition; choose another model")
    return card
