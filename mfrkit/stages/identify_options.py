"""The options of `mfrkit identify`."""

from dataclasses import dataclass
from pathlib import Path

from mfrkit.errors import InputError
from mfrkit.stages.eval_options import PLOT_SUFFIXES

POOLS = ("mean", "norm", "none")


@dataclass(frozen=True)
class IdentifyOptions:
    """Whom to search among whom.

    Attributes:
        gallery: embeddings of known people, or a model whose classifier knows them.
        probes: embeddings to be searched.
        pool: how a person's photos become one template: their mean, their mean weighted by the
            norms before normalisation, or not at all.
        classifier: the gallery is a model; its classifier compares.
        ranks: the k at which the table shows the share found.
        fpir: shares of strangers in (0, 1] that may be taken for somebody.
        thresholds: file of `eval --threshold-out`, whose thresholds are tried as they are.
        top: candidates listed for each probe; 0 lists none.
        output: file for the candidate lists; None prints them.
        plots: PNG, SVG or PDF files for the CMC.
        report: file for a self-contained HTML page.
        json: print one JSON object instead of the table.
        force: replace earlier results.
    """

    gallery: Path
    probes: Path
    pool: str = "mean"
    classifier: bool = False
    ranks: tuple[int, ...] = (1, 5, 10)
    fpir: tuple[float, ...] = (1e-1, 1e-2, 1e-3)
    thresholds: Path | None = None
    top: int = 0
    output: Path | None = None
    plots: tuple[Path, ...] = ()
    report: Path | None = None
    json: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        if self.classifier and self.thresholds is not None:
            raise InputError("--threshold holds similarities, a --classifier gives none")
        if self.pool not in POOLS:
            raise InputError(f"--pool {self.pool!r}: expected {', '.join(POOLS)}")
        if self.classifier and self.pool != "mean":
            raise InputError("--pool is about a gallery's photos, a --classifier has none")
        for rate in self.fpir:
            if not 0 < rate <= 1:
                raise InputError(f"--fpir {rate:g}: expected a share above 0 and at most 1")
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
