"""Run a per-image stage where its options say: here, or as shards on a cluster."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from mfrkit.cluster.parts import Parts, parts_of
from mfrkit.cluster.tasks import (
    ShardJob,
    ShardReport,
    Share,
    Totals,
    cluster_share,
    joined,
    run_all,
    when_free,
)
from mfrkit.config import RunOptions, Shard
from mfrkit.console import Console, Progress, to_line
from mfrkit.errors import InputError
from mfrkit.io.files import held, hidden_name
from mfrkit.stages.run import check_skipped, expected_total, first_or_fail, inputs_of
from mfrkit.stages.sink import Tally

Stage = Callable[[Any, Console], Tally]
PER_SLOT = 4  # shards for each that run at a time: a slow node delays the end by less than one
_LINGER = 15.0  # seconds; workers outlive a command that was killed by a few


def spread(stage: Stage, options: Any, console: Console) -> Tally:
    """Run a stage; with `options.run.cluster`, as shards on that cluster.

    Results have the same bytes as on one machine. A shard whose worker dies goes on elsewhere,
    from where its files say it was; a command that was killed goes on with `--resume`. Records are
    not passed on from a cluster.

    Raises:
        InputError: as the stage itself, options that cannot be spread, or no cluster.
        MfrError: a node failed, in a line that names it.
        PartialError: too many inputs were skipped.
    """
    run: RunOptions = options.run
    if run.cluster is None:
        return stage(options, console)
    _check(options)
    here = replace(options, run=replace(run, cluster=None, json=False))
    if run.dry_run:
        return stage(here, console)
    command = stage.__name__.replace("_", "-")
    parts, output = parts_of(command, here), options.output
    with held(output, output.with_name(hidden_name(output.name, ".cluster.lock"))):
        if run.resume and parts.is_finished():
            return stage(here, console)
        inputs = inputs_of(here)
        first_or_fail(inputs, options.source)
        begun = when_free(parts.begin, _LINGER if run.resume else 0)
        started = perf_counter()
        with joined(run.cluster):
            share = cluster_share(run.workers, run.device)
            jobs = _jobs(stage, parts, run, begun or PER_SLOT * share.slots, share)
            with console.progress(command, expected_total(inputs, run, console)) as bar:
                reports, totals = run_all(jobs, share, _watch(bar, len(jobs)))
        tally = parts.join(len(jobs))
        seconds = perf_counter() - started
    summary = Summary(command, str(output), tally, reports, totals.again, seconds)
    summary.narrate(console)
    if run.json:
        console.data(summary.to_line())
    check_skipped(tally, run)
    return tally


def _check(options: Any) -> None:
    """Refuse what cannot be spread."""
    run: RunOptions = options.run
    if options.source == "-":
        raise InputError("-: a cluster cannot read this command's standard input; name a manifest")
    if not run.shard.is_whole:
        raise InputError("--shard and --cluster exclude each other: a cluster runs all shards")
    if getattr(options, "preview", None) is not None:
        raise InputError("--preview: not from a cluster; run a few pictures here for it")
    if run.device.startswith("cuda:"):
        raise InputError(f"--device {run.device}: a cluster chooses the card; use cuda or auto")


def _jobs(stage: Stage, parts: Parts, run: RunOptions, count: int, share: Share) -> list[ShardJob]:
    """Return the shards' work: each continues what is there, and judges no share of skips."""
    own = replace(
        run, workers=share.processors, resume=True, force=False, max_skipped=1.0, cluster=None,
        json=False,
    )  # fmt: skip
    folder, words, jobs = str(Path.cwd()), tuple(sys.argv), []
    for index in range(1, count + 1):
        options = parts.options_of(Shard(index, count))
        options = replace(options, run=replace(own, shard=options.run.shard))
        jobs.append(ShardJob(stage, options, folder, words))
    return jobs


def _watch(bar: Progress, count: int) -> Callable[[Totals, int], None]:
    """Return what shows on one bar how far all shards are."""
    shown = 0

    def watch(totals: Totals, finished: int) -> None:
        nonlocal shown
        bar.update(totals.done - shown)
        shown = totals.done
        bar.set_postfix_str(f"{totals.skipped} skipped, {finished}/{count} shards")

    return watch


@dataclass(frozen=True)
class Summary:
    """What a finished run says: of the whole, and of each node.

    Attributes:
        tally: of all inputs, those of an earlier run too.
        again: how many shards were begun again because their worker died.
        seconds: from the start of the command to its result.
    """

    command: str
    output: str
    tally: Tally
    reports: Sequence[ShardReport]
    again: int
    seconds: float

    def narrate(self, console: Console) -> None:
        """Say it in one line, and with `--verbose` in one for each node."""
        nodes = self.nodes()
        rate = sum(node["inputs"] for node in nodes) / self.seconds
        again = f", {self.again} begun again" if self.again else ""
        console.info(
            f"{self.command}: {self.tally} in {self.seconds:.1f} s ({rate:.0f}/s), "
            f"{len(self.reports)} shards{again}, nodes: {len(nodes)} -> {self.output}"
        )
        for node in nodes:
            console.detail(
                f"{node['node']}: {node['inputs']} inputs in {node['shards']} shards, "
                f"{node['processes']} processes, {node['rate']:.0f}/s"
            )

    def to_line(self) -> str:
        """Return it as one JSON object."""
        return to_line(
            {
                "command": self.command,
                "output": self.output,
                "written": self.tally.written,
                "skipped": self.tally.skipped,
                "reasons": dict(self.tally.reasons),
                "seconds": round(self.seconds, 3),
                "shards": len(self.reports),
                "begun_again": self.again,
                "nodes": self.nodes(),
            }
        )

    def nodes(self) -> list[dict[str, Any]]:
        """Return what each node did; `rate` is inputs a second of all its processes together."""
        found = []
        for name in sorted({report.node for report in self.reports}):
            mine = [report for report in self.reports if report.node == name]
            inputs, seconds = sum(r.inputs for r in mine), sum(r.seconds for r in mine)
            processes = len({report.process for report in mine})
            found.append(
                {
                    "node": name,
                    "shards": len(mine),
                    "processes": processes,
                    "inputs": inputs,
                    "skipped": sum(report.skipped for report in mine),
                    "seconds": round(seconds, 3),
                    "rate": round(inputs * processes / max(seconds, 1e-9), 1),
                }
            )
        return found
