# SPDX-License-Identifier: Apache-2.0
"""Takes one profile from the node's pprof port and looks at it before calling it a success.

The one idea: everything has to happen inside one span of time that began with the order, waiting
for another profile included; whatever does not fit any more fails at once and says why.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.captures.spool import PartFile
from fodc_agent.clocks import wall_ms
from fodc_agent.lanes import Lane, StuckError
from fodc_agent.scraping.client import HttpClient
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_protocol import pprof
from fodc_protocol.errors import CorruptProfileError, ProfileTooLargeError, Reason, advice
from fodc_protocol.lean import dataclass
from fodc_protocol.profiles import Profile, ProfileFormat, pprof_target

NODE_SLACK_S: Final = 15.0
"""How long the node may take beyond a profile's duration to write it out."""
_FIRST_BUSY_PAUSE_S: Final = 0.5
_LONGEST_BUSY_PAUSE_S: Final = 5.0
_TRACE_HEAD_BYTES: Final = 64
_INSPECTED_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """A profile that was looked at; its bytes are in the part file."""

    samples: int | None
    warnings: tuple[str, ...]
    began_at_ms: int = 0
    """When the node was asked for what there is now, after all waiting."""


@dataclass(slots=True)
class _Deadline:
    """What is left of an order's time, in seconds of `clock`."""

    clock: Callable[[], float]
    ends_at_s: float

    def left_s(self) -> float:
        return self.ends_at_s - self.clock()


class PprofPort:
    """The pprof port of one node process: `base_url` such as http://127.0.0.1:6060.

    Of an exclusive kind (cpu, trace) one capture runs at a time; the next one waits as long as its
    own time allows.
    """

    def __init__(
        self,
        client: HttpClient,
        base_url: str,
        inspection: Lane,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], "asyncio.Future[None]"] | None = None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._client = client
        self._inspection = inspection
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._now_ms = now_ms
        self._pause = pause or asyncio.sleep
        self._locks = {kind: asyncio.Lock() for kind in Profile if kind.facts.exclusive}

    async def take(self, order: Order, part: PartFile) -> Taken | Failed:
        """Take the profile that `order` names into `part`; raises OSError when the disk fails."""
        deadline = _Deadline(self._clock, self._clock() + order.timeout_s)
        warnings: list[str] = []
        try:
            async with self._turn(order, deadline):
                waited_s = order.timeout_s - deadline.left_s()
                if waited_s >= 0.1:
                    warnings.append(f"waited {waited_s:.1f} s for another capture to end")
                began_at_ms = await self._fetch(order, part, deadline, warnings)
        except _Busy as busy:
            return Failed(Reason.PROFILER_BUSY, f"{busy}. {advice(Reason.PROFILER_BUSY)}")
        except FetchError as failure:
            return _explained(order, failure)
        taken = await self._inspected(order, part, tuple(warnings))
        return taken if isinstance(taken, Failed) else replace(taken, began_at_ms=began_at_ms)

    async def _inspected(
        self, order: Order, part: PartFile, warnings: tuple[str, ...]
    ) -> Taken | Failed:
        look = partial(_looked_at, order, part.path, list(warnings))
        try:
            return await self._inspection.run(look)
        except StuckError as error:
            # A machine that is too busy for a look is one whose evidence must not be lost.
            return Taken(None, (*warnings, f"not inspected: {error}"))

    @asynccontextmanager
    async def _turn(self, order: Order, deadline: _Deadline) -> AsyncIterator[None]:
        """Hold the lock of an exclusive kind; raises _Busy when it comes free too late."""
        lock = self._locks.get(order.profile)
        if lock is None:
            yield
            return
        patience_s = max(deadline.left_s() - order.duration_s, 0)
        try:
            async with asyncio.timeout(patience_s):
                await lock.acquire()
        except TimeoutError:
            raise _Busy(
                f"another {order.profile} capture of this agent runs and ends too late for this one"
            ) from None
        try:
            yield
        finally:
            lock.release()

    async def _fetch(
        self, order: Order, part: PartFile, deadline: _Deadline, warnings: list[str]
    ) -> int:
        """Ask the node, again with growing pauses while a stranger profiles it.

        Returns when the profiling began, in Unix milliseconds.
        """
        pause_s = _FIRST_BUSY_PAUSE_S
        while True:
            began_at_ms = self._now_ms()
            try:
                await self._ask(order, part, deadline)
            except FetchError as failure:
                if not _is_busy(failure):
                    raise
                if deadline.left_s() < pause_s + order.duration_s:
                    raise _Busy(f"the node says: {failure.excerpt}") from failure
            else:
                return began_at_ms
            if not warnings or not warnings[-1].startswith("somebody"):
                warnings.append("somebody else profiled the node; this capture had to wait")
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_BUSY_PAUSE_S)

    async def _ask(self, order: Order, part: PartFile, deadline: _Deadline) -> None:
        await part.begin_again()
        await self._client.stream(
            self._base_url + target_of(order),
            sink=part.append,
            timeout_s=max(min(deadline.left_s(), order.duration_s + NODE_SLACK_S), 0.001),
            max_bytes=order.max_bytes,
        )


class _Busy(Exception):  # noqa: N818 - a signal inside this module, turned into a value at its edge
    """The profiler belongs to somebody else for longer than this order can wait."""


def target_of(order: Order) -> str:
    """Return path and query; `gc` is known to the heap profile alone."""
    target = pprof_target(order.profile, order.duration_s)
    return target + "?gc=1" if order.gc and order.profile is Profile.HEAP else target


def _is_busy(failure: FetchError) -> bool:
    """Recognize Go's answer to a second cpu profile or trace (measured: 500, X-Go-Pprof: 1)."""
    return (
        failure.status == 500
        and failure.headers.get("x-go-pprof") == "1"
        and failure.excerpt.startswith("Could not enable")
    )


def _explained(order: Order, failure: FetchError) -> Failed:
    """Turn a failed exchange into the outcome of a capture."""
    match failure.fault:
        case Fault.TRUNCATED | Fault.PROTOCOL:
            reason = Reason.CORRUPT_PROFILE
        case Fault.STATUS if failure.status in (404, 501):
            reason = Reason.UNSUPPORTED
        case _:
            reason = failure.reason
    return Failed(reason, f"{order.profile}: {failure.message}. {advice(reason)}")


def _looked_at(order: Order, path: Path, warnings: list[str]) -> Taken | Failed:
    """Read the spooled bytes as what they should be."""
    try:
        if order.profile.facts.format is ProfileFormat.GO_TRACE:
            return _trace(order, path, warnings)
        size_bytes = path.stat().st_size
        if size_bytes > _INSPECTED_BYTES:
            # Reading it in would cost the database this much memory; so large is never empty.
            warnings.append(f"not inspected: {size_bytes} bytes are too many to look into here")
            return Taken(None, tuple(warnings))
        return _profile(order, path.read_bytes(), warnings)
    except ProfileTooLargeError as error:
        # It may be good, and so much is never empty; who opens it has more time than a sidecar.
        return Taken(None, (*warnings, f"not inspected: {error.message}"))
    except CorruptProfileError as error:
        reason = Reason.CORRUPT_PROFILE
        return Failed(reason, f"{order.profile}: {error.message}. {advice(reason)}")


def _trace(order: Order, path: Path, warnings: list[str]) -> Taken | Failed:
    with path.open("rb") as file:
        head = pprof.inspect_trace(file.read(_TRACE_HEAD_BYTES))
    return _empty(order) if head.empty else Taken(None, tuple(warnings))


def _profile(order: Order, data: bytes, warnings: list[str]) -> Taken | Failed:
    summary = pprof.inspect(data)
    if summary.empty:
        return _empty(order)
    recorded_s = summary.duration_ns / 1e9
    if order.profile.facts.timed and recorded_s < order.duration_s * 0.9:
        warnings.append(f"the profile covers {recorded_s:.1f} s of {order.duration_s:g} s")
    if order.gc and order.profile is not Profile.HEAP:
        warnings.append(f"gc was ignored: {order.profile} profiles have no such option")
    return Taken(summary.nonzero_samples, tuple(warnings))


def _empty(order: Order) -> Failed:
    note = order.profile.facts.note
    why = f" ({note})" if note else ""
    reason = Reason.EMPTY_PROFILE
    return Failed(
        reason, f"{order.profile}: the node answered without a single sample{why}. {advice(reason)}"
    )
