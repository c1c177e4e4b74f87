"""Combine recognisers into one model file, of one embedding space or of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing
from mfrkit.models.cards import ModelCard
from mfrkit.models.model_files import read_card
from mfrkit.models.recognisers import is_foreign
from mfrkit.models.spaces import shares_of


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


@dataclass(frozen=True)
class BesideOptions:
    """Which models are laid side by side.

    Attributes:
        output: model file to write.
        parts: recognisers: bundled names or model files of mfrkit.
        weights: of the parts' cosines, positive; empty weighs all alike.
        force: replace an output there is.
    """

    output: Path
    parts: Sequence[str]
    weights: Sequence[float] = ()
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


def lay_side_by_side(options: BesideOptions, console: Console) -> None:
    """Write a `side-by-side` model, whole: it needs none of its parts afterwards.

    Raises:
        InputError: the output exists; one model only, or another number of weights; models for
            other tasks, of another program, or for crops of different sizes.
        WeightsError: a file is damaged.
    """
    refuse_existing(options.output, force=options.force)
    if len(options.parts) < 2:
        raise InputError(f"--beside {options.parts[0]}: beside what? Name two models or more")
    shares = shares_of(options.weights, len(options.parts), "models")
    cards = [_card(model) for model in options.parts]

    from mfrkit.models.combined import SideBySide, side_by_side_card  # torch loads here
    from mfrkit.models.recognisers import load_recogniser
    from mfrkit.models.registry import save_network

    card = side_by_side_card(options.output.stem, cards, shares)
    network = SideBySide([load_recogniser(model) for model in options.parts], shares)
    save_network(options.output, network, card)
    console.info(f"{card.source} -> {options.output}, {card.embedding_dim} values")


def _card(model: str) -> ModelCard:
    """Return the card of a recogniser whose network can be built anew from it."""
    if is_foreign(model):
        raise InputError(f"{model}: only models of mfrkit can be combined; use fuse on embeddings")
    card, _, path = read_card(model)
    if card.task != "recognition":
        raise InputError(f"{path}: is for {card.task}, not recognition; choose another model")
    return card
