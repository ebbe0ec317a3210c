# SPDX-License-Identifier: Apache-2.0
"""What both gRPC services do with a stream: read it, end it from outside, take turns at work.

The one idea: a stream is one coroutine; whoever wants it to end cancels that coroutine with a
status to tell, and large messages are worked on one at a time with a pause after each, so that
small ones (heartbeats) of other streams are never late.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NoReturn, Protocol

from fodc_protocol.addresses import Address
from fodc_protocol.grpc_status import Status
from fodc_proxy.wire.pauses import let_others_run, stream_event

LARGE_BYTES: Final = 8 * 1024
FIRST_FRAME_TIMEOUT_S: Final = 10.0
FIRST_MESSAGE_BYTES: Final = 1024 * 1024
"""A peer that nobody knows yet makes us keep no more than this."""
_FREEZE_EVERY: Final = 1000


class Context(Protocol):
    """A stream as its handler sees it."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the client sent along with the call, by lower-case name."""

    @property
    def peer(self) -> Address:
        """Where the client is."""

    @property
    def is_tls(self) -> bool:
        """Whether nobody between could read along."""

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names of the client's certificate, none without one that was verified."""

    async def read(self, most_bytes: int = 0) -> bytes | None:
        """Return the next message, None when the client has ended its side.

        One of more than `most_bytes`, when that is told, ends the stream.
        """

    def hear(self, taker: Callable[[bytes], bool]) -> None:
        """Offer small messages to `taker` while a read waits; what it takes (True) is not read."""

    def write_now(self, message: bytes) -> bool:
        """Send one message at once, or nothing when that needs waiting; say which."""

    async def write(self, message: bytes) -> None:
        """Send one message; raises StreamOverError when there is nobody to take it."""

    async def abort(self, status: Status, message: str) -> NoReturn:
        """End the stream with a status; raises what must not be caught."""


async def read(context: Context, most_bytes: int = 0) -> bytes | None:
    """Return the next message, None when the client has ended its side."""
    message = await context.read(most_bytes)
    stream_event()
    return message


async def read_first(context: Context) -> bytes | None:
    """Return the first message.

    Ends the stream when none comes within ten seconds, or one that no greeting needs.
    """
    try:
        async with asyncio.timeout(FIRST_FRAME_TIMEOUT_S):
            return await read(context, FIRST_MESSAGE_BYTES)
    except TimeoutError:
        await context.abort(
            Status.DEADLINE_EXCEEDED,
            f"no first message within {FIRST_FRAME_TIMEOUT_S:g} s",
        )


class Turns:
    """Lets one large message at a time be worked on, and others in between."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for the turn of a message of this size; small ones need none."""
        if size_bytes < LARGE_BYTES:
            yield
            return
        async with self._lock:
            yield
            await let_others_run()


# Old objects are walked rarely: what decoding leaves has no cycles (perf-feasibility §2.6). New
# ones are walked in small steps, since nothing is answered meanwhile: 20,000 take 5 ms. Steps of
# 1,000 leave the cycles of the operator's libraries until old ones are walked: 25 MiB.
_THRESHOLDS: Final = (5_000, 200, 1_000)


class Ramp:
    """Keeps garbage collection from walking all agents again and again while they register."""

    def __init__(self) -> None:
        self._registrations = 0
        gc.set_threshold(*_THRESHOLDS)

    def registered(self) -> None:
        """Count a registration; every thousandth freezes what is there (perf-feasibility §2.6)."""
        self._registrations += 1
        if self._registrations % _FREEZE_EVERY == 0:
            gc.freeze()
