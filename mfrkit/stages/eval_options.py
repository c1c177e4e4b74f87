"""The options of `mfrkit eval`."""

from dataclasses import dataclass
from pathlib import Path

from mfrkit.errors import InputError

PLOT_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class EvalOptions:
    """What to evaluate and what to write.

    Attributes:
        pairs: the pair list, see `mfrkit.io.pairs`.
        embeddings: one HDF5 file per system.
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
        pictures: PNG files that the HTML page shows as well.
        force: replace earlier results.
    """

    pairs: Path
    embeddings: tuple[Path, ...] = (Path("embeddings.h5"),)
    probes: tuple[Path, ...] = ()
    missing: str = "error"
    far: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    names: tuple[str, ...] = ()
    json: bool = False
    scores: Path | None = None
    plots: tuple[Path, ...] = ()
    report: Path | None = None
    pictures: tuple[Path, ...] = ()
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        if self.missing not in ("error", "reject", "drop"):
            raise InputError(f"--missing {self.missing!r}: expected error, reject or drop")
        for far in self.far:
            if not 0 < far <= 1:
                raise InputError(f"--far {far:g}: expected a share above 0 and at most 1")
        if not self.embeddings:
            raise InputError("no embedding file given; mfrkit embed writes one")
        for plot in self.plots:
            if plot.suffix.lower() not in PLOT_SUFFIXES:
                raise InputError(f"{plot}: expected a name ending in {', '.join(PLOT_SUFFIXES)}")
        outputs = [path.absolute() for path in self.outputs]
        inputs = {path.absolute() for path in (self.pairs, *self.embeddings, *self.probes)}
        for path in outputs:
            if path in inputs or outputs.count(path) > 1:
                raise InputError(f"{path}: would be written over; give each output its own name")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files the run writes."""
        return tuple(path for path in (self.scores, *self.plots, self.report) if path is not None)


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
