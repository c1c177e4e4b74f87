"""Run a per-image stage where its options say: here, or as shards on a cluster."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
from mfrkit.console import Console, to_line
from mfrkit.errors import InputError
from mfrkit.io.files import held, hidden_name
from mfrkit.io.pairs import read_pairs
from mfrkit.io.source import NamedSource, Source, open_source
from mfrkit.stages.run import check_skipped, expected_total, first_or_fail
from mfrkit.stages.sink import Tally

Stage = Callable[[Any, Console], Tally]
PER_SLOT = 4  # shards for each that run at a time: a slow node delays the end by less than one
_LINGER = 15.0  # seconds; workers outlive a command that was killed by a few


def spread(stage: Stage, options: Any, console: Console) -> Tally:
    """Run a stage; with `options.run.cluster`, as shards on that cluster.

    Results have the same bytes as on one machine. A shard whose worker dies goes on elsewhere,
    from where its files say it was; a command that was killed goes on with `--resume`.

    Args:
        stage: `align`, `synth_mask`, `inpaint` or `embed`.
        options: its options.
        console: narration and progress; records are not passed on from a cluster.

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
    with ExitStack() as stack:
        lock = output.with_name(hidden_name(output.name, ".cluster.lock"))
        stack.enter_context(held(output, lock))
        if run.resume and parts.is_finished():
            return stage(here, console)
        inputs = _inputs(here)
        first_or_fail(inputs, options.source)
        begun = when_free(parts.begin, _LINGER if run.resume else 0)
        return _Spread(stage, command, options, parts, console)(inputs, begun)


def _check(options: Any) -> None:
    """Refuse what cannot be spread.

    Raises:
        InputError: see the messages.
    """
    run: RunOptions = options.run
    if options.source == "-":
        raise InputError("-: a cluster cannot read this command's standard input; name a manifest")
    if not run.shard.is_whole:
        raise InputError("--shard and --cluster exclude each other: a cluster runs all shards")
    if getattr(options, "preview", None) is not None:
        raise InputError("--preview: not from a cluster; run a few pictures here for it")
    if run.device.startswith("cuda:"):
        raise InputError(f"--device {run.device}: a cluster chooses the card; use cuda or auto")


def _inputs(options: Any) -> Source:
    inputs = open_source(options.source, exclude=options.output)
    only = getattr(options, "only", None)
    return inputs if only is None else NamedSource(inputs, read_pairs(only).keys())


class _Spread:
    """One stage on its way over a cluster."""

    def __init__(
        self,
        stage: Stage,
        command: str,
        options: Any,
        parts: Parts,
        console: Console,
    ) -> None:
        self._stage, self._command, self._options = stage, command, options
        self._parts, self._console = parts, console

    def __call__(self, inputs: Source, begun: int | None) -> Tally:
        """Run all shards and join them; `begun` is their number if some are there already."""
        started = perf_counter()
        run: RunOptions = self._options.run
        with joined(run.cluster or "local"):
            share = cluster_share(run.workers, run.device)
            jobs = self._jobs(begun or PER_SLOT * share.slots, share)
            reports, totals = self._run(jobs, share, inputs)
        tally = self._parts.join(len(jobs))
        summary = Summary(
            self._command, str(self._options.output), tally, reports, totals.again,
            perf_counter() - started,
        )  # fmt: skip
        summary.narrate(self._console)
        if run.json:
            self._console.data(summary.to_line())
        check_skipped(tally, run)
        return tally

    def _run(
        self, jobs: list[ShardJob], share: Share, inputs: Source
    ) -> tuple[list[ShardReport], Totals]:
        """Run the shards behind one progress bar."""
        console = self._console
        total = expected_total(inputs, self._options.run, console)
        with console.progress(self._command, total) as bar:
            shown = 0

            def watch(totals: Totals, finished: int) -> None:
                nonlocal shown
                bar.update(totals.done - shown)
                shown = totals.done
                bar.set_postfix_str(f"{totals.skipped} skipped, {finished}/{len(jobs)} shards")

            return run_all(jobs, share, watch)

    def _jobs(self, count: int, share: Share) -> list[ShardJob]:
        """Return the shards' work: each continues what is there, and judges no share of skips."""
        run = self._options.run
        own = replace(
            run, workers=share.processors, resume=True, force=False, max_skipped=1.0, cluster=None,
            json=False,
        )  # fmt: skip
        jobs = []
        for index in range(1, count + 1):
            options = self._parts.options_of(Shard(index, count))
            options = replace(options, run=replace(own, shard=options.run.shard))
            folder, command = str(Path.cwd()), tuple(sys.argv)
            jobs.append(ShardJob(self._stage, options, folder, command))
        return jobs


@dataclass(frozen=True)
class Summary:
    """A finished run.

    Attributes:
        command: the stage's name.
        output: what was written.
        tally: of all inputs, those of an earlier run too.
        reports: of the shards.
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
