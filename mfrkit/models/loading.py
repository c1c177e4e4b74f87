"""Whatever can be named where a recogniser is wanted. Importing this needs no torch."""

import hashlib
import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfrkit.config import REGION
from mfrkit.errors import InputError
from mfrkit.models.cards import ASSUMED, Feeding, ModelCard
from mfrkit.models.registry import FOREIGN, card_for_task, load_for_task

if TYPE_CHECKING:
    import torch

    from mfrkit.models.recogniser import Recogniser


def is_foreign(model: str) -> bool:
    """Whether a model's card comes with loading it: a file of another program, or two models."""
    return Path(model).suffix in FOREIGN or is_completed(model)


def is_completed(model: str) -> bool:
    """Whether a name is that of a completion generator and a recogniser with a plus between.

    Example:
        >>> is_completed("completion+arcface"), is_completed("arcface")
        (True, False)
    """
    return "+" in model and not Path(model).is_file()


def load_recogniser(
    model: str, device: "torch.device | str" = "cpu", feeding: Feeding | None = None
) -> "Recogniser":
    """Load a model that turns faces into embeddings, in eval mode.

    Args:
        model: bundled name, model file, a file of another program (`FOREIGN`), or
            `GENERATOR+RECOGNISER`, which sees completed faces.
        device: where it goes.
        feeding: what is known of how a file of another program is fed; None assumes it.

    Raises:
        InputError: no such model, it is for another task, or feeding is given for a model whose
            card says it.
        WeightsError: as `load_network`.

    Example:
        >>> load_recogniser("arcface").card.embedding_dim
        192
    """
    from mfrkit.models.recogniser import Recogniser

    if is_foreign(model) and not is_completed(model):
        module, reader = FOREIGN[Path(model).suffix]
        foreign: Recogniser = getattr(importlib.import_module(module), reader)(Path(model))
        if feeding is not None:
            foreign = Recogniser(foreign.network, feeding.apply(foreign.card)).eval()
        return foreign.to(device)
    if feeding is not None and feeding != ASSUMED:
        raise InputError(f"{model}: says itself how it is fed; leave out --colour, --mean, --std")
    if is_completed(model):
        return _load_completed(*model.split("+", 1)).to(device)
    network, card = load_for_task(model, "recognition", device)
    return Recogniser(network, card).to(device).eval()


def recogniser_card(model: str, feeding: Feeding | None = None) -> ModelCard:
    """Return a recogniser's card, without loading its network where the file has it.

    Arguments and errors are those of `load_recogniser`.
    """
    if is_foreign(model) or feeding not in (None, ASSUMED):
        return load_recogniser(model, feeding=feeding).card
    return card_for_task(model, "recognition")


def _load_completed(generator: str, recogniser: str) -> "Recogniser":
    """Put a recogniser behind a generator, as both are."""
    from mfrkit.models.combined import CompletingRecogniser, completing_card, load_generator
    from mfrkit.models.recogniser import Recogniser
    from mfrkit.models.region import load_region

    finder, inner = load_region(REGION), load_recogniser(recogniser)
    network, card = load_generator(generator)
    digest = hashlib.sha256(f"{finder.card.sha256}{card.sha256}{inner.card.sha256}".encode())
    whole = replace(
        completing_card(finder.card, card, inner.card),
        name=f"{card.name}+{inner.card.name}",
        sha256=digest.hexdigest(),
    )
    return Recogniser(CompletingRecogniser(finder, network, inner), whole).eval()
