"""Make model files of networks that other programs have trained."""

from dataclasses import dataclass, replace
from pathlib import Path

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.files import refuse_existing
from mfrkit.models.architectures import FOREIGN
from mfrkit.models.feeding import Feeding, Words

_GRAPH_ONLY = ".onnx"


@dataclass(frozen=True)
class Origin:
    """What a card says of where weights come from: see `ModelCard`."""

    licence: str = ""
    source: str = ""
    paper: str = ""
    data: str = ""


def add_model(
    file: Path,
    output: Path,
    origin: Origin,
    console: Console,
    *,
    fed: Words = (None, None, None),
    force: bool = False,
) -> None:
    """Write somebody else's recogniser as a model file.

    Args:
        file: the other program's file.
        output: model file to write, its suffix `.safetensors`.
        origin: what its card shall say; the file's name is its source unless told.
        console: where to say what was written, and how the network is fed.
        fed: how, in the words of `--colour`, `--mean`, `--std`; None is assumed from the family.
        force: replace a file there is.

    Raises:
        InputError: the output exists or has another suffix; no such file, or of a form that holds
            no network that can be built here.
        WeightsError: the file is damaged, or no recogniser.
    """
    known = sorted(set(FOREIGN) - {_GRAPH_ONLY})
    if file.suffix == _GRAPH_ONLY:
        raise InputError(
            f"{file}: an ONNX file is a graph, not weights by name; name it itself as --model"
        )
    if file.suffix not in known:
        raise InputError(f"{file}: expected {', '.join(known)}")
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: name it .safetensors")
    refuse_existing(output, force=force)

    from mfrkit.models.recognisers import load_recogniser  # torch loads here
    from mfrkit.models.registry import save_network
    from mfrkit.stages.self_test import try_out

    recogniser = load_recogniser(str(file), feeding=Feeding.parse(*fed))
    try_out(recogniser, file.name, console)
    card = replace(
        recogniser.card,
        name=output.stem,
        licence=origin.licence,
        source=origin.source or recogniser.card.source,
        paper=origin.paper,
        data=origin.data,
    )
    save_network(output, recogniser.network, card)
    console.info(f"{file} -> {output}: {card.architecture}, {card.embedding_dim} values")
