# SPDX-License-Identifier: Apache-2.0
"""Keeps the agent connected to a proxy: which address, which contract, and when to try again.

The one idea: one loop owns the connection. Each connection tries our link first and, where the
proxy does not know it, speaks the seven existing streams on the same connection; whatever ends,
the loop waits a random while and dials the next address.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import field, replace
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.uplink import codec
from fodc_agent.uplink.pace import Pace
from fodc_protocol.lean import dataclass
from fodc_protocol.link import effects

_log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")

# Beats of the link are answered; the existing contract's are not, and a Go server allows one
# ping in five minutes, so that is how often a half-dead Go proxy can be looked for.
PING_S: Final = 310.0
_PROBE_TIMEOUT_S: Final = 5.0


class Contract(StrEnum):
    """Which of the two contracts to speak."""

    AUTO = "auto"
    LINK = "link"
    FODC = "fodc"


class LinePhase(StrEnum):
    """Where the line to the proxy stands."""

    IDLE = "Idle"
    CONNECTING = "Connecting"
    LINKED = "Linked"
    REGISTERED = "Registered"
    """With a proxy of the existing contract."""
    WAITING = "Waiting"


@dataclass(frozen=True, slots=True)
class LineStatus:
    """What is known about the line, for readiness and self metrics."""

    phase: LinePhase = LinePhase.IDLE
    endpoint: str = ""
    agent_id: str = ""
    problem: str = ""
    connects: int = 0
    failures: int = 0

    @property
    def up(self) -> bool:
        """Whether a proxy knows this agent now."""
        return self.phase in {LinePhase.LINKED, LinePhase.REGISTERED}


class Conversation(Protocol):
    """One of the two contracts on one connection."""

    async def run(self, channel: RpcChannel, stop: asyncio.Event) -> effects.Hangup:
        """Hold it until it ends; raise RpcError."""


Dial = Callable[[Endpoint], Awaitable[RpcChannel]]


@dataclass(slots=True)
class Caller:
    """The loop. Run it as one task and set `stop` to end it politely."""

    endpoints: tuple[Endpoint, ...]
    contract: Contract
    link: Conversation
    make_existing: Callable[[], Conversation]
    dial: Dial = RpcChannel.connect
    pace: Pace = field(default_factory=Pace)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    on_change: Callable[[LineStatus], None] = lambda _: None
    cut_hint: str = ""
    """What to say of a line that is cut before a proxy has accepted the agent."""
    status: LineStatus = field(default_factory=LineStatus)
    _attempt: int = 0

    async def run(self) -> None:
        """Stay connected until `stop` is set."""
        place = 0
        while not self.stop.is_set():
            endpoint = self.endpoints[place % len(self.endpoints)]
            hangup = await self._call(endpoint)
            if self.stop.is_set():
                break
            place += 1
            # The other addresses are tried at once; the pause is between rounds.
            round_over = place % len(self.endpoints) == 0
            if round_over or hangup.retry_after_ms:
                await self._pause(hangup.retry_after_ms / 1000)
        self._set(phase=LinePhase.IDLE, agent_id="")

    def connected(self, phase: LinePhase, agent_id: str) -> None:
        """A proxy has accepted this agent; told by whoever speaks the contract."""
        self._attempt = 0
        self._set(phase=phase, agent_id=agent_id, problem="", connects=self.status.connects + 1)
        _log.info("proxy_%s proxy=%s agent_id=%s", phase.lower(), self.status.endpoint, agent_id)

    async def _call(self, endpoint: Endpoint) -> effects.Hangup:
        """Hold one connection; return why it ended."""
        self._set(phase=LinePhase.CONNECTING, endpoint=str(endpoint))
        try:
            hangup = await self._converse(endpoint)
        except (RpcError, codec.MalformedFrameError) as error:
            hangup = effects.Hangup(_reason_of(error), self._message_of(error))
        except Exception as error:  # noqa: BLE001 - logged, and a pause follows
            _log.exception("uplink_fault proxy=%s", endpoint)
            hangup = effects.Hangup("Internal", f"{type(error).__name__}: {error}")
        self._note(hangup, was_up=self.status.up)
        return hangup

    def _message_of(self, error: Exception) -> str:
        early = not self.status.up and isinstance(error, RpcError) and error.fault is RpcFault.CUT
        return f"{error}; {self.cut_hint}" if early and self.cut_hint else str(error)

    async def _converse(self, endpoint: Endpoint) -> effects.Hangup:
        channel = await self._until_stopped(self.dial(endpoint))
        if channel is None:
            return effects.Hangup("Stopped", "the agent is stopping")
        try:
            return await self._speak(channel)
        finally:
            channel.close()

    async def _speak(self, channel: RpcChannel) -> effects.Hangup:
        if self.contract is not Contract.FODC:
            try:
                return await self.link.run(channel, self.stop)
            except RpcError as error:
                if error.fault is not RpcFault.UNIMPLEMENTED or self.contract is Contract.LINK:
                    raise
        async with self._probing(channel) as upgraded:
            return await self.make_existing().run(channel, upgraded)

    @contextlib.asynccontextmanager
    async def _probing(self, channel: RpcChannel) -> AsyncIterator[asyncio.Event]:
        """Give an event that ends the existing streams: on `stop`, or when the link is there."""
        ended = asyncio.Event()
        tasks = [asyncio.create_task(_forward(self.stop, ended), name="uplink stop")]
        if self.contract is Contract.AUTO:
            tasks.append(asyncio.create_task(self._probe(channel, ended), name="uplink probe"))
        try:
            yield ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, channel: RpcChannel, ended: asyncio.Event) -> None:
        while True:
            await self.pace.sleep(self.pace.probe_s())
            if await knows_link(channel):
                _log.info("proxy_knows_link proxy=%s", channel.endpoint)
                ended.set()
                return

    async def _pause(self, at_least_s: float) -> None:
        delay_s = max(at_least_s, self.pace.retry_s(self._attempt))
        self._attempt += 1
        self._set(phase=LinePhase.WAITING, agent_id="")
        await self._until_stopped(self.pace.sleep(delay_s))

    async def _until_stopped(self, work: Awaitable[_T]) -> _T | None:
        """Wait for `work`, but not beyond `stop`."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.create_task(self.stop.wait(), name="uplink stopped")
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stopped.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    def _note(self, hangup: effects.Hangup, *, was_up: bool) -> None:
        """Log a change at info, a repeated failure at debug."""
        problem = f"{hangup.reason}: {hangup.message}"
        news = was_up or not self.status.problem.startswith(hangup.reason)
        level = logging.INFO if news else logging.DEBUG
        _log.log(
            level,
            "proxy_lost proxy=%s reason=%s message=%r",
            self.status.endpoint,
            hangup.reason,
            hangup.message,
        )
        self._set(
            phase=LinePhase.WAITING,
            agent_id="",
            problem=problem,
            failures=self.status.failures + 1,
        )

    def _set(self, **changes: object) -> None:
        # Names and kinds of the fields are held by the tests of each phase.
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]
        self.on_change(self.status)


def _reason_of(error: Exception) -> str:
    return str(error.fault) if isinstance(error, RpcError) else "MalformedFrame"


async def _forward(origin: asyncio.Event, target: asyncio.Event) -> None:
    await origin.wait()
    target.set()


async def knows_link(channel: RpcChannel) -> bool:
    """Ask whether the peer has the link, by a call that ends before it begins: no Hello is said."""
    try:
        async with channel.open(codec.METHOD, timeout_s=_PROBE_TIMEOUT_S) as stream:
            await stream.end()
            await stream.receive()
    except RpcError as error:
        return error.fault is RpcFault.REJECTED
    except TimeoutError:
        return False
    return True
