# SPDX-License-Identifier: Apache-2.0
"""The source `kernel`: what the kernel does for the node, told like every other reading.

The one idea: the first reading loads the programs and gives the capabilities up that only loading
needs; every reading aims them at the node as it is now, so that a restarted container is counted
on (W-27) and nobody else ever is.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fodc_agent.abilities import LOADING_CAPABILITIES
from fodc_agent.ktm.families import DEGRADED, STATUS
from fodc_agent.ktm.finding import target_of
from fodc_agent.ktm.target import NOBODY, Target
from fodc_agent.ktm.telemetry import Telemetry, give_up_capabilities
from fodc_agent.ktm.verdicts import Judge
from fodc_agent.lanes import Lane
from fodc_agent.self_check import kernel_facts
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import Process
from fodc_agent.sources.readings import Gap, GapReason, Sheet, SourceReading

if TYPE_CHECKING:
    from fodc_agent.ktm.bcc.backend import BccTelemetry

_SLACK_S: Final = 5.0


class KernelSource:
    """Reads what the programs have counted; the first reading loads them."""

    name: Final = "kernel"
    ttl_s: Final = 5.0

    def __init__(
        self,
        cgroup: NodeCgroup,
        telemetry: "Telemetry | BccTelemetry",
        *,
        judge: Judge | None = None,
        on_harm: Callable[[str], None] = lambda _sentence: None,
        system: Path = Path("/sys"),
        give_up: Callable[[int, int], None] = give_up_capabilities,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take who judges what is read; `on_harm` is called with a sentence when reads are slow."""
        self._judge = judge
        self._on_harm = on_harm
        self._clock_s = clock_s
        self._cgroup = cgroup
        self._telemetry = telemetry
        self._system = system
        self._give_up = give_up
        self.timeout_s: Final = telemetry.load_s + _SLACK_S
        self._lane = Lane(self.name, timeout_s=telemetry.load_s)
        self._has_loaded = False

    async def collect(self, at_ms: int) -> SourceReading:  # noqa: ARG002 - the bus's signature
        """Return all counters; a group or a node that is missing is a gap."""
        reading = await self._collected()
        if self._judge is None:
            return reading
        shown, sentence = self._judge.seen(reading.samples, self._clock_s())
        if sentence:
            self._on_harm(sentence)
        return SourceReading((*reading.samples, *shown), reading.gaps)

    async def _collected(self) -> SourceReading:
        if not self._has_loaded:
            effective = await self._lane.run(self._load)
            self._has_loaded = True
            self._give_up(effective, ~LOADING_CAPABILITIES)
        made = await self._cgroup.node.look(self._lane, self._aimed)
        if isinstance(made, Gap):
            return await self._lane.run(partial(self._read, NOBODY, made))
        return made

    def _load(self) -> int:
        facts = kernel_facts(self._cgroup.node.proc, self._system)
        self._telemetry.load(facts)
        return facts.standing.effective

    def _aimed(self, process: Process) -> SourceReading:
        found = self._cgroup.seen(process)
        try:
            target = target_of(
                self._cgroup.node.proc, process, None if isinstance(found, Gap) else found
            )
        except (OSError, ValueError) as error:
            text = f"the node's process ended while it was looked at: {error}"
            return self._read(NOBODY, Gap("process", GapReason.RESTARTED, text))
        return self._read(target, None)

    def _read(self, target: Target, gap: Gap | None) -> SourceReading:
        telemetry, sheet = self._telemetry, Sheet(self.name)
        sheet.missing(telemetry.gaps)
        if telemetry.is_counting:
            telemetry.aim(target)
            sheet.samples.extend(telemetry.samples())
            sheet.missing([gap] if gap is not None else [])
        is_whole = target.is_whole and not telemetry.gaps
        sheet.add(STATUS, (2 if is_whole else 1) if telemetry.is_counting else 0)
        sheet.add(DEGRADED, telemetry.is_counting and not is_whole)
        return sheet.reading()
