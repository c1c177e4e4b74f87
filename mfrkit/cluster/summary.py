"""What a run on a cluster says at its end: of the whole, and of each node."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mfrkit.cluster.task import ShardReport
from mfrkit.console import Console, to_line
from mfrkit.stages.sink import Tally


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
