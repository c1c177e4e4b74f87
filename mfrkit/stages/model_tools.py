"""Make model files of other files; torch is loaded when one is made.

Networks of other programs are added, recognisers of one embedding space or of several combined,
two models' weights averaged, recognisers written in the form other programs run.

Paper:
    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv:2109.01903: the
    mean of the weights before and after fine-tuning keeps what either knows.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfrkit.config import REGION, TEACHER
from mfrkit.console import Console
from mfrkit.errors import InputError, WeightsError
from mfrkit.io.checkpoints import mismatches
from mfrkit.io.files import refuse_existing, replacing
from mfrkit.models.cards import ModelCard
from mfrkit.models.loading import is_completed, is_foreign, load_recogniser
from mfrkit.models.registry import FOREIGN, read_card, read_tensors, save_network, write_model
from mfrkit.models.spaces import shares_of
from mfrkit.stages.file_options import AddOptions, AverageOptions, CombineOptions, OnnxOptions

if TYPE_CHECKING:
    from torch import Tensor

_GRAPH_ONLY = ".onnx"
# What two models must have in common for their weights to have a mean.
_ALIKE = ("task", "architecture", "arguments", "input_size", "colour", "mean", "std")


def add_model(options: AddOptions, console: Console) -> None:
    """Write somebody else's recogniser as a model file; say how its network is fed.

    Raises:
        InputError: the output exists or has another suffix than `.safetensors`; no such file, or of
            a form that holds no network that can be built here.
        WeightsError: the file is damaged, or no recogniser.
    """
    file, output = options.file, options.output or Path(f"{options.file.stem}.safetensors")
    known = sorted(set(FOREIGN) - {_GRAPH_ONLY})
    if file.suffix == _GRAPH_ONLY:
        raise InputError(
            f"{file}: an ONNX file is a graph, not weights by name; name it itself as --model"
        )
    if file.suffix not in known:
        raise InputError(f"{file}: expected {', '.join(known)}")
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: name it .safetensors")
    refuse_existing(output, force=options.force)

    from mfrkit.stages.portraits import try_out

    recogniser = load_recogniser(str(file), feeding=options.fed)
    try_out(recogniser, file.name, console)
    card = replace(
        recogniser.card,
        name=output.stem,
        licence=options.licence,
        source=options.source or recogniser.card.source,
        paper=options.paper,
        data=options.data,
    )
    save_network(output, recogniser.network, card)
    console.info(f"{file} -> {output}: {card.architecture}, {card.embedding_dim} values")


def average_models(options: AverageOptions, console: Console) -> None:
    """Write the model in between; its card names both.

    Raises:
        InputError: the output exists, no such models, or models that differ in more than their
            weights.
        WeightsError: a file is damaged.
    """
    refuse_existing(options.output, force=options.force)
    cards, (first, second) = zip(*map(_read_whole, (options.first, options.second)), strict=True)
    kinds = [_kind(card.to_json()) for card in cards]
    for name in _ALIKE:
        if kinds[0][name] != kinds[1][name]:
            raise InputError(
                f"{options.first} and {options.second} differ in {name}: {kinds[0][name]} and "
                f"{kinds[1][name]}; only models of one kind have a mean"
            )
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
    write_model(options.output, between, _average_card(options, *cards))
    console.info(
        f"{options.share:g} of the way from {options.first} to {options.second} -> {options.output}"
    )


def _read_whole(model: str) -> "tuple[ModelCard, Mapping[str, Tensor]]":
    """Return a model's card and weights; a generator and a recogniser joined by + are one model."""
    if not is_completed(model):
        return read_tensors(model)
    whole = load_recogniser(model)
    return whole.card, whole.network.state_dict()


def _kind(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what models must have in common, of the models inside them too."""
    inside = {
        name: _kind(value) if isinstance(value, Mapping) and "architecture" in value else value
        for name, value in card["arguments"].items()
    }
    return {name: card[name] for name in _ALIKE} | {"arguments": inside}


def _average_card(options: AverageOptions, first: ModelCard, second: ModelCard) -> ModelCard:
    licences = dict.fromkeys(card.licence for card in (first, second) if card.licence)
    shares = ((first, 1 - options.share), (second, options.share))
    kept = ("name", "sha256", "source", "training", "config")
    return replace(
        first.as_part(),
        name=options.output.stem,
        shared={},
        licence="; ".join(licences),
        source=f"{1 - options.share:g} of the weights of {first.name}, {options.share:g} of "
        f"those of {second.name}",
        note="",
        config={
            "average": [
                {"share": share} | {name: value for name in kept if (value := getattr(card, name))}
                for card, share in shares
            ]
        },
    )


def combine_models(options: CombineOptions, console: Console) -> None:
    """Write one model made of several, whole: it needs none of its parts afterwards.

    Raises:
        InputError: the output exists; models for other tasks, of another program, for crops of
            different sizes or, of one space, with embeddings of different lengths; one model
            beside nothing, or another number of weights.
        WeightsError: a file is damaged.
    """
    refuse_existing(options.output, force=options.force)
    if options.beside:
        _lay_side_by_side(options, console)
        return
    unmasked, masked = options.unmasked or TEACHER, options.masked or ("maskinv",)
    region = options.region or REGION
    cards = [_part_card(model) for model in (unmasked, *masked)]
    region_card = read_card(region)[0]

    from mfrkit.models.combined import CombinedRecogniser, combined_card  # torch loads here
    from mfrkit.models.region import load_region

    card = combined_card(options.output.stem, region_card, cards[0], cards[1:])
    network = CombinedRecogniser(
        load_region(region), load_recogniser(unmasked), [load_recogniser(each) for each in masked]
    )
    save_network(options.output, network, card)
    console.info(f"{unmasked} and {', '.join(masked)} -> {options.output}")


def _lay_side_by_side(options: CombineOptions, console: Console) -> None:
    if len(options.beside) < 2:
        raise InputError(f"--beside {options.beside[0]}: beside what? Name two models or more")
    shares = shares_of(options.weights, len(options.beside), "models")
    cards = [_part_card(model) for model in options.beside]

    from mfrkit.models.combined import SideBySide, side_by_side_card  # torch loads here

    card = side_by_side_card(options.output.stem, cards, shares)
    network = SideBySide([load_recogniser(model) for model in options.beside], shares)
    save_network(options.output, network, card)
    console.info(f"{card.source} -> {options.output}, {card.embedding_dim} values")


def _part_card(model: str) -> ModelCard:
    """Return the card of a recogniser whose network can be built anew from it."""
    if is_foreign(model):
        raise InputError(f"{model}: only models of mfrkit can be combined; use fuse on embeddings")
    card, _, path = read_card(model)
    if card.task != "recognition":
        raise InputError(f"{path}: is for {card.task}, not recognition; choose another model")
    return card


def export_model(options: OnnxOptions, console: Console) -> None:
    """Write a recogniser as an ONNX file, whole and tried.

    Raises:
        InputError: the output exists or has another suffix; no such model, one for another task, or
            an ONNX file already; the packages for ONNX are not installed.
        WeightsError: the model's file is damaged.
        MfrError: the file does not give what the model gives.
    """
    model, output = options.model, options.output or Path(f"{Path(options.model).stem}.onnx")
    if output.suffix != ".onnx":
        raise InputError(f"{output}: name it .onnx")
    if Path(model).suffix == ".onnx":
        raise InputError(f"{model}: is an ONNX file already")
    refuse_existing(output, force=options.force)

    from mfrkit.models.onnx import export_onnx  # torch loads here

    with replacing(output) as temporary:
        difference = export_onnx(load_recogniser(model), temporary)
    size = output.stat().st_size / 1e6
    console.info(
        f"{model} -> {output}, {size:.1f} MB; embeddings in ONNX Runtime differ by "
        f"{difference:.0e} at most"
    )
