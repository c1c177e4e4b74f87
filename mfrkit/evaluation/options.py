"""The options of `mfrkit eval`, `identify` and `models calibrate`, checked before anything is read.

Help reads them too: what only a run needs is imported where it is used.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mfrkit.errors import InputError
from mfrkit.options import Checked, Force, Json, Like, OneOf, Seed, Usually, Within, declared

FAR = (1e-2, 1e-3, 1e-4)
ALL_PAIRS_FAR = (1e-3, 1e-4, 1e-5, 1e-6)
RATE = Within(0, 1, "a share", above=True)
EMBEDDINGS = Usually("embeddings.h5", "mfrkit embed")
_ALL_PAIRS = frozenset({"pairs", "embeddings", "probes", "missing", "far", "json", "all_pairs"})
_PICTURE = Like(r"(?i).*\.(png|svg|pdf)", "a name ending in .png, .svg or .pdf")
Given = TypeVar("Given")


def rates_of(option: str) -> Callable[[str], tuple[float, ...]]:
    """Return what reads a comma-separated list of error rates.

    Args:
        option: where it is given, for the message.

    Example:
        >>> rates_of("--far")("1e-2, 0.001")
        (0.01, 0.001)
    """

    def parse(text: str) -> tuple[float, ...]:
        try:
            return tuple(float(rate) for rate in text.split(",") if rate.strip())
        except ValueError as error:
            raise InputError(f"{option} {text!r}: expected numbers such as 1e-2,1e-3") from error

    return parse


def _ranks(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(rank) for rank in text.split(",") if rank.strip())
    except ValueError as error:
        raise InputError(f"--ranks {text!r}: expected whole numbers such as 1,5,10") from error


def _names(text: str) -> tuple[str, ...]:
    """Read names; an empty one is kept, to be refused."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _traits(text: str) -> tuple[str, ...]:
    return tuple(filter(None, _names(text)))


def one_of(given: Sequence[Given], place: int) -> Given | None:
    """Return what a system was given: its own, the one there is for all, or none."""
    return given[place] if place < len(given) else next(iter(given), None)


def _keep_apart(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    read = {path.absolute() for path in inputs if path is not None}
    written = [path.absolute() for path in outputs]
    for path in written:
        if path in read or written.count(path) > 1:
            raise InputError(f"{path}: would be written over; give each output its own name")


Missing = Annotated[
    str,
    typer.Option(metavar="POLICY", help="Images without embedding: error, reject or drop."),
    OneOf("error", "reject", "drop"),
]
Ci = Annotated[
    float | None,
    typer.Option(metavar="PERCENT", help="Intervals by resampling people; tests between systems."),
]


def check_ci(ci: float | None) -> None:
    """Refuse a confidence of intervals that is none."""
    if ci is not None and not 0 < ci < 100:
        raise InputError(f"--ci {ci:g}: expected per cent between 0 and 100, such as 95")


@dataclass(frozen=True)
class EvalOptions(Checked):
    """What to evaluate and what to write.

    Attributes:
        pairs: the pair list, see `mfrkit.io.pairs`; None takes the pairs of the first score file.
        embeddings: one HDF5 file a system; none takes embeddings.h5 where no scores are given.
        probes: none, one file for all systems, or one for each.
        missing: what an image without embedding means: an error, a failed comparison that is
            never accepted, or a pair left out.
        far: None is what is usual for a pair list, or for all pairs.
        names: a label for each system; made up from the files when empty.
        ci: None for no intervals and no paired tests.
        fix_threshold: None sets thresholds on the pairs that are evaluated.
        templates, scores_in, covariates: see `mfrkit.io.tables`.
        crops: where the page finds the first pictures of the worst pairs, and the second ones
            of systems without probes; none takes crops/ if it is there.
        probe_crops: where it finds the second pictures of systems with probes.
    """

    pairs: Annotated[
        Path | None,
        typer.Argument(metavar="PAIRS", help="Pair list: LFW, MFR2, `a b 0|1`, CALFW or CSV."),
    ] = None
    embeddings: Annotated[
        tuple[Path, ...],
        typer.Argument(
            metavar="EMB", help="One HDF5 file per system.", show_default=EMBEDDINGS.path
        ),
    ] = ()
    probes: Annotated[
        tuple[Path, ...],
        typer.Option(
            metavar="FILE", help="Look up second images in this file; one for all EMB, or one each."
        ),
    ] = ()
    missing: Missing = "error"
    far: Annotated[
        tuple[float, ...] | None,
        typer.Option(
            metavar="FAR,...",
            help="Report the TAR at these FARs.",
            show_default="1e-2,1e-3,1e-4; of all pairs 1e-3 to 1e-6",
            parser=rates_of("--far"),
        ),
        RATE,
    ] = None
    names: Annotated[
        tuple[str, ...],
        typer.Option(metavar="NAME,...", help="What to call each system.", parser=_names),
    ] = ()
    ci: Ci = None
    seed: Seed = 0
    fix_threshold: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE", help="unmasked: set thresholds on EMB alone, before --probes."
        ),
        OneOf("unmasked"),
    ] = None
    fmr: Annotated[
        tuple[float, ...],
        typer.Option(
            metavar="FMR,...",
            help="Set thresholds at these FMRs.",
            show_default="1e-3 if needed",
            parser=rates_of("--fmr"),
        ),
        RATE,
    ] = ()
    threshold_out: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Write the thresholds, for use elsewhere.")
    ] = None
    threshold: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Use thresholds set earlier.")
    ] = None
    by: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="TRAIT,...",
            help="Error rates by masked, mask, or column of a table.",
            parser=_traits,
        ),
    ] = ()
    covariates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with a `key` column, or a manifest, for --by."),
    ] = None
    all_pairs: Annotated[
        bool,
        typer.Option(
            "--all-pairs",
            help="No pair list: compare all faces of PAIRS, an HDF5 file, or those of two files.",
        ),
    ] = False
    json: Json = False
    force: Force = False
    templates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Pool: `image template media`, or CSV.")
    ] = None
    scores_in: Annotated[
        tuple[Path, ...],
        typer.Option(metavar="FILE", help="Evaluate scores; without PAIRS, theirs."),
    ] = ()
    scores: Annotated[
        Path | None, typer.Option(metavar="TSV", help="Write every pair's score.")
    ] = None
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the tables: .md or .tex."),
        Like(r"(?i).*\.(md|tex)", "a name ending in .md or .tex"),
    ] = None
    plots: Annotated[
        tuple[Path, ...],
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw DET, ROC and histograms: a .png, .svg or .pdf file.",
        ),
        _PICTURE,
    ] = ()
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page.")] = None
    crops: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="SRC",
            help="Crops of the page's worst pairs; one for all EMB, or one each.",
            show_default="crops",
        ),
    ] = ()
    probe_crops: Annotated[
        tuple[str, ...],
        typer.Option(metavar="SRC", help="Crops of second images where --probes are given."),
    ] = ()
    thumbnails: Annotated[
        bool,
        typer.Option("--thumbnails/--no-thumbnails", help="Show the worst pairs as pictures."),
    ] = True
    pictures: Annotated[
        tuple[Path, ...],
        typer.Option("--picture", metavar="PNG", help="Show this on the page too."),
    ] = ()

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        super().__post_init__()
        check_ci(self.ci)
        if self.all_pairs:
            self._check_all_pairs()
        else:
            self._check_thresholds()
            self._check_inputs()
            self._check_outputs()

    def _check_all_pairs(self) -> None:
        for each in declared(EvalOptions):
            given = getattr(self, each.field.name) != each.field.default
            if given and each.field.name not in _ALL_PAIRS:
                raise InputError(f"{each.flag} cannot be used with --all-pairs")
        count = len(self.compared)
        if count > 2:
            raise InputError(
                f"--all-pairs takes one embedding file, or two to compare; got {count}"
            )
        if len({path.absolute() for path in self.compared}) < count:
            raise InputError(f"{self.compared[0]}: named twice; once compares it with itself")

    def _check_thresholds(self) -> None:
        if self.fix_threshold and not self.probes:
            raise InputError("--fix-threshold unmasked needs the masked images: --probes FILE")
        if self.threshold and (self.fix_threshold or self.fmr or self.threshold_out):
            raise InputError(
                "--threshold brings thresholds along; it excludes --fix-threshold, --fmr and "
                "--threshold-out, which set new ones"
            )
        if self.covariates and not self.by:
            raise InputError("--covariates needs --by COLUMN")
        if self.scores_in and (self.by or self.fix_threshold):
            raise InputError(
                "--by and --fix-threshold need embeddings; a score file tells neither which "
                "images are masked nor how unmasked ones score"
            )

    def _check_inputs(self) -> None:
        if self.pairs is None and not self.scores_in:
            raise InputError("no pair list given; name one, or score files with --scores-in")
        count = len(self.embeddings) or int(not self.scores_in)
        if self.templates is not None and not count:
            raise InputError("--templates pools embeddings, but no embedding file is given")
        for name in ("probes", "crops", "probe_crops"):
            given = len(getattr(self, name))
            if given > 1 and given != count:
                raise InputError(
                    f"--{name.replace('_', '-')} given {given} times for {count} embedding files: "
                    "give one for all, or one for each"
                )
        if self.report is None and (self.crops or self.probe_crops or self.pictures):
            raise InputError(
                "--crops, --probe-crops and --picture are for the page of --report FILE"
            )

    def _check_outputs(self) -> None:
        inputs = (*self.embeddings, *self.probes, *self.scores_in)
        further = (self.pairs, self.templates, self.threshold, self.covariates)
        _keep_apart(self.outputs, (*inputs, *further))

    @property
    def systems(self) -> tuple[Path, ...]:
        """The embedding files.

        Raises:
            InputError: none is named, and there is no embeddings.h5.
        """
        if self.embeddings or self.scores_in:
            return self.embeddings
        return (Path(EMBEDDINGS.find()),)

    @property
    def compared(self) -> tuple[Path, ...]:
        """The embedding files, one or two, of which all pairs are compared.

        Raises:
            InputError: none is named, and there is no embeddings.h5.
        """
        first = self.pairs or Path(EMBEDDINGS.find())
        return (first, *self.embeddings, *self.probes)

    @property
    def fars(self) -> tuple[float, ...]:
        """FARs in (0, 1] at which the TAR is reported."""
        usual = ALL_PAIRS_FAR if self.all_pairs else FAR
        return usual if self.far is None else self.far

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files the run writes."""
        files = (self.scores, self.table, *self.plots, self.report, self.threshold_out)
        return tuple(path for path in files if path is not None)

    @property
    def wants_thresholds(self) -> bool:
        """Whether error rates at fixed thresholds are asked for."""
        files = self.threshold or self.threshold_out
        return bool(self.fix_threshold or self.fmr or files or self.by)


@dataclass(frozen=True)
class CalibrateOptions:
    """Whose thresholds to set, and on what.

    Attributes:
        unmasked: with identities; None for none.
        masked: likewise; a masked version of a photo has the photo's key.
    """

    model: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="Recogniser: bundled name or model file.")
    ]
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
    ]
    unmasked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its embeddings of bare faces.")
    ] = None
    masked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its embeddings of masked faces.")
    ] = None
    fmr: Annotated[
        tuple[float, ...],
        typer.Option(
            help="False match rates, as far as the counts allow.",
            show_default="1e-2,1e-3,1e-4",
            parser=rates_of("--fmr"),
        ),
    ] = (1e-2, 1e-3, 1e-4)
    force: Force = False


@dataclass(frozen=True)
class IdentifyOptions(Checked):
    """Whom to search among whom.

    Attributes:
        pool: how a person's photos become one template: their mean, their mean weighted by the
            norms before normalisation, or not at all.
        thresholds: those of the file are tried as they are.
        top: 0 lists none.
        output: None prints the lists.
        json: instead of the table.
    """

    gallery: Annotated[
        Path,
        typer.Argument(
            metavar="GALLERY", help="HDF5 file with photos of known people, or a model."
        ),
    ]
    probes: Annotated[
        Path, typer.Argument(metavar="PROBES", help="HDF5 file with the photos to search.")
    ]
    pool: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="A person's template: mean, norm (mean weighted by quality) or none.",
        ),
        OneOf("mean", "norm", "none"),
    ] = "mean"
    classifier: Annotated[
        bool,
        typer.Option("--classifier", help="GALLERY is a model; its classifier names the probes."),
    ] = False
    ranks: Annotated[
        tuple[int, ...],
        typer.Option(
            metavar="K,...", help="Report the share found among the first K.", parser=_ranks
        ),
    ] = (1, 5, 10)
    fpir: Annotated[
        tuple[float, ...],
        typer.Option(
            metavar="RATE,...",
            help="Report FNIR and DIR at these FPIRs.",
            parser=rates_of("--fpir"),
        ),
        RATE,
    ] = (1e-1, 1e-2, 1e-3)
    thresholds: Annotated[
        Path | None,
        typer.Option("--threshold", metavar="JSON", help="Thresholds of eval --threshold-out."),
    ] = None
    top: Annotated[
        int, typer.Option(metavar="N", help="List the N best candidates of each probe as NDJSON.")
    ] = 0
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File for the lists, not stdout."),
    ] = None
    plots: Annotated[
        tuple[Path, ...],
        typer.Option("--plot", metavar="FILE", help="Draw the CMC: a .png, .svg or .pdf file."),
        _PICTURE,
    ] = ()
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page.")] = None
    json: Json = False
    force: Force = False

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        super().__post_init__()
        if self.classifier and self.thresholds is not None:
            raise InputError("--threshold holds similarities, a --classifier gives none")
        if self.classifier and self.pool != "mean":
            raise InputError("--pool is about a gallery's photos, a --classifier has none")
        if self.top < 0 or any(rank < 1 for rank in self.ranks):
            raise InputError("ranks and --top count from 1")
        if self.output is not None and not self.top:
            raise InputError(f"--output {self.output}: say how many candidates with --top")
        if self.json and self.lists_to_stdout:
            raise InputError("--json and --top both print; name a file with --output")
        for path in (self.gallery, self.probes):
            if path.is_dir():
                raise InputError(
                    f"{path}: is a folder; mfrkit search says who is on photos, identify measures "
                    f"how well that works: mfrkit embed {path} -o {path.name}.h5 makes its input"
                )
        _keep_apart(self.outputs, (self.gallery, self.probes))

    @property
    def compares(self) -> str:
        """What makes the scores, in words."""
        return "classifier" if self.classifier else f"pool {self.pool}"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files the run writes."""
        files = (self.output, *self.plots, self.report)
        return tuple(path for path in files if path is not None)

    @property
    def lists_to_stdout(self) -> bool:
        """Whether standard output carries the candidate lists, and so no figures."""
        return self.top > 0 and self.output is None
