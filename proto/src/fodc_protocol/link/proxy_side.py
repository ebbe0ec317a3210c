# SPDX-License-Identifier: Apache-2.0
"""The proxy's end of the link: who is let in, and one machine per command.

A command outlives connections.  Its owner calls `linked` when an agent of its pod is there (or at
once, when one is there already), `unlinked` when the stream is gone, `received` for updates and
chunks, and `tick` now and then; each command gives exactly one `Ended`.
"""

import zlib
from dataclasses import replace

from fodc_protocol.errors import Reason
from fodc_protocol.link import effects, frames
from fodc_protocol.link.frames import CommandState

DEFAULT_CREDIT_BYTES = 1024 * 1024
MAX_REPAIRS = 3

Effects = list[effects.ProxyEffect]


def agreed_protocol(hello: frames.Hello) -> int | frames.Refusal:
    """The highest protocol version that both ends speak, or the refusal that says why none."""
    highest = min(hello.protocol_max, frames.PROTOCOL_MAX)
    if highest >= max(hello.protocol_min, frames.PROTOCOL_MIN):
        return highest
    return frames.Refusal(
        "ProtocolMismatch",
        f"agent speaks link protocol {hello.protocol_min} to {hello.protocol_max}, "
        f"this proxy {frames.PROTOCOL_MIN} to {frames.PROTOCOL_MAX}: update the older one",
    )


def released(command_id: str) -> frames.ArtifactAck:
    """What lets an agent forget the end of a command: nobody needs it any more."""
    return frames.ArtifactAck(command_id, 0, 0, done=True)


def answer_to_unknown(frame: frames.CommandUpdate | frames.ArtifactChunk) -> frames.ProxyFrame:
    """What an agent is told that speaks of a command which nobody has open."""
    if isinstance(frame, frames.CommandUpdate) and frame.state <= CommandState.RUNNING:
        return frames.CancelCapture(frame.command_id, frames.CancelMode.ABORT)
    return released(frame.command_id)


class Command:
    """One command that has not ended; its deadline is `now_ms` plus the command's timeout."""

    __slots__ = (
        "_artifact",
        "_cancel",
        "_credit_bytes",
        "_incarnation",
        "_received_bytes",
        "_repairs",
        "_rewinding",
        "_spoken_by",
        "_state",
        "deadline_ms",
        "has_ended",
        "is_committing",
        "order",
    )

    def __init__(
        self,
        order: frames.StartCapture,
        now_ms: int,
        *,
        received_bytes: int = 0,
        credit_bytes: int = DEFAULT_CREDIT_BYTES,
    ) -> None:
        """Open a command; `received_bytes` is what an earlier life of the proxy has got of it."""
        self.order = order
        self.deadline_ms = now_ms + order.timeout_ms
        self.has_ended = False
        # All bytes are there: whether they can be stored decides.
        self.is_committing = False
        self._credit_bytes = credit_bytes
        self._received_bytes = received_bytes
        # The incarnation of the agent that is linked, and of the one that has spoken of this.
        self._incarnation = ""
        self._spoken_by = ""
        self._state = CommandState.ACCEPTED
        self._artifact: frames.Artifact | None = None
        # A gap was reported and the agent has not come back to it yet.
        self._rewinding = False
        self._repairs = 0
        self._cancel: frames.CancelCapture | None = None

    @property
    def id(self) -> str:
        """Id of the command."""
        return self.order.command_id

    # ---- connection ---------------------------------------------------------

    def linked(self, incarnation: str, now_ms: int, *, is_held: bool = False) -> Effects:
        """An agent of the pod is there: ask (again), unless it has lost what it had begun."""
        self._incarnation = incarnation
        if self.is_committing:
            return []  # every byte is here: nothing is asked of the agent any more
        if self._spoken_by and not is_held:
            return self._end(Reason.AGENT_RESTARTED, "the agent was restarted")
        self._rewinding = False
        order = replace(self.order, timeout_ms=max(self.deadline_ms - now_ms, 1))
        asked = self._send(order)
        if self._cancel is not None:
            asked += self._send(self._cancel)
        return asked

    def unlinked(self) -> None:
        """The connection is gone; the command stays open until its deadline."""
        self._incarnation = ""

    def _send(self, frame: frames.ProxyFrame) -> Effects:
        return [effects.SendProxyFrame(frame)] if self._incarnation else []

    # ---- what the owner asks ------------------------------------------------

    def cancel(self, mode: frames.CancelMode) -> Effects:
        """Ask the agent to end it; repeated after a cut."""
        if self.is_committing:
            return []
        self._cancel = frames.CancelCapture(self.id, mode)
        return self._send(self._cancel)

    def abandon(self, reason: str, message: str) -> Effects:
        """End it from this side, whatever the agent does."""
        abort = frames.CancelCapture(self.id, frames.CancelMode.ABORT)
        return [*self._send(abort), *self._end(reason, message)]

    def tick(self, now_ms: int) -> Effects:
        """End it when its deadline has passed."""
        if now_ms < self.deadline_ms or self.is_committing:
            return []
        return self.abandon(Reason.DEADLINE_EXCEEDED, self._lateness())

    def _lateness(self) -> str:
        if not self._incarnation:
            return "the agent was not connected when the deadline passed"
        if self._artifact is not None:
            got, size = self._received_bytes, self._artifact.size_bytes
            return f"{got} of {size} bytes had arrived when the deadline passed"
        return f"the capture was {self._state.name.lower()} when the deadline passed"

    # ---- what the agent says ------------------------------------------------

    def received(self, frame: frames.CommandUpdate | frames.ArtifactChunk) -> Effects:
        """React to an update or to bytes of this command."""
        self._spoken_by = self._incarnation
        if self.is_committing:
            return []
        match frame:
            case frames.CommandUpdate():
                return self._updated(frame)
            case frames.ArtifactChunk():
                return self._chunk(frame)

    def _updated(self, update: frames.CommandUpdate) -> Effects:
        self._state = update.state
        match update.state:
            case CommandState.ACCEPTED | CommandState.RUNNING:
                return [self._progress(update.elapsed_ms)]
            case CommandState.CAPTURED:
                return self._captured(update)
            case CommandState.FAILED | CommandState.CANCELLED:
                ended = self._end(update.reason, update.message, state=update.state)
                return [*ended, *self._send(released(self.id))]

    def _captured(self, update: frames.CommandUpdate) -> Effects:
        artifact = update.artifact
        if artifact is None:
            return self.abandon(Reason.NODE_ERROR, "captured without an artifact")
        limit = self.order.max_bytes
        if 0 < limit < artifact.size_bytes:
            message = f"{artifact.size_bytes} bytes are more than the limit of {limit}"
            return self.abandon(Reason.TOO_LARGE, message)
        discarded: Effects = []
        known = self._artifact
        changed = known is not None and known.sha256 != artifact.sha256
        if changed or self._received_bytes > artifact.size_bytes:
            self._received_bytes = 0
            discarded = [effects.Discard(self.id)]
        self._artifact = artifact
        self._rewinding = False
        return [*discarded, self._progress(update.elapsed_ms), *self._go_on()]

    def _go_on(self) -> Effects:
        """Commit when all bytes are there, else say how far they are."""
        artifact = self._artifact
        if artifact is not None and self._received_bytes >= artifact.size_bytes:
            self.is_committing = True
            return [effects.Commit(self.id, artifact)]
        return self._send(frames.ArtifactAck(self.id, self._received_bytes, self._credit_bytes))

    def _chunk(self, chunk: frames.ArtifactChunk) -> Effects:
        end = chunk.offset + len(chunk.data)
        if self._artifact is None or end <= self._received_bytes:
            return []
        intact = end <= self._artifact.size_bytes and zlib.crc32(chunk.data) == chunk.crc32
        if chunk.offset != self._received_bytes or not intact:
            return self._repair(intact=intact)
        self._rewinding = False
        self._received_bytes = end
        append = effects.Append(self.id, chunk.offset, chunk.data)
        return [append, self._progress(0), *self._go_on()]

    def _repair(self, *, intact: bool) -> Effects:
        """Ask once for the bytes after the last good one; give up on a line that keeps garbling."""
        if not intact:
            self._repairs += 1
            self._rewinding = False
        if self._repairs > MAX_REPAIRS:
            message = f"{self._repairs} chunks arrived damaged"
            return self.abandon(Reason.CHECKSUM_MISMATCH, message)
        if self._rewinding:
            return []
        self._rewinding = True
        return self._go_on()

    # ---- what the store says ------------------------------------------------

    def stored(self) -> Effects:
        """The artifact is verified and committed: the command has ended well."""
        self.has_ended = True
        ended = effects.Ended(self.id, CommandState.CAPTURED, self._artifact, "", "")
        return [ended, *self._send(released(self.id))]

    def storing_failed(self, reason: str, message: str) -> Effects:
        """The bytes could not be kept or are not what the agent promised.

        A first checksum mismatch fetches the artifact again, anything else ends the command.
        """
        self.is_committing = False
        if reason == Reason.CHECKSUM_MISMATCH and self._repairs == 0:
            self._repairs += 1
            self._received_bytes = 0
            return [effects.Discard(self.id), *self._go_on()]
        return [*self._end(reason, message), *self._send(released(self.id))]

    def _progress(self, elapsed_ms: int) -> effects.Progressed:
        size_bytes = self._artifact.size_bytes if self._artifact is not None else 0
        return effects.Progressed(
            self.id, self._state, elapsed_ms, self._received_bytes, size_bytes
        )

    def _end(
        self, reason: str, message: str, *, state: CommandState = CommandState.FAILED
    ) -> Effects:
        self.has_ended = True
        return [
            effects.Discard(self.id),
            effects.Ended(self.id, state, None, reason, message),
        ]
