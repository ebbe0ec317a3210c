# SPDX-License-Identifier: Apache-2.0
"""Takes what the agent has itself: the window of its flight recorder, the node's configuration.

The one idea: the bytes go to the spool piece by piece as they are made, with a turn of the event
loop between two pieces, so that an hour of a node costs the agent neither memory nor heartbeats.
Neither needs the node to live.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol, TypeAlias

from fodc_agent.captures.orders import Profiler
from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.captures.pprof import Taken
from fodc_agent.captures.spool import PartFile
from fodc_agent.clocks import wall_ms
from fodc_protocol.errors import Reason, advice
from fodc_protocol.lean import dataclass
from fodc_protocol.profiles import TakenFrom
from fodc_protocol.times import format_rfc3339_ms

_GZIP: Final = 31
_LEVEL: Final = 1
_SLICE_BYTES: Final = 64 * 1024


class Slice(Protocol):
    """A piece of text and how many samples are in it."""

    @property
    def data(self) -> bytes:
        """Whole lines."""

    @property
    def samples(self) -> int:
        """Lines that are samples."""


WindowText: TypeAlias = Callable[[int, int], Iterable[Slice]]
"""Makes the text of the window from one time to another, both in Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of the node's settings: JSON, empty where nothing is; `gaps` are sentences."""

    document: bytes
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByKind:
    """Hands each order to what takes its kind."""

    takers: Mapping[TakenFrom, Profiler]

    async def take(self, order: Order, part: PartFile) -> Taken | Failed:
        """Take what `order` names into `part`; raises OSError when the disk fails."""
        return await self.takers[order.profile.facts.taken_from].take(order, part)


@dataclass(frozen=True, slots=True)
class WindowTaker:
    """Writes what `text` makes of the flight recorder's window; `now_ms` tells the wall clock."""

    text: WindowText
    now_ms: Callable[[], int] = wall_ms

    async def take(self, order: Order, part: PartFile) -> Taken | Failed:
        """Write gzip of OpenMetrics text into `part`; raises OSError when the disk fails."""
        now_ms = self.now_ms()
        end_ms = min(order.end_ms or now_ms, now_ms)
        start_ms = end_ms - order.span_ms if order.span_ms else 0
        try:
            async with asyncio.timeout(order.timeout_s):
                written = await self._write(order, part, start_ms, end_ms)
        except TimeoutError:
            reason = Reason.DEADLINE_EXCEEDED
            told = f"the window was not written within {order.timeout_s:g} s"
            return Failed(reason, f"{order.profile}: {told}. {advice(reason)}")
        if isinstance(written, Failed) or written:
            return (
                written
                if isinstance(written, Failed)
                else Taken(written, _early(order.end_ms, now_ms), began_at_ms=now_ms)
            )
        reason = Reason.EMPTY_PROFILE
        span = f"up to {format_rfc3339_ms(end_ms)}"
        return Failed(reason, f"{order.profile}: {order.profile.facts.note} ({span})")

    async def _write(
        self, order: Order, part: PartFile, start_ms: int, end_ms: int
    ) -> int | Failed:
        """Return how many samples were written."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        pending = bytearray()
        samples = 0
        for text in self.text(start_ms, end_ms):
            samples += text.samples
            pending += packer.compress(text.data)
            if len(pending) >= _SLICE_BYTES:
                if part.size_bytes + len(pending) > order.max_bytes:
                    return _too_large(order)
                await part.append(bytes(pending))
                pending.clear()
            await asyncio.sleep(0)
        pending += packer.flush()
        if part.size_bytes + len(pending) > order.max_bytes:
            return _too_large(order)
        await part.append(bytes(pending))
        return samples


def _too_large(order: Order) -> Failed:
    told = f"the window is larger than {order.max_bytes} bytes; ask for a shorter span"
    return Failed(Reason.TOO_LARGE, f"{order.profile}: {told}")


def _early(asked_ms: int, now_ms: int) -> tuple[str, ...]:
    if asked_ms <= now_ms:
        return ()
    came, now = format_rfc3339_ms(asked_ms), format_rfc3339_ms(now_ms)
    return (f"{came} had not come by this node's clock: the window ends at {now}",)


@dataclass(frozen=True, slots=True)
class ConfigurationTaker:
    """Writes the node's effective configuration; `read` returns what is known now."""

    read: Callable[[], Awaitable[Told]]

    async def take(self, order: Order, part: PartFile) -> Taken | Failed:
        """Write the document into `part`; raises OSError when the disk fails."""
        try:
            async with asyncio.timeout(order.timeout_s):
                told = await self.read()
        except TimeoutError:
            return Failed(Reason.NODE_HUNG, f"{order.profile}: the node did not tell in time")
        if not told.document:
            why = "; ".join(told.gaps) or order.profile.facts.note
            return Failed(Reason.UNSUPPORTED, f"{order.profile}: {why}")
        if len(told.document) > order.max_bytes:
            much = f"{len(told.document)} bytes are more than the {order.max_bytes} allowed"
            return Failed(Reason.TOO_LARGE, f"{order.profile}: {much}")
        await part.append(told.document)
        return Taken(None, told.gaps)
