# SPDX-License-Identifier: Apache-2.0
"""The collection bus at work: it alone asks the sources, everybody else asks it.

The one idea: one collection per source at a time, in a task of its own with a deadline, and its
result shared by all who want it. So a source that hangs costs its own readings and nothing else,
and two consumers of one source cost one collection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from fodc_agent.bus.breaker import Breaker, BreakerState
from fodc_agent.bus.mailbox import Mailbox, Policy
from fodc_agent.bus.timetable import Plan, Tier, Timetable

_STOP_WITHIN_S: Final = 2.0
_ERROR_LENGTH: Final = 300


class Source(Protocol):
    """Something that can be collected. Intervals in seconds."""

    @property
    def name(self) -> str:
        """Name, unique in the agent."""

    @property
    def tier(self) -> Tier:
        """Usual pace."""

    @property
    def floor_s(self) -> float:
        """Shortest interval that the source bears."""

    @property
    def ttl_s(self) -> float:
        """How long a reading may answer demands that name no age of their own."""

    @property
    def timeout_s(self) -> float:
        """Deadline of one collection."""

    def collect(self, at_ms: int) -> Awaitable[object]:
        """Take one reading; `at_ms` is the wall-clock time that it will carry."""


@runtime_checkable
class Fallible(Protocol):
    """A payload that may be a failure and carries its figures all the same."""

    @property
    def error(self) -> str:
        """What went wrong, in words; empty when nothing did."""


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


@dataclass(frozen=True, slots=True)
class SourceStatistics:
    """What the bus knows about one source.

    `collections_made` calls of the source; `readings_shared` answers that cost no collection of
    their own; `skipped_ticks` passed because the last collection still ran, the breaker was open
    or the agent was late; `dropped` readings lost in full mailboxes of living subscribers.
    """

    collections_made: int
    readings_shared: int
    failures: int
    timeouts: int
    skipped_ticks: int
    dropped: int
    subscribers: int
    interval_s: float | None
    breaker: BreakerState
    last_ok_age_s: float | None
    last_error: str | None


class Subscription:
    """Readings of one source for one consumer: iterate with `async for`, end with `close`."""

    def __init__(
        self,
        interval_s: float,
        policy: Policy,
        capacity: int,
        on_close: Callable[["Subscription"], None],
    ) -> None:
        self.interval_s = interval_s
        self._mailbox: Mailbox[Reading] = Mailbox(policy, capacity)
        self._filled = asyncio.Event()
        self._closed = False
        self._on_close = on_close
        self._last_s: float | None = None

    @property
    def dropped(self) -> int:
        """Readings lost because this consumer was too slow."""
        return self._mailbox.dropped

    def close(self) -> None:
        """End the subscription; what is in the mailbox can still be read. May be called twice."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._filled.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Reading:
        while True:
            reading = self._mailbox.take()
            if reading is not None:
                return reading
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()

    def offer(self, reading: Reading, pace_s: float) -> bool:
        """Take `reading` if this consumer's own interval has passed; for the coordinator only.

        Half a pace of tolerance, because two ticks are never exactly one interval apart.
        """
        if self._last_s is not None:
            waited = reading.taken_s - self._last_s
            if waited < self.interval_s - pace_s / 2:
                return False
        self._last_s = reading.taken_s
        self._mailbox.put(reading)
        self._filled.set()
        return True


@dataclass(slots=True)
class _Desk:
    """State of one source."""

    source: Source
    breaker: Breaker
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    last: Reading | None = None
    last_ok: Reading | None = None
    running: "asyncio.Task[Reading] | None" = None
    call: "asyncio.Task[object] | None" = None
    stuck: "asyncio.Task[object] | None" = None
    made: int = 0
    shared: int = 0
    failures: int = 0
    timeouts: int = 0


class Coordinator:
    """Owner of all sources. `clock` in seconds never steps back, `wall_clock_ms` may.

    `jitter` returns a number in [0, 1) per source, the phase of its plan. Add sources, then keep
    `run` running; `aclose` ends everything.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        wall_clock_ms: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._jitter = jitter
        self._timetable = Timetable()
        self._desks: dict[str, _Desk] = {}
        self._changed = asyncio.Event()
        self._closed = False

    # ---- sources and consumers --------------------------------------------------------------

    def add(self, source: Source, breaker: Breaker | None = None) -> None:
        """Take a source over; ValueError when its name is taken or its numbers make no sense."""
        if source.timeout_s <= 0:
            raise ValueError(f"source {source.name}: timeout_s must be above 0")
        self._timetable.add(Plan(source.name, source.tier, source.floor_s, self._jitter()))
        self._desks[source.name] = _Desk(source, breaker or Breaker())

    def subscribe(
        self,
        source_name: str,
        interval_s: float | None = None,
        policy: Policy = Policy.KEEP_LATEST,
        capacity: int = 16,
    ) -> Subscription:
        """Ask for a reading every `interval_s` seconds, failed ones included.

        None asks for the usual pace. KeyError for an unknown source.
        """
        desk = self._desk(source_name)
        number = self._timetable.subscribe(source_name, interval_s, self._clock())
        wanted = desk.source.tier.value if interval_s is None else interval_s

        def leave(_: Subscription) -> None:
            self._timetable.unsubscribe(source_name, number)
            desk.subscriptions.pop(number, None)

        subscription = Subscription(wanted, policy, capacity, leave)
        desk.subscriptions[number] = subscription
        self._changed.set()
        return subscription

    async def demand(self, source_name: str, max_age_s: float | None = None) -> Reading:
        """Return a good reading no older than `max_age_s`, else take one now or join one.

        None means the TTL of the source. Never raises because of the source: a failure, a missed
        deadline or an open breaker is a reading with an error. KeyError for an unknown source.
        """
        desk = self._desk(source_name)
        limit_s = desk.source.ttl_s if max_age_s is None else max_age_s
        known = desk.last_ok
        if known is not None and known.age_s(self._clock()) <= limit_s:
            desk.shared += 1
            return known
        if desk.running is not None:
            desk.shared += 1
            return await self._ended(desk, desk.running)
        refused = self._refusal(desk)
        if refused is not None:
            return refused
        return await self._ended(desk, self._start(desk))

    def last(self, source_name: str) -> Reading | None:
        """Return the newest reading, good or bad, without collecting."""
        return self._desk(source_name).last

    def statistics(self) -> dict[str, SourceStatistics]:
        """Return figures of every source by name."""
        return {name: self._statistics(name, desk) for name, desk in self._desks.items()}

    # ---- running ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Collect what is due until `aclose`."""
        while not self._closed:
            for name in self._timetable.due(self._clock()):
                desk = self._desks[name]
                if self._refusal(desk) is None and desk.running is None:
                    self._start(desk)
                else:
                    self._timetable.skip(name)
            await self._rest()

    async def aclose(self) -> None:
        """End `run`, all collections and all subscriptions; returns within about two seconds."""
        self._closed = True
        self._changed.set()
        for desk in self._desks.values():
            for subscription in list(desk.subscriptions.values()):
                subscription.close()
        for desk in self._desks.values():
            for call in (desk.call, desk.stuck):
                if call is not None:
                    call.cancel()
        await self._all_ended()

    async def _all_ended(self) -> None:
        tasks: set[asyncio.Task[Reading] | asyncio.Task[object]] = set()
        for desk in self._desks.values():
            tasks.update(task for task in (desk.running, desk.stuck) if task is not None)
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=_STOP_WITHIN_S)
        for task in pending:
            task.cancel()

    async def _rest(self) -> None:
        """Sleep until the next tick or until a subscriber changes the timetable."""
        self._changed.clear()
        due_s = self._timetable.next_due_s()
        if self._closed:
            return
        try:
            pause = None if due_s is None else max(0.0, due_s - self._clock())
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            return

    def _refusal(self, desk: _Desk) -> Reading | None:
        """Return an error reading when the source must be left alone now."""
        now_s = self._clock()
        if self._closed:
            return self._error(desk, "the agent is stopping")
        if desk.stuck is not None:
            return self._error(desk, "the last collection ignored its deadline and still runs")
        if desk.running is None and not desk.breaker.allow(now_s):
            pause = desk.breaker.retry_in_s(now_s)
            last = desk.last.error if desk.last else None
            return self._error(desk, f"left alone for {pause:.1f} s after failures: {last}")
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
                desk.timeouts += 1
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
        desk.last = reading
        if reading.ok:
            desk.last_ok = reading
            desk.breaker.succeeded()
        else:
            desk.failures += 1
            # From its start on: a source that took its time has been left alone meanwhile.
            desk.breaker.failed(reading.taken_s)
        pace_s = self._timetable.interval_s(desk.source.name) or 0.0
        takers = [one.offer(reading, pace_s) for one in list(desk.subscriptions.values())]
        desk.shared += max(0, sum(takers) - 1)

    # ---- bookkeeping ------------------------------------------------------------------------

    def _desk(self, name: str) -> _Desk:
        desk = self._desks.get(name)
        if desk is None:
            raise KeyError(f"no source {name!r} on the bus, known: {sorted(self._desks)}")
        return desk

    def _error(self, desk: _Desk, text: str) -> Reading:
        now_s = self._clock()
        return Reading(desk.source.name, self._wall_clock_ms(), None, text, 0.0, now_s)

    def _statistics(self, name: str, desk: _Desk) -> SourceStatistics:
        now_s = self._clock()
        return SourceStatistics(
            collections_made=desk.made,
            readings_shared=desk.shared,
            failures=desk.failures,
            timeouts=desk.timeouts,
            skipped_ticks=self._timetable.skipped(name),
            dropped=sum(one.dropped for one in desk.subscriptions.values()),
            subscribers=len(desk.subscriptions),
            interval_s=self._timetable.interval_s(name),
            breaker=desk.breaker.state(now_s),
            last_ok_age_s=None if desk.last_ok is None else desk.last_ok.age_s(now_s),
            last_error=desk.last.error if desk.last else None,
        )


async def _call(source: Source, at_ms: int) -> object:
    return await source.collect(at_ms)


def _outcome(call: "asyncio.Task[object]") -> tuple[object | None, str | None]:
    if call.cancelled():
        return None, "the collection was cancelled"
    fault = call.exception()
    if fault is None:
        result = call.result()
        return result, (result.error or None) if isinstance(result, Fallible) else None
    return None, f"{type(fault).__name__}: {fault}"[:_ERROR_LENGTH]
