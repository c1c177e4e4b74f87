"""What `mfrkit eval` tabulates in files: the figures of each system, and what they rest on."""

from collections.abc import Sequence

from mfrkit.stages.results import SystemResult, columns, named_cells
from mfrkit.stages.table import Table

_ENROLMENT = ("FTE %", "FTA %")
_COUNTED = ("pairs", "missing", *_ENROLMENT)  # by `counts_table`


def results_table(results: Sequence[SystemResult], far: Sequence[float]) -> Table:
    """Return the figures of all systems, one a row; the counts have a table of their own.

    Args:
        results: the systems.
        far: the FARs at which the TAR is reported.
    """
    names = [name for name in columns(far) if name not in _COUNTED]
    rows = [
        [result.label, *(named_cells(result, flag="*")[name] for name in names[1:])]
        for result in results
    ]
    flagged = any(cell.endswith("*") for cells in rows for cell in cells[1:])
    notes = ["* rests on fewer impostor pairs than 1/FAR"] if flagged else []
    return Table("Results", names, rows, notes)


def counts_table(results: Sequence[SystemResult]) -> Table:
    """Return what became of every pair, one system a row."""
    names = ["system", "pairs listed", "compared", "failed, one person", "failed, two people",
             "left out", "images without embedding", *_ENROLMENT]  # fmt: skip
    rows = []
    for result in results:
        genuine, impostor = result.figures.genuine, result.figures.impostor
        counts = (
            result.scores.size,
            genuine.count + impostor.count - genuine.failed - impostor.failed,
            genuine.failed,
            impostor.failed,
            result.scores.size - genuine.count - impostor.count,
            result.missing_images,
        )
        shares = named_cells(result, flag="*")
        rows.append([result.label, *map(str, counts), *(shares[name] for name in _ENROLMENT)])
    note = "Listed = compared + failed + left out. A failed comparison is never accepted."
    return Table("Counts", names, rows, [note])
