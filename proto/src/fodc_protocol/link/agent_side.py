# SPDX-License-Identifier: Apache-2.0
"""The agent's end of the link: one session for the life of the agent process.

The shell calls `opened` when a stream stands, `received` for each frame, `cut`
when the stream is gone, `tick` at `next_wake_ms`, and the capture notes as they
happen; it carries out the returned effects in their order. What happened to the node waits in the
`EventQueue` that the session is given: it is the shell's too, which keeps it over a restart.
"""

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum, auto

from fodc_protocol.errors import Reason
from fodc_protocol.ids import is_own_command
from fodc_protocol.lean import dataclass
from fodc_protocol.link import effects, frames
from fodc_protocol.link.event_queue import EventQueue
from fodc_protocol.link.frames import CommandState, CommandUpdate

WELCOME_TIMEOUT_MS = 10_000
SILENT_INTERVALS = 3
EARLY_PART = 4
"""The part of an interval by which a heartbeat may come early."""
DEFAULT_CHUNK_BYTES = 256 * 1024
MAX_UNASKED = 64
"""How many captures of its own an agent holds that no proxy has asked for: the newest."""

Effects = list[effects.AgentEffect]


class Phase(Enum):
    """Where the present connection stands."""

    CUT = auto()
    GREETING = auto()
    LINKED = auto()


@dataclass(slots=True)
class _Transfer:
    """How far the bytes of one artifact have come on this connection."""

    acked_bytes: int
    sent_bytes: int


class AgentSession:
    """Heartbeats, queries, captures and events of one agent over any number of connections."""

    def __init__(
        self,
        *,
        identity: frames.Identity,
        state: frames.NodeState,
        agent_version: str,
        incarnation: str,
        heartbeat_interval_ms: int,
        held: Iterable[CommandUpdate] = (),
        events: EventQueue | None = None,
    ) -> None:
        self.phase = Phase.CUT
        self.agent_id = ""
        self.heartbeat_interval_ms = heartbeat_interval_ms
        self._own_interval_ms = heartbeat_interval_ms
        self._identity = identity
        self._state = state
        self._told: frames.NodeState | None = None
        self._agent_version = agent_version
        self._incarnation = incarnation
        self._held = {capture.command_id: capture for capture in held}
        # Captures that the agent began by itself: the proxy hears of them when it asks.
        self._unasked = {one: None for one in self._held if is_own_command(one)}
        self._transfers: dict[str, _Transfer] = {}
        self.events = events if events is not None else EventQueue(incarnation)
        self._beat_sequence = 0
        self._early_ms = 0
        self._next_beat_ms = 0
        self._heard_ms = 0
        self._chunk_bytes = DEFAULT_CHUNK_BYTES

    # ---- connection ---------------------------------------------------------

    def opened(self, now_ms: int) -> Effects:
        """A stream stands: greet."""
        self.phase = Phase.GREETING
        self._heard_ms = now_ms
        self._transfers.clear()
        self._told = self._state
        hello = frames.Hello(
            frames.PROTOCOL_MIN,
            frames.PROTOCOL_MAX,
            self._agent_version,
            self._identity,
            self._incarnation,
            self._state,
            tuple(self._held),
        )
        return [effects.SendAgentFrame(hello)]

    def cut(self) -> None:
        """The stream is gone; captures go on, queries are void."""
        self.phase = Phase.CUT
        self._transfers.clear()

    def received(self, frame: frames.ProxyFrame, now_ms: int) -> Effects:
        """React to one frame of the proxy."""
        if self.phase is Phase.CUT:
            return []
        self._heard_ms = now_ms
        match frame:
            case frames.Welcome():
                return self._welcomed(frame, now_ms)
            case frames.Refusal():
                return [effects.Hangup(frame.reason, frame.message, frame.retry_after_ms)]
            case _ if self.phase is not Phase.LINKED:
                return [effects.Hangup("PeerViolation", f"{type(frame).__name__} before Welcome")]
            case frames.HeartbeatAck():
                return []
            case (
                frames.MetricsQuery()
                | frames.WindowQuery()
                | frames.ConfigurationQuery()
                | frames.TopologyQuery()
                | frames.LifecycleQuery()
                | frames.CrashesQuery()
                | frames.RegistryQuery()
            ):
                return [effects.Answer(frame)]
            case frames.StartCapture():
                return self._start(frame)
            case frames.CancelCapture():
                return self._cancel(frame)
            case frames.ArtifactAck():
                return self._acked(frame)
            case frames.EventAck():
                taken = self.events.taken(frame.incarnation, frame.sequence)
                return [effects.EventsTaken()] if taken else []

    def tick(self, now_ms: int) -> Effects:
        """Send the heartbeat that is due; give up on a proxy that has gone silent."""
        if self.phase is Phase.CUT:
            return []
        if now_ms - self._heard_ms > self._patience_ms():
            return [effects.Hangup("ProxySilent", f"nothing heard for {self._patience_ms()} ms")]
        if self.phase is Phase.LINKED and now_ms >= self._next_beat_ms:
            return [self._beat(now_ms)]
        return []

    def awake(self, now_ms: int) -> Effects:
        """Send the heartbeat a little early, as the agent is awake for its readings anyway.

        Each wake-up of its own costs more than the heartbeat. The first one after a welcome is sent
        at once, so that those after it fall into step with the readings.
        """
        if self.phase is not Phase.LINKED or now_ms < self._next_beat_ms - self._early_ms:
            return []
        self._early_ms = self.heartbeat_interval_ms // EARLY_PART
        return [self._beat(now_ms)]

    def next_wake_ms(self) -> int | None:
        """When `tick` has something to do, None while there is no connection."""
        if self.phase is Phase.CUT:
            return None
        silent_ms = self._heard_ms + self._patience_ms() + 1
        return min(self._next_beat_ms, silent_ms) if self.phase is Phase.LINKED else silent_ms

    def _patience_ms(self) -> int:
        if self.phase is Phase.GREETING:
            return WELCOME_TIMEOUT_MS
        return SILENT_INTERVALS * self.heartbeat_interval_ms

    def _welcomed(self, welcome: frames.Welcome, now_ms: int) -> Effects:
        self.phase = Phase.LINKED
        self.agent_id = welcome.agent_id
        # An announced interval of zero or less leaves the agent's own.
        self.heartbeat_interval_ms = max(welcome.heartbeat_interval_ms, 0) or self._own_interval_ms
        self._chunk_bytes = welcome.chunk_bytes or DEFAULT_CHUNK_BYTES
        self._early_ms = self.heartbeat_interval_ms
        self._next_beat_ms = now_ms + self.heartbeat_interval_ms
        return [effects.SendAgentFrame(event) for event in self.events.waiting]

    def _beat(self, now_ms: int) -> effects.SendAgentFrame:
        self._beat_sequence += 1
        self._next_beat_ms = now_ms + self.heartbeat_interval_ms
        news = None if self._state == self._told else self._state
        self._told = self._state
        return effects.SendAgentFrame(frames.Heartbeat(self._beat_sequence, news))

    # ---- what the agent has to say --------------------------------------------

    def state_changed(self, state: frames.NodeState, now_ms: int) -> Effects:
        """Tell a transition at once; figures such as the window's extent ride on the next beat."""
        before, self._state = self._state, state
        only_figures_moved = state == replace(
            before,
            window=state.window,
            artifact_count=state.artifact_count,
            artifact_bytes=state.artifact_bytes,
        )
        if self.phase is Phase.LINKED and not only_figures_moved:
            return [self._beat(now_ms)]
        return []

    def happened(self, event: frames.Event) -> Effects:
        """Tell an event that waits in `events`; without a link it is told with the next one."""
        return [effects.SendAgentFrame(event)] if self.phase is Phase.LINKED else []

    # ---- captures ---------------------------------------------------------------

    def held_command_ids(self) -> tuple[str, ...]:
        """Commands that the agent still answers for."""
        return tuple(self._held)

    def begun(self, command_id: str) -> None:
        """Hold a capture that the agent began by itself, until the proxy asks for it."""
        self._held[command_id] = CommandUpdate(command_id, CommandState.ACCEPTED)
        self._unasked[command_id] = None
        if len(self._unasked) > MAX_UNASKED:
            self.forgotten(next(iter(self._unasked)))

    def forgotten(self, command_id: str) -> None:
        """Hold a capture of the agent's own no more: it had to make room."""
        if command_id in self._unasked:
            del self._unasked[command_id]
            self._held.pop(command_id, None)

    def noted(self, update: CommandUpdate) -> Effects:
        """Take how far a capture has come: told now, and again to a proxy that asks."""
        if update.command_id not in self._held:
            return []  # forgotten meanwhile: the proxy gave up on it
        self._held[update.command_id] = replace(update, elapsed_ms=0)
        return [] if update.command_id in self._unasked else self._tell(update)

    def _tell(self, update: CommandUpdate) -> Effects:
        return [effects.SendAgentFrame(update)] if self.phase is Phase.LINKED else []

    def _start(self, command: frames.StartCapture) -> Effects:
        known = self._held.get(command.command_id)
        if known is not None:
            self._transfers.pop(command.command_id, None)
            self._unasked.pop(command.command_id, None)
            return self._tell(known)
        if is_own_command(command.command_id):
            gone = CommandUpdate(
                command.command_id,
                CommandState.FAILED,
                Reason.NOT_FOUND,
                "the agent holds this capture of its own no more",
            )
            return self._tell(gone)
        capture = CommandUpdate(command.command_id, CommandState.ACCEPTED)
        self._held[command.command_id] = capture
        return [*self._tell(capture), effects.BeginCapture(command)]

    def _cancel(self, cancel: frames.CancelCapture) -> Effects:
        capture = self._held.get(cancel.command_id)
        if capture is None:
            gone = CommandUpdate(cancel.command_id, CommandState.CANCELLED, Reason.CANCELLED)
            return self._tell(gone)
        if capture.state in {CommandState.ACCEPTED, CommandState.RUNNING}:
            return [effects.EndCapture(cancel.command_id, cancel.mode)]
        if cancel.mode is frames.CancelMode.ABORT and capture.state is CommandState.CAPTURED:
            discarded = CommandUpdate(
                cancel.command_id, CommandState.CANCELLED, Reason.ABORTED, "discarded on request"
            )
            self._transfers.pop(cancel.command_id, None)
            return self.noted(discarded)
        return self._tell(capture)

    def _acked(self, ack: frames.ArtifactAck) -> Effects:
        if ack.done:
            self._transfers.pop(ack.command_id, None)
            self._unasked.pop(ack.command_id, None)
            forgotten = self._held.pop(ack.command_id, None)
            return [effects.Forget(ack.command_id)] if forgotten is not None else []
        capture = self._held.get(ack.command_id)
        if capture is None or capture.artifact is None:
            return []
        transfer = self._transfers.get(ack.command_id)
        # The first ack of a connection says where to begin; one that repeats the
        # last is the receiver's way to ask for the bytes after it again.
        if transfer is None or ack.received_bytes <= transfer.acked_bytes:
            transfer = _Transfer(ack.received_bytes, ack.received_bytes)
            self._transfers[ack.command_id] = transfer
        transfer.acked_bytes = ack.received_bytes
        return self._chunks(transfer, ack, capture.artifact.size_bytes)

    def _chunks(self, transfer: _Transfer, ack: frames.ArtifactAck, size_bytes: int) -> Effects:
        limit = min(ack.received_bytes + ack.credit_bytes, size_bytes)
        asked: Effects = []
        while transfer.sent_bytes < limit:
            length = min(self._chunk_bytes, limit - transfer.sent_bytes)
            asked.append(effects.SendChunk(ack.command_id, transfer.sent_bytes, length))
            transfer.sent_bytes += length
        return asked
