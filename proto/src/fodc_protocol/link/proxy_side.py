# SPDX-License-Identifier: Apache-2.0
"""The proxy's end of the link: who is let in, and one book of commands per pod.

A book outlives connections.  The shell calls `linked` after Welcome was sent,
`unlinked` when the stream is gone, `received` for updates and chunks, and `tick`
now and then; each command gives exactly one `Ended`.
"""

import zlib
from dataclasses import dataclass, replace

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


@dataclass(slots=True)
class _Entry:
    """One command that has not ended."""

    command: frames.StartCapture
    deadline_ms: int
    received_bytes: int = 0
    # The incarnation of the agent that has spoken of this command.
    spoken_by: str = ""
    state: CommandState = CommandState.ACCEPTED
    artifact: frames.Artifact | None = None
    committing: bool = False
    # A gap was reported and the agent has not come back to it yet.
    rewinding: bool = False
    repairs: int = 0
    cancel: frames.CancelCapture | None = None


class CommandBook:
    """All open commands of one pod, whoever holds the connection."""

    def __init__(self, *, credit_bytes: int = DEFAULT_CREDIT_BYTES) -> None:
        self._credit_bytes = credit_bytes
        self._entries: dict[str, _Entry] = {}
        self._incarnation = ""
        self._linked = False

    def __len__(self) -> int:
        return len(self._entries)

    def open_commands(self) -> tuple[str, ...]:
        """Ids of the commands that have not ended."""
        return tuple(self._entries)

    # ---- connection ---------------------------------------------------------

    def linked(self, hello: frames.Hello, now_ms: int) -> Effects:
        """An agent of this pod is there: repeat what is open, release what nobody wants."""
        self._linked = True
        self._incarnation = hello.incarnation
        held = frozenset(hello.held_command_ids)
        wanted: Effects = [
            effects.SendProxyFrame(_done(command_id))
            for command_id in hello.held_command_ids
            if command_id not in self._entries
        ]
        for command_id, entry in tuple(self._entries.items()):
            if entry.committing:
                continue  # every byte is here: nothing is asked of the agent any more
            if entry.spoken_by and command_id not in held:
                wanted += self._end(command_id, Reason.AGENT_RESTARTED, "the agent was restarted")
            else:
                wanted += self._repeat(entry, now_ms)
        return wanted

    def unlinked(self) -> None:
        """The connection is gone; commands stay open until their deadline."""
        self._linked = False

    def _repeat(self, entry: _Entry, now_ms: int) -> Effects:
        entry.rewinding = False
        command = replace(
            entry.command,
            resume_offset=entry.received_bytes,
            timeout_ms=max(entry.deadline_ms - now_ms, 1),
        )
        asked = self._send(command)
        if entry.cancel is not None:
            asked += self._send(entry.cancel)
        return asked

    def _send(self, frame: frames.ProxyFrame) -> Effects:
        return [effects.SendProxyFrame(frame)] if self._linked else []

    # ---- what the coordinator asks ----------------------------------------------

    def start(
        self, command: frames.StartCapture, now_ms: int, *, received_bytes: int = 0
    ) -> Effects:
        """Open a command; a second start of the same id changes nothing.

        The deadline is now plus the command's timeout.  `received_bytes` is what an earlier
        life of the proxy has already got of the artifact.
        """
        if command.command_id in self._entries:
            return []
        entry = _Entry(command, now_ms + command.timeout_ms, received_bytes)
        self._entries[command.command_id] = entry
        return self._repeat(entry, now_ms)

    def cancel(self, command_id: str, mode: frames.CancelMode) -> Effects:
        """Ask the agent to end a command; repeated after a cut."""
        entry = self._entries.get(command_id)
        if entry is None or entry.committing:
            return []
        entry.cancel = frames.CancelCapture(command_id, mode)
        return self._send(entry.cancel)

    def abandon(self, command_id: str, reason: str, message: str) -> Effects:
        """End a command from this side, whatever the agent does."""
        entry = self._entries.get(command_id)
        if entry is None:
            return []
        abort = frames.CancelCapture(command_id, frames.CancelMode.ABORT)
        return [*self._send(abort), *self._end(command_id, reason, message)]

    def tick(self, now_ms: int) -> Effects:
        """End what has passed its deadline."""
        late = [c for c, e in self._entries.items() if now_ms >= e.deadline_ms and not e.committing]
        ended: Effects = []
        for command_id in late:
            ended += self.abandon(command_id, Reason.DEADLINE_EXCEEDED, self._lateness(command_id))
        return ended

    def _lateness(self, command_id: str) -> str:
        entry = self._entries[command_id]
        if not self._linked:
            return "the agent was not connected when the deadline passed"
        if entry.artifact is not None:
            got, size = entry.received_bytes, entry.artifact.size_bytes
            return f"{got} of {size} bytes had arrived when the deadline passed"
        return f"the capture was {entry.state.name.lower()} when the deadline passed"

    # ---- what the agent says --------------------------------------------------

    def received(self, frame: frames.CommandUpdate | frames.ArtifactChunk) -> Effects:
        """React to an update or to bytes."""
        entry = self._entries.get(frame.command_id)
        if entry is None:
            return self._unknown(frame)
        entry.spoken_by = self._incarnation
        if entry.committing:
            return []
        match frame:
            case frames.CommandUpdate():
                return self._updated(entry, frame)
            case frames.ArtifactChunk():
                return self._chunk(entry, frame)

    def _unknown(self, frame: frames.CommandUpdate | frames.ArtifactChunk) -> Effects:
        if isinstance(frame, frames.CommandUpdate) and frame.state <= CommandState.RUNNING:
            abort = frames.CancelCapture(frame.command_id, frames.CancelMode.ABORT)
            return self._send(abort)
        return self._send(_done(frame.command_id))

    def _updated(self, entry: _Entry, update: frames.CommandUpdate) -> Effects:
        entry.state = update.state
        match update.state:
            case CommandState.ACCEPTED | CommandState.RUNNING:
                return [self._progress(entry, update.elapsed_ms)]
            case CommandState.CAPTURED:
                return self._captured(entry, update)
            case CommandState.FAILED | CommandState.CANCELLED:
                ended = self._end(
                    update.command_id, update.reason, update.message, state=update.state
                )
                return [*ended, *self._send(_done(update.command_id))]

    def _captured(self, entry: _Entry, update: frames.CommandUpdate) -> Effects:
        artifact = update.artifact
        command_id = update.command_id
        if artifact is None:
            return self.abandon(command_id, Reason.NODE_ERROR, "captured without an artifact")
        if 0 < entry.command.max_bytes < artifact.size_bytes:
            limit = entry.command.max_bytes
            message = f"{artifact.size_bytes} bytes are more than the limit of {limit}"
            return self.abandon(command_id, Reason.TOO_LARGE, message)
        discarded: Effects = []
        known = entry.artifact
        changed = known is not None and known.sha256 != artifact.sha256
        if changed or entry.received_bytes > artifact.size_bytes:
            entry.received_bytes = 0
            discarded = [effects.Discard(command_id)]
        entry.artifact = artifact
        entry.rewinding = False
        return [*discarded, self._progress(entry, update.elapsed_ms), *self._go_on(entry)]

    def _go_on(self, entry: _Entry) -> Effects:
        """Commit when all bytes are there, else say how far they are."""
        artifact = entry.artifact
        command_id = entry.command.command_id
        if artifact is not None and entry.received_bytes >= artifact.size_bytes:
            entry.committing = True
            return [effects.Commit(command_id, artifact)]
        ack = frames.ArtifactAck(command_id, entry.received_bytes, self._credit_bytes)
        return self._send(ack)

    def _chunk(self, entry: _Entry, chunk: frames.ArtifactChunk) -> Effects:
        if entry.artifact is None or chunk.offset + len(chunk.data) <= entry.received_bytes:
            return []
        fits = chunk.offset + len(chunk.data) <= entry.artifact.size_bytes
        intact = fits and zlib.crc32(chunk.data) == chunk.crc32
        if chunk.offset != entry.received_bytes or not intact:
            return self._repair(entry, intact=intact)
        entry.rewinding = False
        entry.received_bytes += len(chunk.data)
        append = effects.Append(chunk.command_id, chunk.offset, chunk.data)
        return [append, self._progress(entry, 0), *self._go_on(entry)]

    def _repair(self, entry: _Entry, *, intact: bool) -> Effects:
        """Ask once for the bytes after the last good one; give up on a line that keeps garbling."""
        if not intact:
            entry.repairs += 1
            entry.rewinding = False
        if entry.repairs > MAX_REPAIRS:
            message = f"{entry.repairs} chunks arrived damaged"
            return self.abandon(entry.command.command_id, Reason.CHECKSUM_MISMATCH, message)
        if entry.rewinding:
            return []
        entry.rewinding = True
        return self._go_on(entry)

    # ---- what the store says ----------------------------------------------------

    def stored(self, command_id: str) -> Effects:
        """The artifact is verified and committed: the command has ended well."""
        entry = self._entries.pop(command_id, None)
        if entry is None:
            return []
        ended = effects.Ended(command_id, CommandState.CAPTURED, entry.artifact, "", "")
        return [ended, *self._send(_done(command_id))]

    def storing_failed(self, command_id: str, reason: str, message: str) -> Effects:
        """The bytes could not be kept or are not what the agent promised.

        A first checksum mismatch fetches the artifact again, anything else ends the command.
        """
        entry = self._entries.get(command_id)
        if entry is None:
            return []
        entry.committing = False
        if reason == Reason.CHECKSUM_MISMATCH and entry.repairs == 0:
            entry.repairs += 1
            entry.received_bytes = 0
            return [effects.Discard(command_id), *self._go_on(entry)]
        ended = self._end(command_id, reason, message)
        return [*ended, *self._send(_done(command_id))]

    def _progress(self, entry: _Entry, elapsed_ms: int) -> effects.Progressed:
        size_bytes = entry.artifact.size_bytes if entry.artifact is not None else 0
        return effects.Progressed(
            entry.command.command_id, entry.state, elapsed_ms, entry.received_bytes, size_bytes
        )

    def _end(
        self,
        command_id: str,
        reason: str,
        message: str,
        *,
        state: CommandState = CommandState.FAILED,
    ) -> Effects:
        del self._entries[command_id]
        return [
            effects.Discard(command_id),
            effects.Ended(command_id, state, None, reason, message),
        ]


def _done(command_id: str) -> frames.ArtifactAck:
    return frames.ArtifactAck(command_id, 0, 0, done=True)
