# SPDX-License-Identifier: Apache-2.0
"""The shell around the agent's session: bytes, time and tasks.

The one idea: `AgentSession` decides, this carries out. The session lives as long as the process;
each call of `run` lends it one connection.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from fodc_agent.rpc.call import ByteStream
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.faults import RpcError
from fodc_agent.uplink import codec
from fodc_agent.uplink.answers import Answers
from fodc_agent.uplink.outbox import Outbox, OutboxFullError
from fodc_agent.uplink.transfers import CaptureJobs, Transfers
from fodc_protocol.errors import Reason
from fodc_protocol.link import effects, frames
from fodc_protocol.link.agent_side import AgentSession, Phase

_log: Final = logging.getLogger(__name__)

MAX_QUERIES: Final = 8
"""How many of one kind wait or are being answered."""
_KINDS: Final[Mapping[type[frames.Query], str]] = {
    frames.MetricsQuery: "metrics",
    frames.WindowQuery: "window",
    frames.ConfigurationQuery: "configuration",
    frames.TopologyQuery: "topology",
    frames.LifecycleQuery: "lifecycle",
    frames.CrashesQuery: "crashes",
    frames.RegistryQuery: "registry",
}
MAX_CHUNKS: Final = 1024
_FAREWELL_S: Final = 0.5


class _Queries:
    """Queries of one kind on one connection, the oldest first."""

    def __init__(self) -> None:
        self.waiting: deque[frames.Query] = deque()
        self.asked = asyncio.Event()


class _Connection:
    """What one connection owns; made anew for each, so that nothing of an old one remains."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.queries = {kind: _Queries() for kind in _KINDS}
        self.chunks: deque[effects.SendChunk] = deque()
        self.credited = asyncio.Event()
        self.over: asyncio.Future[effects.Hangup] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    def hang_up(self, hangup: effects.Hangup) -> None:
        """End the connection for this reason; the first one counts."""
        if not self.over.done():
            self.over.set_result(hangup)

    def fail(self, error: BaseException) -> None:
        """End the connection because a part of it broke."""
        if not self.over.done():
            self.over.set_exception(error)


class AgentLink:
    """One session over any number of connections; also the place where outcomes are told."""

    def __init__(
        self,
        session: AgentSession,
        answers: Answers,
        jobs: CaptureJobs,
        *,
        now_ms: Callable[[], int],
        on_linked: Callable[[frames.Welcome], None] = lambda _: None,
        on_taken: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._answers = answers
        self._now_ms = now_ms
        self._on_linked = on_linked
        self._on_taken = on_taken
        self._connection: _Connection | None = None
        self.transfers = Transfers(jobs, self, now_ms=now_ms)
        self.unknown_frames = 0

    # ---- one connection ------------------------------------------------------------------

    async def run(self, channel: RpcChannel, stop: asyncio.Event) -> effects.Hangup:
        """Hold one connection until one side ends it; return why.

        Raises RpcError when the peer or the line fails; `stop` ends it politely.
        """
        async with channel.open(codec.METHOD, limit=codec.frame_limit) as stream:
            connection = self._connection = _Connection()
            tasks = self._start(stream, connection, stop)
            try:
                self._carry_out(self._session.opened(self._now_ms()))
                self._rearm()
                return await connection.over
            finally:
                self._session.cut()
                self._connection = None
                if connection.timer is not None:
                    connection.timer.cancel()
                await _ended(tasks)

    def _start(
        self, stream: ByteStream, connection: _Connection, stop: asyncio.Event
    ) -> list[asyncio.Task[None]]:
        parts = {
            "read": self._read(stream, connection),
            "write": self._write(stream, connection),
            **{name: self._answer(connection, kind) for kind, name in _KINDS.items()},
            "chunk": self._chunk(connection),
            "stop": self._leave(stream, connection, stop),
        }
        tasks = [asyncio.create_task(part, name=f"link {name}") for name, part in parts.items()]
        for task in tasks:
            task.add_done_callback(lambda done: _note_end(done, connection))
        return tasks

    async def _read(self, stream: ByteStream, connection: _Connection) -> None:
        while (data := await stream.receive()) is not None:
            frame = codec.decode(data)
            if frame is None:
                self.unknown_frames += 1
                continue
            self._carry_out(self._session.received(frame, self._now_ms()))
            if isinstance(frame, frames.Welcome) and self._session.phase is Phase.LINKED:
                self._on_linked(frame)
            self._rearm()
        connection.hang_up(effects.Hangup("ProxyEnded", "the proxy ended the stream"))

    async def _write(self, stream: ByteStream, connection: _Connection) -> None:
        while True:
            frame = await connection.outbox.next()
            data = self._encoded(connection, frame)
            if data:
                await stream.send(data)

    def _encoded(self, connection: _Connection, frame: frames.AgentFrame) -> bytes:
        """Return the bytes of a frame; what cannot be encoded costs that frame, not the line."""
        try:
            return codec.encode(frame)
        except (ValueError, TypeError) as error:
            _log.exception("frame_not_encoded kind=%s", type(frame).__name__)
            query_id = getattr(frame, "query_id", 0)
            if query_id and not isinstance(frame, frames.QueryFailed):
                message = f"answer cannot be encoded: {error}"
                failed = frames.QueryFailed(query_id, Reason.INTERNAL, message)
                self._post(connection, failed)
            return b""

    async def _answer(self, connection: _Connection, kind: type[frames.Query]) -> None:
        """Answer queries of one kind one after the other; another kind never waits for them."""
        queries = connection.queries[kind]
        while True:
            while queries.waiting:
                async for frame in self._answers.frames_for(queries.waiting[0]):
                    await connection.outbox.offer(frame)
                queries.waiting.popleft()
            queries.asked.clear()
            await queries.asked.wait()

    async def _chunk(self, connection: _Connection) -> None:
        """Send the bytes of artifacts that the proxy has given credit for."""
        while True:
            while connection.chunks:
                chunk = await self.transfers.chunk(connection.chunks.popleft())
                if chunk is not None:
                    await connection.outbox.offer(chunk)
            connection.credited.clear()
            await connection.credited.wait()

    async def _leave(
        self, stream: ByteStream, connection: _Connection, stop: asyncio.Event
    ) -> None:
        """Half-close on request, so that the proxy sees an end and not a loss."""
        await stop.wait()
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await stream.end()
                await asyncio.wait([connection.over])
        except (TimeoutError, RpcError):
            pass  # Nobody answers: then without a goodbye.
        finally:
            connection.hang_up(effects.Hangup("Stopped", "the agent is stopping"))

    def _rearm(self) -> None:
        """Let the timer ring when the session wants to be woken."""
        connection = self._connection
        wake_ms = self._session.next_wake_ms()
        if connection is None or wake_ms is None:
            return
        if connection.timer is not None:
            connection.timer.cancel()
        delay_s = max(0, wake_ms - self._now_ms()) / 1000
        loop = asyncio.get_running_loop()
        connection.timer = loop.call_later(delay_s, self._tick)

    def _tick(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            self._carry_out(self._session.tick(self._now_ms()))
            self._rearm()
        except Exception as error:  # noqa: BLE001 - told to the task that holds the connection
            connection.fail(error)

    # ---- effects ---------------------------------------------------------------------------

    def _carry_out(self, wanted: list[effects.AgentEffect]) -> None:
        for effect in wanted:
            match effect:
                case effects.BeginCapture():
                    self.transfers.begin(effect.command)
                case effects.EndCapture():
                    self.transfers.end(effect.command_id, effect.mode)
                case effects.Forget():
                    self.transfers.forget(effect.command_id)
                case effects.EventsTaken():
                    self._on_taken()
                case _:
                    self._on_line(effect)

    def _on_line(
        self,
        effect: effects.SendAgentFrame | effects.Answer | effects.SendChunk | effects.Hangup,
    ) -> None:
        """Carry out what needs the connection; without one there is nobody to tell."""
        connection = self._connection
        if connection is None:
            return
        match effect:
            case effects.SendAgentFrame():
                self._post(connection, effect.frame)
            case effects.Answer():
                self._ask(connection, effect.query)
            case effects.SendChunk():
                # A proxy whose credit is beyond reason asks again for what is left out here.
                if len(connection.chunks) < MAX_CHUNKS:
                    connection.chunks.append(effect)
                    connection.credited.set()
            case effects.Hangup():
                connection.hang_up(effect)

    def _ask(self, connection: _Connection, query: frames.Query) -> None:
        queries = connection.queries[type(query)]
        if len(queries.waiting) >= MAX_QUERIES:
            message = f"{MAX_QUERIES} queries of this kind wait for their answer already"
            self._post(connection, frames.QueryFailed(query.query_id, Reason.BUSY, message))
            return
        queries.waiting.append(query)
        queries.asked.set()

    def _post(self, connection: _Connection, frame: frames.AgentFrame) -> None:
        try:
            connection.outbox.post(frame)
        except OutboxFullError as error:
            connection.hang_up(effects.Hangup("ProxyStuck", str(error)))

    # ---- what the agent has to say -----------------------------------------------------------

    def state_changed(self, state: frames.NodeState) -> None:
        """Tell a new state of the node."""
        self._carry_out(self._session.state_changed(state, self._now_ms()))

    def awake(self) -> None:
        """Send what is due soon now that the agent is awake anyway."""
        self._carry_out(self._session.awake(self._now_ms()))
        self._rearm()

    def happened(self, event: frames.Event) -> None:
        """Tell something that happened, which waits in the session's queue."""
        self._carry_out(self._session.happened(event))

    def begun(self, command_id: str) -> None:
        """Hold a capture that the agent began by itself."""
        self._session.begun(command_id)

    def forgotten(self, command_id: str) -> None:
        """Hold a capture of the agent's own no more."""
        self._session.forgotten(command_id)

    def noted(self, update: frames.CommandUpdate) -> None:
        """Tell how far a capture has come."""
        if update.state is not frames.CommandState.RUNNING:
            _log.info(
                "capture_%s command_id=%s reason=%s message=%r",
                update.state.name.lower(),
                update.command_id,
                update.reason,
                update.message,
            )
        self._carry_out(self._session.noted(update))


def _note_end(task: asyncio.Task[None], connection: _Connection) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        connection.fail(error)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
