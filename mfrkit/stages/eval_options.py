"""The options of `mfrkit eval`."""

from dataclasses import dataclass
from pathlib import Path

from mfrkit.errors import InputError
from mfrkit.stages.table_formats import TABLE_SUFFIXES

PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class EvalOptions:
    """What to evaluate and what to write.

    Attributes:
        pairs: the pair list, see `mfrkit.io.pairs`; None takes the pairs of the first score file.
        embeddings: one HDF5 file per system.
        scores_in: score files of other systems, see `mfrkit.io.score_files`.
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

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        if self.missing not in ("error", "reject", "drop"):
            raise InputError(f"--missing {self.missing!r}: expected error, reject or drop")
        for far in self.far:
            if not 0 < far <= 1:
                raise InputError(f"--far {far:g}: expected a share above 0 and at most 1")
        self._check_inputs()
        self._check_outputs()

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
        given = (self.pairs, *self.embeddings, *self.probes, *self.scores_in, self.templates)
        inputs = {path.absolute() for path in given if path is not None}
        for path in outputs:
            if path in inputs or outputs.count(path) > 1:
                raise InputError(f"{path}: would be written over; give each output its own name")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files the run writes."""
        files = (self.scores, self.table, *self.plots, self.report)
        return tuple(path for path in files if path is not None)


def parse_rates(text: str) -> tuple[float, ...]:
    """Read a comma-separated list of error rates.

    Raises:
        InputError: not numbers.

    Example:
        >>> parse_rates("1e-2, 0.001")
        (0.01, 0.001)
    """
    try:
        return tuple(float(rate) for rate in text.split(",") if rate.strip())
    except ValueError as error:
        raise InputError(f"--far {text!r}: expected numbers such as 1e-2,1e-3") from error
