"""Complete what covers faces: masked crops in, completed ones and a manifest out.

Checks and drives; `mfrkit.stages.inpaint_worker` does the work, see `mfrkit.stages.run`.
"""

from collections import Counter

from mfrkit.console import Console
from mfrkit.io.manifest import Record
from mfrkit.stages.options import InpaintOptions
from mfrkit.stages.run import Process, inside, run_stage
from mfrkit.stages.sink import Tally


def inpaint(options: InpaintOptions, console: Console) -> Tally:
    """Complete every masked face of a source; faces found unmasked pass through as they are.

    Raises:
        InputError: an unusable model, or an output that exists.
        WeightsError: a model file that is damaged.
        PartialError: too many inputs were skipped.
    """
    passed: Counter[bool] = Counter()

    def prepare() -> Process:
        from mfrkit.stages.inpaint_worker import CompletionWorker  # torch loads here

        return CompletionWorker(options, passed)

    owner = inside("_regions") if options.save_region else None
    tally = run_stage("inpaint", options, console, prepare, owner, _caption)
    if passed[False]:
        console.info(f"{passed[False]} faces are unmasked and passed through unchanged")
    return tally


def _caption(record: Record) -> str:
    block = record.blocks.get("inpaint", {})
    covered = f"{block.get('coverage', 0):.0%} covered"
    return covered if block.get("masked") else "unmasked, unchanged"
