# SPDX-License-Identifier: Apache-2.0
"""Looks now and then at what is no reading of its own: profiler, permissions, settings of the node.

The one idea: what was found is noted in the report, and whoever tells it hears only of news. A look
that hangs is logged and stops nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Final

from fodc_agent.abilities import abilities, shown
from fodc_agent.bell import Bell
from fodc_agent.bus.coordinator import Coordinator, Reading
from fodc_agent.collecting import CONFIGURATION
from fodc_agent.lanes import Lane, StuckError
from fodc_agent.node_report import NodeReport
from fodc_agent.profiler_probe import look_at_profiler
from fodc_agent.scraping.client import HttpClient
from fodc_agent.self_check import read_facts
from fodc_agent.sources.configuration import ConfigurationReading
from fodc_agent.sources.node_process import NodeProcess
from fodc_protocol.lean import dataclass

_log: Final = logging.getLogger(__name__)

_PROFILER_EVERY_S: Final = 300.0
_PROFILER_RETRY_S: Final = 15.0
_PROFILER_LAST_RETRY_S: Final = 60.0  # a node without one has mostly none until it begins anew
_CHECK_EVERY_S: Final = 3600.0
_CHECK_AGAIN_S: Final = 60.0
_FIRST_CHECK_S: Final = 2.0
_REFRESH_PAUSE_S: Final = 1.0


@dataclass(slots=True)
class NodeWatch:
    """Its three methods that run for ever are tasks; `tell` is called when there is news."""

    report: NodeReport
    client: HttpClient
    coordinator: Coordinator
    profiler_url: str
    inspection: Lane
    tell: Callable[[], None]
    _check_due: asyncio.Event = field(default_factory=asyncio.Event)
    _restart_seen: asyncio.Event = field(default_factory=asyncio.Event)
    _profiler_due: Bell = field(default_factory=Bell)
    _lane: Lane = field(default_factory=partial(Lane, "self-check"))

    def look_again(self) -> None:
        """The node's process is another one, or there was none for a moment."""
        self._check_due.set()
        self._restart_seen.set()
        self._profiler_due.ring()

    # ---- profiler ------------------------------------------------------------------------------

    async def watch_profiler(self) -> None:
        """Find out what the pprof port offers, for ever."""
        retry_s = _PROFILER_RETRY_S
        while True:
            facts = await look_at_profiler(self.client, self.profiler_url, self.inspection)
            if facts != self.report.profiler:
                _log.info("profiler_seen url=%s problem=%r", self.profiler_url, facts.problem)
                self.report.profiler = facts
                self.tell()
            if await self._profiler_due.rings(retry_s if facts.problem else _PROFILER_EVERY_S):
                retry_s = _PROFILER_RETRY_S
            else:
                retry_s = min(2 * retry_s, _PROFILER_LAST_RETRY_S)

    # ---- settings of the node --------------------------------------------------------------------

    async def watch_configuration(self) -> None:
        """Read the node's settings anew after what may have been a restart, for ever."""
        while True:
            await self._restart_seen.wait()
            self._restart_seen.clear()
            await self.configuration(0.0)
            await asyncio.sleep(_REFRESH_PAUSE_S)

    async def configuration(self, max_age_s: float | None = None) -> Reading:
        """Return a reading of the configuration, and let everybody know it."""
        reading = await self.coordinator.demand(CONFIGURATION, max_age_s=max_age_s)
        if isinstance(reading.payload, ConfigurationReading):
            self.report.recording.take_configuration(reading.payload)
        return reading

    async def known_configuration(self) -> tuple[ConfigurationReading | None, str]:
        """Return the settings now, else the last of a node that is gone, and what failed."""
        reading = await self.configuration()
        known = reading.payload or self.report.recording.configuration
        return known if isinstance(known, ConfigurationReading) else None, reading.error or ""

    # ---- what the kernel permits -----------------------------------------------------------------

    async def check_first(self, node: NodeProcess) -> None:
        """Look once before anybody is greeted; a check that fails or hangs stops nothing."""
        try:
            async with asyncio.timeout(_FIRST_CHECK_S):
                await self._check(node)
        except Exception:  # noqa: BLE001 - the task that repeats it says more
            _log.exception("self_check_failed")
            self._check_due.set()

    async def check(self, node: NodeProcess) -> None:
        """Look hourly, when the node's process changes, and soon where that hung; for ever."""
        wait_s = _CHECK_EVERY_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._check_due.wait()
            self._check_due.clear()
            try:
                await self._check(node)
                wait_s = _CHECK_EVERY_S
            except StuckError as stuck:
                wait_s = _CHECK_AGAIN_S
                _log.warning("self_check_hangs problem=%r", str(stuck))

    async def _check(self, node: NodeProcess) -> None:
        process = await node.find()
        facts = await self._lane.run(partial(read_facts, node, process))
        told = abilities(facts, self.report.settings.flavor)
        if told != self.report.abilities:
            _log.info("self_check %s", shown(facts, told))
            self.report.abilities = told
            self.tell()
