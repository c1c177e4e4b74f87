"""The options of `mfrkit eval` and `mfrkit identify`, checked before anything is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mfrkit.errors import InputError
from mfrkit.options import Checked, Force, Json, OneOf, Within
from mfrkit.pages.table import TABLE_SUFFIXES

PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class EvalOptions:
    """What to evaluate and what to write.

    Attributes:
        pairs: the pair list, see `mfrkit.io.pairs`; None takes the pairs of the first score file.
        embeddings: one HDF5 file per system.
        scores_in: score files of other systems, see `mfrkit.io.tables`.
        templates: list of the pictures that make up each template the pairs name.
        probes: where each pair's second image is looked up instead: none, one file for all
            systems, or one for each.
        missing: what an image without embedding means: an error, a failed comparison that is
            never accepted, or a pair left out.
        far: FARs in (0, 1] at which the TAR is reported.
        names: a label for each system; made up from the files when empty.
        json: print one JSON object instead of the table.
        scores: file for the score of every pair.
        plots: PNG, SVG or PDF files for the DET curve and the score histogram.
        report: file for a self-contained HTML page.
        table: file for the table, Markdown or LaTeX.
        crops: where the page finds the first pictures of the worst pairs, and the second ones
            of systems without probes: none, one folder for all, or one for each embedding file.
        probe_crops: where it finds the second pictures of systems with probes; likewise.
        pictures: PNG files that the HTML page shows as well.
        force: replace earlier results.
        ci: confidence of intervals in per cent; None for no intervals and no paired tests.
        seed: of the resampling behind them.
        fix_threshold: `unmasked` to set thresholds on `embeddings` alone before `probes` are
            looked at; empty to set them on the pairs that are evaluated.
        fmr: FMRs in (0, 1] at which thresholds are set.
        threshold_out: file for the thresholds.
        threshold: file of thresholds set earlier, used instead of setting any.
        by: traits of images by which error rates are broken down.
        covariates: table or manifest with further traits.
    """

    pairs: Path | None
    embeddings: tuple[Path, ...] = (Path("embeddings.h5"),)
    scores_in: tuple[Path, ...] = ()
    templates: Path | None = None
    probes: tuple[Path, ...] = ()
    missing: str = "error"
    far: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    names: tuple[str, ...] = ()
    json: bool = False
    scores: Path | None = None
    plots: tuple[Path, ...] = ()
    report: Path | None = None
    table: Path | None = None
    crops: tuple[str, ...] = ()
    probe_crops: tuple[str, ...] = ()
    pictures: tuple[Path, ...] = ()
    force: bool = False
    ci: float | None = None
    seed: int = 0
    fix_threshold: str = ""
    fmr: tuple[float, ...] = ()
    threshold_out: Path | None = None
    threshold: Path | None = None
    by: tuple[str, ...] = ()
    covariates: Path | None = None

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        if self.missing not in ("error", "reject", "drop"):
            raise InputError(f"--missing {self.missing!r}: expected error, reject or drop")
        for option, rates in (("--far", self.far), ("--fmr", self.fmr)):
            for rate in rates:
                if not 0 < rate <= 1:
                    raise InputError(f"{option} {rate:g}: expected a share above 0 and at most 1")
        if self.ci is not None and not 0 < self.ci < 100:
            raise InputError(f"--ci {self.ci:g}: expected per cent between 0 and 100, such as 95")
        self._check_thresholds()
        self._check_inputs()
        self._check_outputs()

    def _check_thresholds(self) -> None:
        if self.fix_threshold not in ("", "unmasked"):
            raise InputError(f"--fix-threshold {self.fix_threshold!r}: expected unmasked")
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
        if not self.embeddings and not self.scores_in:
            raise InputError("no embedding file given; mfrkit embed writes one")
        if self.templates is not None and not self.embeddings:
            raise InputError("--templates pools embeddings, but no embedding file is given")
        for option, folders in (("--crops", self.crops), ("--probe-crops", self.probe_crops)):
            if len(folders) > 1 and len(folders) != len(self.embeddings):
                raise InputError(
                    f"{option} given {len(folders)} times for {len(self.embeddings)} embedding "
                    "files: give one for all, or one for each"
                )

    def _check_outputs(self) -> None:
        for known, files in ((PLOT_SUFFIXES, self.plots), (TABLE_SUFFIXES, (self.table,))):
            for path in files:
                if path is not None and path.suffix.lower() not in known:
                    raise InputError(f"{path}: expected a name ending in {', '.join(known)}")
        outputs = [path.absolute() for path in self.outputs]
        given = (
            self.pairs,
            *self.embeddings,
            *self.probes,
            *self.scores_in,
            self.templates,
            self.threshold,
            self.covariates,
        )
        inputs = {path.absolute() for path in given if path is not None}
        for path in outputs:
            if path in inputs or outputs.count(path) > 1:
                raise InputError(f"{path}: would be written over; give each output its own name")

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


def parse_rates(text: str, option: str = "--far") -> tuple[float, ...]:
    """Read a comma-separated list of error rates.

    Args:
        text: the list, may be empty.
        option: where it was given, for the message.

    Raises:
        InputError: not numbers.

    Example:
        >>> parse_rates("1e-2, 0.001")
        (0.01, 0.001)
    """
    try:
        return tuple(float(rate) for rate in text.split(",") if rate.strip())
    except ValueError as error:
        raise InputError(f"{option} {text!r}: expected numbers such as 1e-2,1e-3") from error


def parse_ranks(text: str) -> tuple[int, ...]:
    """Read a comma-separated list of ranks.

    Raises:
        InputError: not whole numbers.

    Example:
        >>> parse_ranks("1, 20")
        (1, 20)
    """
    try:
        return tuple(int(rank) for rank in text.split(",") if rank.strip())
    except ValueError as error:
        raise InputError(f"--ranks {text!r}: expected whole numbers such as 1,5,10") from error


def _parse_fpir(text: str) -> tuple[float, ...]:
    return parse_rates(text, "--fpir")


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
            metavar="K,...", help="Report the share found among the first K.", parser=parse_ranks
        ),
    ] = (1, 5, 10)
    fpir: Annotated[
        tuple[float, ...],
        typer.Option(
            metavar="RATE,...", help="Report FNIR and DIR at these FPIRs.", parser=_parse_fpir
        ),
        Within(0, 1, "a share", above=True),
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
        self._check_files()

    def _check_files(self) -> None:
        for path in (self.gallery, self.probes):
            if path.is_dir():
                raise InputError(
                    f"{path}: is a folder; mfrkit search says who is on photos, identify measures "
                    f"how well that works: mfrkit embed {path} -o {path.name}.h5 makes its input"
                )
        for plot in self.plots:
            if plot.suffix.lower() not in PLOT_SUFFIXES:
                raise InputError(f"{plot}: expected a name ending in {', '.join(PLOT_SUFFIXES)}")
        outputs = [path.absolute() for path in self.outputs]
        for path in outputs:
            if path in (self.gallery.absolute(), self.probes.absolute()) or outputs.count(path) > 1:
                raise InputError(f"{path}: would be written over; give each output its own name")

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
