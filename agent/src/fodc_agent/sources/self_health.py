# SPDX-License-Identifier: Apache-2.0
"""The agent itself: what it costs beside the database, and what its parts have counted."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane
from fodc_agent.sources import procfs
from fodc_agent.sources.readings import Sheet, SourceReading, counter, gauge
from fodc_protocol.metrics.samples import Sample

CPU: Final = counter("fodc_agent_cpu_seconds_total", "CPU time of the agent.")
RESIDENT: Final = gauge("fodc_agent_resident_memory_bytes", "Resident memory of the agent.")
THREADS: Final = gauge("fodc_agent_threads", "Threads of the agent.")
OPEN_FILES: Final = gauge("fodc_agent_open_fds", "Open file descriptors of the agent.")
UPTIME: Final = gauge("fodc_agent_uptime_seconds", "Time since the agent started.")
BUILD: Final = gauge("fodc_agent_build_info", "1, with the version of the agent.")


class SelfHealthSource:
    """Reads /proc/self and asks the agent's parts for their own counters."""

    name: Final = "agent"
    ttl_s: Final = 0.0
    timeout_s: Final = 5.0

    def __init__(
        self,
        *,
        version: str,
        uptime_s: Callable[[], float],
        counters: Iterable[Callable[[], Iterable[Sample]]] = (),
        proc: Path = Path("/proc"),
        ticks_per_s: int | None = None,
        page_bytes: int | None = None,
    ) -> None:
        """Take callables that give further samples; they are called in the event loop."""
        self._version = version
        self._lane = Lane(self.name)
        self._uptime_s = uptime_s
        self._counters = tuple(counters)
        self._directory = proc / "self"
        self._ticks_per_s = ticks_per_s or os.sysconf("SC_CLK_TCK")
        self._page_bytes = page_bytes or os.sysconf("SC_PAGE_SIZE")

    async def collect(self, at_ms: int) -> SourceReading:  # noqa: ARG002 - the bus's signature
        """Return the agent's own figures."""
        sheet = await self._lane.run(self._read)
        sheet.add(UPTIME, self._uptime_s())
        for counters in self._counters:
            sheet.samples.extend(counters())
        return sheet.reading()

    def _read(self) -> Sheet:
        sheet = Sheet(self.name)
        sheet.add(BUILD, 1, ("version", self._version))
        stat = sheet.read("stat", self._directory / "stat", procfs.parse_stat)
        if stat is not None:
            sheet.add(CPU, stat.user_ticks / self._ticks_per_s, ("mode", "user"))
            sheet.add(CPU, stat.system_ticks / self._ticks_per_s, ("mode", "system"))
            sheet.add(RESIDENT, stat.resident_pages * self._page_bytes)
            sheet.add(THREADS, stat.threads)
        sheet.count_entries(OPEN_FILES, "open_fds", self._directory / "fd")
        return sheet
