"""The options of commands that make files of files: embeddings of embeddings, models of models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mfrkit.config import REGION, TEACHER
from mfrkit.errors import InputError
from mfrkit.models.cards import ASSUMED, Feeding
from mfrkit.options import Checked, Force, Like, Within

Embeddings = Annotated[Path, typer.Option("--output", "-o", help="HDF5 file to write.")]
ModelFile = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
]
_Model = typer.Argument(metavar="NAME|FILE", help="Model; both of one architecture.")


def parse_weights(text: str) -> tuple[float, ...]:
    """Read `2,1`; nothing is no weights, which weighs all alike.

    Raises:
        InputError: something that is not a positive number.

    Example:
        >>> parse_weights("2,0.5")
        (2.0, 0.5)
    """
    try:
        weights = tuple(float(word) for word in text.split(",") if text)
    except ValueError as error:
        raise InputError(f"--weights {text!r}: expected numbers, for example 2,1") from error
    if not all(0 < weight < float("inf") for weight in weights):
        raise InputError(f"--weights {text!r}: weights must be positive")
    return weights


@dataclass(frozen=True)
class MergeOptions:
    """What to join, and where to."""

    parts: Annotated[tuple[Path, ...], typer.Argument(help="Embedding files, one for each shard.")]
    output: Embeddings
    force: Force = False


@dataclass(frozen=True)
class FuseOptions:
    """Which models' embeddings of the same pictures to fuse, and how."""

    parts: Annotated[
        tuple[Path, ...],
        typer.Argument(help="Embedding files of the same pictures, by several models."),
    ]
    output: Embeddings
    weights: Annotated[
        tuple[float, ...],
        typer.Option(
            "--weights",
            help="Of each file's cosine: 2,1.",
            show_default="all alike",
            parser=parse_weights,
        ),
    ] = ()
    force: Force = False


@dataclass(frozen=True)
class UnmaskOptions:
    """What to unmask, and with which network."""

    source: Annotated[Path, typer.Argument(metavar="EMB", help="Embedding file.")]
    output: Embeddings
    model: Annotated[
        str, typer.Option("--model", "-m", help="Bundled name, or file of distill --method eum.")
    ] = "eum"
    only_masked: Annotated[
        bool, typer.Option("--only-masked", help="Change the rows marked as masked alone.")
    ] = False
    force: Force = False


@dataclass(frozen=True)
class ExportOptions(Checked):
    """What to write for other programs, and where to; the form is told by the suffix."""

    source: Annotated[Path, typer.Argument(metavar="EMB", help="HDF5 file of mfrkit embed.")]
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .parquet, .npz, .csv, .faiss or .sql."),
    ]
    table: Annotated[
        str,
        typer.Option("--table", metavar="NAME", help="Table of the .sql file."),
        Like(r"[^\W\d]\w*", "letters, digits and _"),
    ] = "embeddings"
    force: Force = False


@dataclass(frozen=True)
class AddOptions:
    """Whose recogniser becomes a model file, and what its card says.

    Attributes:
        output: None takes the file's name.
        source: empty takes the file's name.
        fed: how its network is fed; what is not said is assumed from the family.
    """

    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Recogniser of another program: .pt, .pth, .ckpt."),
    ]
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Model file.", show_default="NAME.safetensors"
        ),
    ] = None
    licence: Annotated[str, typer.Option(help="Of the weights.")] = ""
    source: Annotated[str, typer.Option(help="Where the weights come from.")] = ""
    paper: Annotated[str, typer.Option(help="The publication.")] = ""
    data: Annotated[str, typer.Option(help="What they were trained on.")] = ""
    force: Force = False
    fed: Feeding = ASSUMED


@dataclass(frozen=True)
class AverageOptions(Checked):
    """What to average.

    Attributes:
        second: fed in the same way as the first. Either may be GENERATOR+RECOGNISER, for a
            recogniser of completed faces.
    """

    first: Annotated[str, _Model]
    second: Annotated[str, _Model]
    output: ModelFile
    share: Annotated[
        float,
        typer.Option(help="Of the second model's weights, 0 to 1; the rest is the first's."),
        Within(0, 1, "a share from"),
    ] = 0.5
    force: Force = False


@dataclass(frozen=True)
class CombineOptions:
    """Which models make up another one: some of one space, or others side by side.

    Attributes:
        unmasked, masked, region: of mfrkit: bundled names or model files.
        beside: recognisers of mfrkit, of any spaces.

    Raises:
        InputError: options of the one way beside those of the other.
    """

    output: ModelFile
    unmasked: Annotated[
        str | None,
        typer.Option(metavar="MODEL", show_default=TEACHER, help="Recogniser of bare faces."),
    ] = None
    masked: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="MODEL",
            show_default="maskinv",
            help="Recogniser of masked faces; more than one are averaged.",
        ),
    ] = ()
    region: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", show_default=REGION, help="Region predictor that tells them apart."
        ),
    ] = None
    beside: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="MODEL",
            help="Instead: recogniser whose cosines are averaged with the others'; repeat it.",
        ),
    ] = ()
    weights: Annotated[
        tuple[float, ...],
        typer.Option(help="Of each --beside: 2,1.", show_default="all alike", parser=parse_weights),
    ] = ()
    force: Force = False

    def __post_init__(self) -> None:
        """Refuse options that do not go together."""
        if self.beside and (self.unmasked or self.masked or self.region):
            raise InputError("--beside: goes without --unmasked, --masked and --region")
        if self.weights and not self.beside:
            raise InputError("--weights: is for models named by --beside")


@dataclass(frozen=True)
class OnnxOptions:
    """Which recogniser to write as an ONNX file; None takes its name."""

    model: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="Recogniser: whatever embed --model takes.")
    ]
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="ONNX file.", show_default="NAME.onnx"),
    ] = None
    force: Force = False
