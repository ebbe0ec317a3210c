# SPDX-License-Identifier: Apache-2.0
"""Speaks the existing contract with a Go proxy (upstream-agent §13, §20).

The one idea: the registration is the session, the six other streams are its servants. When it
ends, all end and the caller registers anew; when one of the six ends, it alone is opened again,
after a pause; when the proxy does not know one of them, the others do not care (W-51).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, Protocol, TypeVar

from fodc_agent.occurrences.pressure_profiles import ListedPressure
from fodc_agent.rpc.call import ByteStream, Message
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.uplink.answers import NoAnswerError
from fodc_agent.uplink.existing import codec
from fodc_agent.uplink.existing.metrics import MetricsAnswers
from fodc_agent.uplink.pace import Pace
from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import effects, frames

_log: Final = logging.getLogger(__name__)

REPLY_TIMEOUT_S: Final = 10.0
_SEND_TIMEOUT_S: Final = 10.0
_FAREWELL_S: Final = 0.3

T = TypeVar("T")


class Telling(Protocol):
    """What the agent can tell of its node; each raises NoAnswerError."""

    async def topology(self) -> bytes:
        """Return the cluster as the node sees it."""

    async def lifecycle(self) -> bytes:
        """Return groups and reports."""

    async def crashes(self) -> tuple[bytes, ...]:
        """Return the newest crashes."""

    def registry(self) -> AsyncIterator[bytes]:
        """Yield the messages of the registry of schemas, the last one ends it."""


class Pressures(Protocol):
    """What the agent has of times at which memory was short."""

    def listed(self) -> list[ListedPressure]:
        """Return all events."""

    def pieces(self, profile_id: str, kind: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a profile; raises FodcError and OSError."""


Answer = Callable[[bytes], Awaitable[Iterable[Message] | AsyncIterator[Message]]]


class RegistrationError(RpcError):
    """The proxy did not register this agent."""

    def __init__(self, message: str) -> None:
        super().__init__(RpcFault.REJECTED, message)


class SevenStreams:
    """One registration on one connection; make a new object for each."""

    def __init__(
        self,
        identity: frames.Identity,
        state: Callable[[], frames.NodeState],
        metrics: MetricsAnswers,
        evidence: Telling,
        pressures: Pressures,
        *,
        interval_s: float,
        now_ms: Callable[[], int],
        on_registered: Callable[[str], None],
        pace: Pace,
    ) -> None:
        self._identity = identity
        self._state = state
        self._metrics = metrics
        self._evidence = evidence
        self._pressures = pressures
        self._interval_s = interval_s
        self._now_ms = now_ms
        self._on_registered = on_registered
        self._pace = pace
        self._open: dict[str, ByteStream] = {}
        self._leaving = False

    async def run(self, channel: RpcChannel, stop: asyncio.Event) -> effects.Hangup:
        """Register and serve until the registration ends or `stop` is set; raise RpcError."""
        async with channel.open(codec.REGISTER) as stream:
            reply = await self._register(stream)
            self._open[codec.REGISTER] = stream
            self._on_registered(reply.agent_id)
            return await self._serve_all(channel, stream, reply, stop)

    # ---- registration ----------------------------------------------------------------------

    async def _register(self, stream: ByteStream) -> codec.Registered:
        """Send the registration and wait for the reply, but not for ever (W-52)."""
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                await stream.send(self._registration())
                data = await stream.receive()
        except TimeoutError:
            message = f"no reply to the registration within {REPLY_TIMEOUT_S:g} s"
            raise RpcError(RpcFault.LATE, message) from None
        if data is None:
            raise RegistrationError("the proxy ended the registration without a reply")
        try:
            reply = codec.registered(data)
        except codec.MalformedMessageError as error:
            raise RegistrationError(f"registration reply is broken: {error}") from error
        if not reply.success:
            raise RegistrationError(f"registration failed: {reply.message}")
        if not reply.agent_id:
            raise RegistrationError("registration response missing agent ID")
        return reply

    def _registration(self) -> bytes:
        state = self._state()
        identity = self._identity
        return codec.registration(
            state.node_role, state.labels, identity.pod_name, identity.container_names
        )

    async def _beat(self, stream: ByteStream, interval_s: float) -> None:
        """Repeat the registration; the role is read anew each time."""
        while True:
            await self._pace.sleep(interval_s)
            try:
                async with asyncio.timeout(_SEND_TIMEOUT_S):
                    await stream.send(self._registration())
            except TimeoutError:
                message = f"a heartbeat could not be sent within {_SEND_TIMEOUT_S:g} s"
                raise RpcError(RpcFault.LATE, message) from None

    async def _discard_replies(self, stream: ByteStream) -> None:
        """Later replies mean nothing; the end of the stream means everything."""
        try:
            while await stream.receive() is not None:
                pass
        finally:
            del self._open[codec.REGISTER]

    # ---- all streams -------------------------------------------------------------------------

    async def _serve_all(
        self,
        channel: RpcChannel,
        stream: ByteStream,
        reply: codec.Registered,
        stop: asyncio.Event,
    ) -> effects.Hangup:
        interval_s = max(reply.heartbeat_interval_s, 0) or self._interval_s
        leaving = asyncio.create_task(self._leave(stop), name="fodc stop")
        ends = [
            leaving,
            asyncio.create_task(self._discard_replies(stream), name="fodc RegisterAgent"),
            asyncio.create_task(self._beat(stream, interval_s), name="fodc heartbeat"),
        ]
        servants = [
            asyncio.create_task(
                self._keep(channel, method, reply.agent_id, answer),
                name=f"fodc {method.rpartition('/')[2]}",
            )
            for method, answer in self._answers().items()
        ]
        try:
            await asyncio.wait([*ends, *servants], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await leaving
                return effects.Hangup("Stopped", "the agent leaves this proxy")
            for task in (*ends, *servants):
                if task.done():
                    task.result()
        finally:
            await _ended([*ends, *servants])
        return effects.Hangup("ProxyEnded", "the proxy ended the registration")

    async def _leave(self, stop: asyncio.Event) -> None:
        """Half-close every stream on request, so that the proxy sees an end and not a loss."""
        await stop.wait()
        self._leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                for stream in reversed(list(self._open.values())):
                    with contextlib.suppress(RpcError):
                        await stream.end()
                # A connection that is closed too soon takes the goodbye with it.
                while self._open:  # noqa: ASYNC110 - for a moment, and bounded
                    await asyncio.sleep(0.005)

    # ---- the six -----------------------------------------------------------------------------

    def _answers(self) -> dict[str, Answer]:
        async def metrics(data: bytes) -> Iterable[Message]:
            return (await self._metrics.answer(codec.metrics_command(data)),)

        async def topology(data: bytes) -> Iterable[bytes]:
            if not codec.wants_topology(data):
                return ()
            told = await self._told(self._evidence.topology())
            return (told or codec.no_topology(self._now_ms()),)

        async def lifecycle(data: bytes) -> Iterable[bytes]:
            if not codec.wants_lifecycle(data):
                return ()
            told = await self._told(self._evidence.lifecycle())
            return (told or codec.no_lifecycle(self._now_ms(), self._identity.pod_name),)

        async def schema(data: bytes) -> Iterable[bytes] | AsyncIterator[bytes]:
            return _registry(self._evidence) if codec.wants_registry(data) else ()

        async def crash(data: bytes) -> Iterable[bytes]:
            if not codec.wants_crashes(data):
                return ()
            return await self._told(self._evidence.crashes()) or ()

        async def pressure(data: bytes) -> Iterable[bytes] | AsyncIterator[bytes]:
            match codec.pressure_command(data):
                case None:
                    return ()
                case codec.ListPressures(request_id):
                    listed = map(codec.pressure_record, self._pressures.listed())
                    return (*listed, codec.pressures_end(request_id))
                case codec.FetchPressure() as wanted:
                    return self._chunks(wanted)

        return {
            codec.METRICS: metrics,
            codec.TOPOLOGY: topology,
            codec.LIFECYCLE: lifecycle,
            codec.SCHEMA: schema,
            codec.CRASH: crash,
            codec.PRESSURE: pressure,
        }

    async def _chunks(self, wanted: codec.FetchPressure) -> AsyncIterator[bytes]:
        """Yield the chunks of a profile; the last one has no bytes, or says why it ends."""
        try:
            async for piece in self._pressures.pieces(wanted.profile_id, wanted.kind):
                yield codec.pressure_chunk(wanted, piece)
        except (FodcError, OSError) as error:
            yield codec.pressure_chunk(wanted, last=True, error=str(error))
        else:
            yield codec.pressure_chunk(wanted, last=True)

    @staticmethod
    async def _told(telling: Awaitable[T]) -> T | None:
        """Return what is told; this contract has no words for why there is nothing."""
        try:
            return await telling
        except NoAnswerError as error:
            if error.reason != Reason.UNSUPPORTED:
                _log.warning("evidence_missing reason=%s error=%r", error.reason, str(error))
            return None

    async def _keep(self, channel: RpcChannel, method: str, agent_id: str, answer: Answer) -> None:
        """Hold one stream open for as long as the registration lasts."""
        attempt = 0
        while not self._leaving:
            try:
                if await self._serve(channel, method, agent_id, answer):
                    attempt = 0
            except RpcError as error:
                if error.fault is RpcFault.UNIMPLEMENTED:
                    _log.info("stream_unknown_to_proxy method=%s", method)
                    await self._pace.sleep(self._pace.probe_s())
                    continue
                _log.info("stream_lost method=%s error=%r", method, str(error))
            if not self._leaving:
                await self._pace.sleep(self._pace.retry_s(attempt))
            attempt += 1

    async def _serve(self, channel: RpcChannel, method: str, agent_id: str, answer: Answer) -> bool:
        """Answer the commands of one stream one after the other; say whether there were any."""
        served = False
        async with channel.open(method, {"agent_id": agent_id}) as stream:
            self._open[method] = stream
            try:
                while (data := await stream.receive()) is not None:
                    served = True
                    await self._reply(stream, method, data, answer)
            finally:
                del self._open[method]
        return served

    async def _reply(self, stream: ByteStream, method: str, data: bytes, answer: Answer) -> None:
        try:
            messages = await answer(data)
        except codec.MalformedMessageError as error:
            _log.warning("command_malformed method=%s error=%r", method, str(error))
            return
        except Exception:  # noqa: BLE001 - logged; the stream goes on
            # The proxy waits for exactly one message on this stream, so it gets an empty one.
            _log.exception("answer_failed method=%s", method)
            messages = (b"",) if method == codec.METRICS else ()
        if isinstance(messages, AsyncIterator):
            async for message in messages:
                await stream.send(message)
        else:
            for message in messages:
                await stream.send(message)


async def _registry(evidence: Telling) -> AsyncIterator[bytes]:
    """Yield the registry; where there is none, this contract has words for why."""
    try:
        async for one in evidence.registry():
            yield one
    except NoAnswerError as error:
        for one in codec.no_registry(str(error)):
            yield one


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
