"""What `mfrkit eval` tabulates in files: the figures of each system, and what they rest on."""

from collections.abc import Sequence

from mfrkit.stages.results import SystemResult, columns, row
from mfrkit.stages.table import Table


def results_table(results: Sequence[SystemResult], far: Sequence[float]) -> Table:
    """Return the figures of all systems, one a row.

    Args:
        results: the systems.
        far: the FARs at which the TAR is reported.
    """
    rows = [row(result, flag="*") for result in results]
    flagged = any(cell.endswith("*") for cells in rows for cell in cells[1:])
    notes = ["* rests on fewer impostor pairs than 1/FAR"] if flagged else []
    return Table("Results", columns(far), rows, notes)


def counts_table(results: Sequence[SystemResult]) -> Table:
    """Return what became of every pair, one system a row."""
    names = ["system", "pairs listed", "compared", "failed, one person", "failed, two people",
             "left out", "images without embedding"]  # fmt: skip
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
        rows.append([result.label, *map(str, counts)])
    note = "Listed = compared + failed + left out. A failed comparison is never accepted."
    return Table("Counts", names, rows, [note])
