# SPDX-License-Identifier: Apache-2.0
"""Looks at the node for what happens to it: its process, its page, its memory, its crashes.

The one idea: the end of a process is told by the kernel in the moment it comes; everything else is
taken from what is read anyway, but for memory, which is looked at the sooner the less is left.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

from fodc_agent.bell import Bell
from fodc_agent.bus.coordinator import Reading
from fodc_agent.lanes import Lane
from fodc_agent.occurrences import probe
from fodc_agent.occurrences.memory import NodeMemory
from fodc_agent.occurrences.oom import OomCounter
from fodc_agent.occurrences.pressure import PressureRule, Thresholds, Verdict
from fodc_agent.occurrences.rules import Crash, Happened, Life, Memory, NodeRules
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.settings import Settings
from fodc_agent.sources.cgroup import EVENTS, CgroupSource
from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.process import ProcessSource
from fodc_agent.sources.procfs import parse_boot_time_s
from fodc_agent.sources.readings import GapReason, read_small, value_in
from fodc_protocol.lean import dataclass
from fodc_protocol.occurrences import OccurrenceKind

_log: Final = logging.getLogger(__name__)

_CONFIRM_S: Final = 60.0
_POLL_S: Final = 2.0
_SOON_S: Final = 1.0
_SOON_FOR_S: Final = 120.0
_SELDOM_S: Final = 10.0
_LATE_S: Final = 2.0  # what a reading of every ten seconds may take
_CRASHES_S: Final = 5.0
_PROBE_PAUSE_S: Final = 0.5
_PAGE_START: Final = "process_start_time_seconds"


class Told(Protocol):
    """Who takes in what happened (`telling.Occurrences`)."""

    def post(self, happened: list[Happened], memory: Memory | None = None) -> None:
        """Take in what was noticed just now."""

    def memory_changed(self) -> None:
        """What is remembered of the node is another."""


CrashesOf = Callable[[], Awaitable[tuple[tuple[str, float], ...]]]
"""Returns names and times (Unix seconds) of the newest whole crashes; raises OSError."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is looked at; without `node` only the page is."""

    settings: Settings
    recorder: Recorder
    reading: NodeMemory
    page: str
    """The source whose page is the node's own."""
    node: NodeProcess | None = None
    oom: OomCounter | None = None
    crashes: CrashesOf | None = None


class NodeObserver:
    """Its methods `watch_…` are tasks for ever; `page_seen` is called with each page."""

    def __init__(
        self,
        parts: Parts,
        rules: NodeRules,
        told: Told,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._parts = parts
        self._rules = rules
        self._told = told
        self._clock_s = clock_s
        self._wall_s = wall_s
        told_so = parts.settings
        self._pressure = PressureRule(
            Thresholds(told_so.pressure_percent, told_so.pressure_cooldown_s)
        )
        self._lane = Lane("node-life")
        self._boot_s: int | None = None
        self._life: Life | None = None
        self._happened = Bell()
        self._page_came = Bell()
        self._memory_is_due = Bell()
        self._memory_is_paced = False
        self.memory: Memory | None = None
        """As it was read last; None while memory or its limit is not known."""
        self.cooled = 0
        """Readings above the threshold for which nothing was taken, because of the cool-down."""

    def _post(self, happened: list[Happened], memory: Memory | None = None) -> None:
        if happened:
            self._told.post(happened, memory)
            self._happened.ring()

    # ---- process --------------------------------------------------------------------------------

    async def watch_process(self) -> None:
        """Tell when the process ends and when another one is there, for ever."""
        node = self._parts.node
        assert node is not None
        gone_at_s = self._clock_s()
        while True:
            found = await node.find()
            if isinstance(found, Process):
                await self._process_found(node, found)
                await self._ended(node, found)
                if await self._lane.run(partial(node.lives, found)):
                    continue
                await self._process_gone()
                gone_at_s = self._clock_s()
                continue
            if found.reason is GapReason.NO_PROCESS:
                await self._process_gone()
            is_fresh = self._clock_s() - gone_at_s < _SOON_FOR_S
            await asyncio.sleep(_SOON_S if is_fresh else _SELDOM_S)

    async def _process_found(self, node: NodeProcess, process: Process) -> None:
        known = self._life
        if known is not None and (known.pid, known.start_ticks) == (
            process.pid,
            process.start_ticks,
        ):
            return
        self._life = life = await self._life_of(node, process)
        self._post(self._rules.process_seen(life, self._clock_s()))
        self._told.memory_changed()
        if self._parts.oom is not None:
            count = await self._parts.oom.follow(process)
            self._rules.oom_counter_is(count)
        await self._parts.reading.begins()
        self._memory_is_due.ring()

    async def _process_gone(self) -> None:
        was_known, self._life = self._life is not None, None
        self._post(self._rules.process_seen(None, self._clock_s()))
        if was_known:
            await self._look_at_oom_kills()

    async def _life_of(self, node: NodeProcess, process: Process) -> Life:
        if self._boot_s is None:
            with contextlib.suppress(OSError, ValueError, LookupError):
                text = await self._lane.run(partial(read_small, node.proc / "stat"))
                self._boot_s = parse_boot_time_s(text)
        if self._boot_s is None:
            return Life(process.pid, process.start_ticks)
        after_ms = process.start_ticks * 1000 // os.sysconf("SC_CLK_TCK")
        return Life(process.pid, process.start_ticks, self._boot_s * 1000 + after_ms)

    async def _ended(self, node: NodeProcess, process: Process) -> None:
        """Wait for the end of a process, or for a minute; where that cannot be told, look often."""
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:  # it has just ended
            return
        except (OSError, AttributeError):  # an old kernel, a filter of calls
            await asyncio.sleep(_POLL_S)
            return
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(handle, ended.set)
            # The number may have been given to another process before it was opened.
            if await self._lane.run(partial(node.lives, process)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CONFIRM_S):
                        await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    # ---- page -----------------------------------------------------------------------------------

    def page_seen(self, source: str, problem: str, silent: int = 0) -> None:
        """Take in that a page came, or why it did not, and how many questions met with silence."""
        if source != self._parts.page:
            return
        now_s = self._clock_s()
        if problem:
            self._post(self._rules.page_failed(problem, now_s, max(silent, 1)))
        else:
            self._page_came.ring()
            start_s = self._parts.recorder.value(_PAGE_START, source=source)
            self._post(self._rules.page_answered(start_s, now_s))

    async def watch_answers(self) -> None:
        """Find out soon when the node answers nobody, for ever; that it is back, its page tells."""
        told = self._parts.settings
        port = int(self._parts.page.rpartition(":")[2])
        while True:
            if await self._page_came.rings(probe.EVERY_S):
                continue  # it has answered the question
            while not self._rules.is_away:
                problem = await probe.problem_of(told.node_host, port)
                if not problem:
                    break
                self._post(self._rules.page_failed(problem, self._clock_s()))
                await asyncio.sleep(_PROBE_PAUSE_S)

    # ---- memory ---------------------------------------------------------------------------------

    def reading_taken(self, reading: Reading) -> None:
        """Take in a reading: memory and kills are judged by what is read anyway."""
        bears_memory = self._parts.page if self._parts.node is None else ProcessSource.name
        if reading.source == bears_memory and not self._memory_is_paced:
            self._memory_is_due.ring()
        if self._parts.oom is not None and reading.source == CgroupSource.name:
            self._kills_seen(value_in(reading.payload, EVENTS.name, ("event", "oom_kill")))

    async def watch_memory(self) -> None:
        """Tell when memory is close to its limit, for ever.

        Where the limit is known and profiles are wanted, memory is read by itself, the sooner the
        closer it is to the threshold; else what is read anyway is judged.
        """
        while True:
            pace_s = self._pressure.pace_s()
            self._memory_is_paced = is_paced = pace_s < _SELDOM_S
            await self._memory_is_due.rings(pace_s if is_paced else _SELDOM_S + _LATE_S)
            self.memory = memory = await self._parts.reading.read(anew=is_paced)
            if memory is not None:
                self._judge(memory)

    def _judge(self, memory: Memory) -> None:
        match self._pressure.judge(memory, self._clock_s()):
            case Verdict.FIRES:
                text = f"memory is at {memory.percent:.0f} % of its limit"
                pid = {} if self._life is None else {"pid": str(self._life.pid)}
                fields = {**memory.fields(), **pid}
                happened = Happened(OccurrenceKind.MEMORY_PRESSURE, text, fields)
                self._post([happened], memory)
            case Verdict.COOLING:
                self.cooled += 1
            case Verdict.CALM:
                pass

    async def _look_at_oom_kills(self) -> None:
        if self._parts.oom is not None:
            self._kills_seen(await self._parts.oom.count())

    def _kills_seen(self, count: float | None) -> None:
        if count is not None:
            self._post(self._rules.oom_kills_seen(int(count), self.memory))

    # ---- crashes --------------------------------------------------------------------------------

    async def watch_crashes(self) -> None:
        """Tell of crashes as the node writes them down, for ever."""
        crashes = self._parts.crashes
        assert crashes is not None
        while True:
            try:
                found = await crashes()
            except OSError as error:
                _log.debug("crashes_not_read error=%r", str(error))
            else:
                seen = [Crash(name, written_at_s) for name, written_at_s in found]
                self._take_crashes(seen)
            if await self._happened.rings(_CRASHES_S):
                await asyncio.sleep(_SOON_S)  # a node that ends may still be writing

    def _take_crashes(self, seen: list[Crash]) -> None:
        happened = self._rules.crashes_seen(seen, self._wall_s())
        if happened:
            self._told.post(happened)


def armed_problem(percent: int, memory: Memory | None) -> tuple[str, str]:
    """Return reason and message why no profiles of short memory are taken; empty when they are."""
    if not percent:
        return "Disabled", "--pressure-percent is 0"
    if memory is None:
        text = "memory of the node or its limit is not known; give --node-memory-limit"
        return "NoMemoryLimit", text
    return "", ""
