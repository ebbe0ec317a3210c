# SPDX-License-Identifier: Apache-2.0
"""Pressure stall information: how long work waited for CPU, memory or I/O.

The one idea: the node's own cgroup says it best; where it cannot be seen, the host's figures say
the same about everybody, and the label `scope` says which of the two one is looking at.
"""

from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import Process
from fodc_agent.sources.readings import Gap, Sheet, SourceReading, counter, gauge
from fodc_protocol.lean import dataclass

STALLED: Final = counter(
    "fodc_node_pressure_seconds_total",
    "Time for which some or all (full) tasks waited for a resource.",
)
SHARE: Final = gauge(
    "fodc_node_pressure_avg10_ratio", "Share of the last 10 s for which tasks waited, 0 to 1."
)
_RESOURCES: Final = ("cpu", "memory", "io")


@dataclass(frozen=True, slots=True)
class Stall:
    """One line of a pressure file: kind "some" or "full", share of 10 s, total in µs."""

    kind: str
    avg10_percent: float
    total_us: int


def parse_pressure(text: str) -> list[Stall]:
    """Parse lines such as "some avg10=0.00 avg60=0.12 avg300=0.03 total=123"."""
    stalls: list[Stall] = []
    for line in text.splitlines():
        kind, *words = line.split()
        values = dict(word.split("=", 1) for word in words)
        stalls.append(Stall(kind, float(values["avg10"]), int(values["total"])))
    return stalls


class PressureSource:
    """Reads the PSI files of the node's cgroup, else those of the host."""

    name: Final = "pressure"
    ttl_s: Final = 0.0
    timeout_s: Final = 5.0

    def __init__(self, cgroup: NodeCgroup) -> None:
        self._cgroup = cgroup
        self._lane = Lane(self.name)

    async def collect(self, at_ms: int) -> SourceReading:  # noqa: ARG002 - the bus's signature
        """Return stalls of cpu, memory and io; a kernel without PSI is a gap."""
        made = await self._cgroup.node.look(self._lane, self._read_of)
        if isinstance(made, Gap):
            return await self._lane.run(partial(self._read, None))
        return made

    def _read_of(self, process: Process) -> SourceReading:
        found = self._cgroup.seen(process)
        return self._read(None if isinstance(found, Gap) else found.unified)

    def _read(self, unified: Path | None) -> SourceReading:
        sheet = Sheet(self.name)
        for resource in _RESOURCES:
            path, scope = self._file(unified, resource)
            stalls = sheet.read(f"{resource}.pressure", path, parse_pressure)
            for stall in stalls or ():
                labels = (("resource", resource), ("kind", stall.kind), ("scope", scope))
                sheet.add(STALLED, stall.total_us / 1e6, *labels)
                sheet.add(SHARE, stall.avg10_percent / 100, *labels)
        return sheet.reading()

    def _file(self, unified: Path | None, resource: str) -> tuple[Path, str]:
        if unified is not None and (path := unified / f"{resource}.pressure").exists():
            return path, "cgroup"
        return self._cgroup.node.proc / "pressure" / resource, "host"
