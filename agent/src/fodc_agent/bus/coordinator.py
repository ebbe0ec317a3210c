# SPDX-License-Identifier: Apache-2.0
"""The sources at work: each is collected at its own pace, and on demand in between.

The one idea: one collection per source at a time, in a task of its own with a deadline, and its
result shared by all who want it just then. So a source that hangs costs its own readings and
nothing else. Ticks lie on a grid; those that nobody could serve are passed over, never queued.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import Final, Protocol, TypeAlias

from fodc_agent.bell import Bell
from fodc_agent.bus.breaker import Breaker, BreakerState
from fodc_protocol.lean import dataclass

_STOP_WITHIN_S: Final = 2.0
_ERROR_LENGTH: Final = 300


class Source(Protocol):
    """Something that can be collected. Intervals in seconds."""

    @property
    def name(self) -> str:
        """Name, unique in the agent."""

    @property
    def ttl_s(self) -> float:
        """How long a reading may answer demands that name no age of their own.

        0 for a source that is not asked in between: its readings, a page of 300 KiB among them,
        are kept by nobody once they are taken.
        """

    @property
    def timeout_s(self) -> float:
        """Deadline of one collection."""

    def collect(self, at_ms: int) -> Awaitable[object]:
        """Take one reading; `at_ms` is the wall-clock time that it will carry."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: `payload`, or `error` in words, or a payload that is itself a failure.

    `taken_s` is the bus clock at its start.
    """

    source: str
    at_ms: int
    payload: object | None
    error: str | None
    duration_s: float
    taken_s: float

    @property
    def arrived_ms(self) -> int:
        """When it was complete, on the bus clock."""
        return int((self.taken_s + self.duration_s) * 1000)

    @property
    def ok(self) -> bool:
        """Say whether the collection succeeded."""
        return self.error is None

    def age_s(self, now_s: float) -> float:
        """Return the age on the bus clock."""
        return now_s - self.taken_s


Take: TypeAlias = Callable[[Reading], Awaitable[None]]
"""Takes the readings of one source, good and bad, one after the other."""


@dataclass(frozen=True, slots=True)
class SourceStatistics:
    """What is known about one source: how often it was collected, and how that went."""

    collections_made: int
    failures: int
    breaker: BreakerState
    last_ok_age_s: float | None
    last_error: str | None


@dataclass(slots=True)
class _Desk:
    """State of one source."""

    source: Source
    breaker: Breaker
    end: Bell = field(default_factory=Bell)
    """Rings when it is collected no more."""
    is_kept: bool = False
    last_error: str | None = None
    last_ok: Reading | None = None
    last_ok_s: float | None = None
    running: "asyncio.Task[Reading] | None" = None
    call: "asyncio.Task[object] | None" = None
    stuck: "asyncio.Task[object] | None" = None
    made: int = 0
    failures: int = 0


class Coordinator:
    """Owner of all sources. `clock` in seconds never steps back, `wall_clock_ms` may.

    `jitter` is a number in [0, 1): it brings the second tick forward by up to half an interval, so
    that not all agents of a fleet tick in the same instant; the sources of one do, which wakes it
    once instead of once for each. Add sources, then `keep` each; `aclose` ends everything.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        wall_clock_ms: Callable[[], int],
        jitter: float,
    ) -> None:
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._jitter = jitter
        self._desks: dict[str, _Desk] = {}
        self._is_closing = False
        self._at_work = 0  # readings that are taken or carried off
        self._is_done = Bell()

    def add(self, source: Source, breaker: Breaker | None = None) -> None:
        """Take a source over; ValueError when its name is taken or its deadline is none."""
        if source.timeout_s <= 0:
            raise ValueError(f"source {source.name}: timeout_s must be above 0")
        if source.name in self._desks:
            raise ValueError(f"source {source.name} is known already")
        self._desks[source.name] = _Desk(source, breaker or Breaker())

    async def keep(self, source_name: str, interval_s: float, take: Take) -> None:
        """Collect a source until `aclose`, at once and then every `interval_s` seconds.

        KeyError for an unknown source, ValueError for one that is kept already.
        """
        desk = self._desk(source_name)
        if desk.is_kept:
            raise ValueError(f"source {source_name} is collected already")
        desk.is_kept = True
        try:
            await self._keep(desk, interval_s, take)
        finally:
            desk.is_kept = False

    async def _keep(self, desk: _Desk, interval_s: float, take: Take) -> None:
        due_s = self._clock()
        step_s = interval_s * (1 - self._jitter / 2)
        while not self._is_closing:
            if self._refusal(desk) is None:
                await self._one(desk, take)
            late_s = self._clock() - due_s - step_s
            due_s += step_s + max(0, math.ceil(late_s / interval_s)) * interval_s
            step_s = interval_s
            await desk.end.rings(max(0.0, due_s - self._clock()))

    async def _one(self, desk: _Desk, take: Take) -> None:
        self._at_work += 1
        try:
            reading = await self._ended(desk, desk.running or self._start(desk))
            if not self._is_closing:
                await take(reading)
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._is_done.ring()

    async def at_rest(self, within_s: float) -> None:
        """Wait until all readings that are taken now are carried off, but not longer than that.

        One may wait at a time.
        """
        until_s = self._clock() + within_s
        while self._at_work and (left_s := until_s - self._clock()) > 0:
            await self._is_done.rings(left_s)

    async def demand(self, source_name: str, max_age_s: float | None = None) -> Reading:
        """Return a good reading no older than `max_age_s`, else take one now or join one.

        None means the TTL of the source. Never raises because of the source: a failure, a missed
        deadline or an open breaker is a reading with an error. KeyError for an unknown source.
        """
        desk = self._desk(source_name)
        limit_s = desk.source.ttl_s if max_age_s is None else max_age_s
        known = desk.last_ok
        if known is not None and known.age_s(self._clock()) <= limit_s:
            return known
        if desk.running is not None:
            return await self._ended(desk, desk.running)
        return self._refusal(desk) or await self._ended(desk, self._start(desk))

    def statistics(self) -> dict[str, SourceStatistics]:
        """Return figures of every source by name."""
        return {name: self._statistics(desk) for name, desk in self._desks.items()}

    async def aclose(self) -> None:
        """End all collections; returns within about two seconds."""
        self._is_closing = True
        tasks: set[asyncio.Task[Reading] | asyncio.Task[object]] = set()
        for desk in self._desks.values():
            desk.end.ring()
            for call in (desk.call, desk.stuck):
                if call is not None:
                    call.cancel()
            tasks.update(task for task in (desk.running, desk.stuck) if task is not None)
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=_STOP_WITHIN_S)
        for task in pending:
            task.cancel()

    def _refusal(self, desk: _Desk) -> Reading | None:
        """Return an error reading when the source must be left alone now."""
        now_s = self._clock()
        if self._is_closing:
            return self._error(desk, "the agent is stopping")
        if desk.stuck is not None:
            return self._error(desk, "the last collection ignored its deadline and still runs")
        if desk.running is None and not desk.breaker.allow(now_s):
            pause = desk.breaker.retry_in_s(now_s)
            text = f"left alone for {pause:.1f} s after failures: {desk.last_error}"
            return self._error(desk, text)
        return None

    async def _ended(self, desk: _Desk, running: "asyncio.Task[Reading]") -> Reading:
        """Wait for a collection without owning it: a caller that leaves does not stop it."""
        await asyncio.wait({running})
        return (
            self._error(desk, "the agent is stopping") if running.cancelled() else running.result()
        )

    def _start(self, desk: _Desk) -> "asyncio.Task[Reading]":
        desk.made += 1
        desk.running = asyncio.create_task(self._collect(desk), name=f"collect {desk.source.name}")
        return desk.running

    async def _collect(self, desk: _Desk) -> Reading:
        """Take one reading and give it to everybody; raises nothing but cancellation."""
        source = desk.source
        started_s, at_ms = self._clock(), self._wall_clock_ms()
        payload: object | None = None
        error: str | None = None
        call = asyncio.create_task(_call(source, at_ms), name=f"call {source.name}")
        desk.call = call
        try:
            done, _ = await asyncio.wait({call}, timeout=source.timeout_s)
            if done:
                payload, error = _outcome(call)
            else:
                error = f"no answer within {source.timeout_s:g} s"
        finally:
            desk.running = desk.call = None
            if not call.done():
                self._abandon(desk, call)
        now_s = self._clock()
        reading = Reading(source.name, at_ms, payload, error, now_s - started_s, started_s)
        self._publish(desk, reading)
        return reading

    def _abandon(self, desk: _Desk, call: "asyncio.Task[object]") -> None:
        """Cancel a call that overran; until it has really ended the source gets no other."""

        def ended(task: "asyncio.Task[object]") -> None:
            desk.stuck = None
            if not task.cancelled():
                task.exception()  # fetched, so that asyncio does not report it as lost

        desk.stuck = call
        call.add_done_callback(ended)
        call.cancel()

    def _publish(self, desk: _Desk, reading: Reading) -> None:
        desk.last_error = reading.error
        if reading.ok:
            desk.last_ok = reading if desk.source.ttl_s > 0 else None
            desk.last_ok_s = reading.taken_s
            desk.breaker.succeeded()
        else:
            desk.failures += 1
            # From its start on: a source that took its time has been left alone meanwhile.
            desk.breaker.failed(reading.taken_s)

    # ---- bookkeeping ------------------------------------------------------------------------

    def _desk(self, name: str) -> _Desk:
        desk = self._desks.get(name)
        if desk is None:
            raise KeyError(f"no source {name!r}, known: {sorted(self._desks)}")
        return desk

    def _error(self, desk: _Desk, text: str) -> Reading:
        now_s = self._clock()
        return Reading(desk.source.name, self._wall_clock_ms(), None, text, 0.0, now_s)

    def _statistics(self, desk: _Desk) -> SourceStatistics:
        now_s = self._clock()
        return SourceStatistics(
            collections_made=desk.made,
            failures=desk.failures,
            breaker=desk.breaker.state(now_s),
            last_ok_age_s=None if desk.last_ok_s is None else now_s - desk.last_ok_s,
            last_error=desk.last_error,
        )


async def _call(source: Source, at_ms: int) -> object:
    return await source.collect(at_ms)


def _outcome(call: "asyncio.Task[object]") -> tuple[object | None, str | None]:
    if call.cancelled():
        return None, "the collection was cancelled"
    fault = call.exception()
    if fault is None:
        result = call.result()
        # A payload may be a failure that carries its figures all the same: then it has words.
        return result, getattr(result, "error", "") or None
    return None, f"{type(fault).__name__}: {fault}"[:_ERROR_LENGTH]
