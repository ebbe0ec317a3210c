# SPDX-License-Identifier: Apache-2.0
"""What a session asks its shell to do; a session never does anything itself."""

from typing import TypeAlias

from fodc_protocol.lean import dataclass
from fodc_protocol.link import frames


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection; wait at least `retry_after_ms` before the next one."""

    reason: str
    message: str
    retry_after_ms: int = 0


# ---- asked by the agent's side --------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendAgentFrame:
    """Put this frame on the wire."""

    frame: frames.AgentFrame


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer this query with frames of its query_id; a cut makes it void."""

    query: frames.Query


@dataclass(frozen=True, slots=True)
class BeginCapture:
    """Start this capture; report each step with `noted`."""

    command: frames.StartCapture


@dataclass(frozen=True, slots=True)
class EndCapture:
    """End this running capture; report its end with `noted`."""

    command_id: str
    mode: frames.CancelMode


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Read `length_bytes` at `offset` from the spool and send them as ArtifactChunk."""

    command_id: str
    offset: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody needs the outcome of this command any more: drop it from the spool."""

    command_id: str


@dataclass(frozen=True, slots=True)
class EventsTaken:
    """Events were acknowledged and wait no more: the spool may let go of them."""


AgentEffect: TypeAlias = (
    SendAgentFrame | Answer | BeginCapture | EndCapture | SendChunk | Forget | EventsTaken | Hangup
)

# ---- asked by the proxy's side --------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendProxyFrame:
    """Put this frame on the wire; when that fails, nothing is lost."""

    frame: frames.ProxyFrame


@dataclass(frozen=True, slots=True)
class Append:
    """Append these bytes to the partial artifact of this command."""

    command_id: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """All bytes are there: verify and store; report with `stored` or `storing_failed`."""

    command_id: str
    artifact: frames.Artifact


@dataclass(frozen=True, slots=True)
class Discard:
    """Drop the partial artifact of this command."""

    command_id: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A command moved; for people who watch."""

    command_id: str
    state: frames.CommandState
    elapsed_ms: int
    received_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A command has its one final outcome: an artifact, or a reason why not."""

    command_id: str
    state: frames.CommandState
    artifact: frames.Artifact | None
    reason: str
    message: str


ProxyEffect: TypeAlias = SendProxyFrame | Append | Commit | Discard | Progressed | Ended
