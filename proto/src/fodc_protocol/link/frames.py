# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of the agent link: one frozen class per message of fodc/v1/agent_link.proto.

What a message carries is the domain's own type where there is one: family blocks, series, settings.
Field names, units and meanings are those of the .proto file, which documents
them; the codecs of agent and proxy translate one into the other.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from enum import IntEnum
from typing import TypeAlias

from fodc_protocol.configuration import ConfigEntry
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import Series

PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
MAX_CAPTURES_PER_AGENT = 4
"""So many captures an agent records at a time; it refuses one more as Busy."""

_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Address:
    """Where one service of the node listens."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same for the life of a pod."""

    pod_name: str
    namespace: str = ""
    pod_uid: str = ""
    kubernetes_node: str = ""
    cluster: str = ""
    container_names: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class CapabilityState:
    """Whether one kind of capture or evidence can be had from this node, and why not."""

    kind: str
    state: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One reason why something is less than whole."""

    type: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class WindowExtent:
    """How far back the agent's window reaches."""

    oldest_ms: int
    newest_ms: int
    series: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """What may change while the agent runs."""

    node_role: str
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    capabilities: tuple[CapabilityState, ...] = ()
    window: WindowExtent | None = None
    configuration_hash: str = ""
    artifact_count: int = 0
    artifact_bytes: int = 0
    conditions: tuple[Condition, ...] = ()

    def is_news_after(self, before: "NodeState") -> bool:
        """Say whether more has changed than figures and sentences, which move with every beat."""
        return self is not before and _besides(self, before) != _besides(before, self)


def _besides(one: NodeState, other: NodeState) -> NodeState:
    """Return what is worth telling at once, without lists that both have as one object."""
    conditions = () if one.conditions is other.conditions else one.conditions
    capabilities = () if one.capabilities is other.capabilities else one.capabilities
    return replace(
        one,
        window=None,
        artifact_count=0,
        artifact_bytes=0,
        conditions=tuple(replace(each, message="") for each in conditions),
        capabilities=tuple(replace(each, message="") for each in capabilities),
    )


# ---- what an agent says -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens a connection."""

    protocol_min: int
    protocol_max: int
    agent_version: str
    identity: Identity
    incarnation: str
    state: NodeState
    held_command_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Still here; `state` only when it changed."""

    sequence: int
    state: NodeState | None = None


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """Answer, or a part of it, to a MetricsQuery."""

    query_id: int
    collected_at_ms: int
    families: tuple[FamilyBlock, ...]
    last: bool = True


@dataclass(frozen=True, slots=True)
class WindowPart:
    """Answer, or a part of it, to a WindowQuery; `values` are little-endian doubles."""

    query_id: int
    schema_id: int
    series: tuple[Series, ...]
    timestamps_ms: tuple[int, ...]
    values: bytes
    last: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """Answer to a ConfigurationQuery."""

    query_id: int
    epoch: int
    hash: str
    collected_at_ms: int
    entries: tuple[ConfigEntry, ...]
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """A piece of an answer to a question for evidence."""

    query_id: int
    data: bytes
    whole: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True)
class QueryFailed:
    """A query that has no answer, and why."""

    query_id: int
    reason: str
    message: str


class CommandState(IntEnum):
    """How far a capture has come on the agent; numbers of CommandUpdate.State."""

    ACCEPTED = 1
    RUNNING = 2
    CAPTURED = 3
    FAILED = 4
    CANCELLED = 5


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a capture produced."""

    profile: str
    format: str
    size_bytes: int
    sha256: str
    samples: int
    started_at_ms: int
    finished_at_ms: int
    truncated: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandUpdate:
    """Progress or outcome of one command."""

    command_id: str
    state: CommandState
    reason: str = ""
    message: str = ""
    elapsed_ms: int = 0
    artifact: Artifact | None = None


@dataclass(frozen=True, slots=True)
class ArtifactChunk:
    """Some bytes of an artifact."""

    command_id: str
    offset: int
    data: bytes
    crc32: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, numbered from 1 in each incarnation.

    `incarnation` is the life of the agent in which it happened, `gap` how many events right before
    this one found no room and never come.
    """

    sequence: int
    occurred_at_ms: int
    kind: str
    message: str
    fields: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)
    incarnation: str = ""
    gap: int = 0


# ---- what a proxy says --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """Accepts a Hello."""

    protocol: int
    agent_id: str
    heartbeat_interval_ms: int
    proxy_version: str
    proxy_incarnation: str
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Declines a Hello."""

    reason: str
    message: str
    retry_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class HeartbeatAck:
    """The heartbeat with this number arrived."""

    sequence: int


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    """Asks for the latest values."""

    query_id: int


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """Asks for a stretch of the window."""

    query_id: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class ConfigurationQuery:
    """Asks for the node's configuration."""

    query_id: int


@dataclass(frozen=True, slots=True)
class TopologyQuery:
    """Asks for what the node knows of its cluster."""

    query_id: int


@dataclass(frozen=True, slots=True)
class LifecycleQuery:
    """Asks how groups are stored, and for the newest reports of the migration."""

    query_id: int


@dataclass(frozen=True, slots=True)
class CrashesQuery:
    """Asks for the newest crashes that the node wrote down."""

    query_id: int


@dataclass(frozen=True, slots=True)
class RegistryQuery:
    """Asks a liaison's agent for the registry of schemas."""

    query_id: int


@dataclass(frozen=True, slots=True)
class StartCapture:
    """Asks for a capture, or for the outcome of one that the agent holds."""

    command_id: str
    profile: str
    duration_ms: int
    timeout_ms: int
    gc: bool = False
    max_bytes: int = 0
    request_id: str = ""
    end_ms: int = 0
    span_ms: int = 0


class CancelMode(IntEnum):
    """How a capture is ended; numbers of CancelCapture.Mode."""

    STOP = 1
    ABORT = 2


@dataclass(frozen=True, slots=True)
class CancelCapture:
    """Asks for the end of a capture."""

    command_id: str
    mode: CancelMode


@dataclass(frozen=True, slots=True)
class ArtifactAck:
    """What the proxy has of an artifact, and how far the agent may run ahead."""

    command_id: str
    received_bytes: int
    credit_bytes: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class EventAck:
    """This event and all that were told before it are stored."""

    sequence: int
    incarnation: str = ""


AgentFrame: TypeAlias = (
    Hello
    | Heartbeat
    | MetricsPage
    | WindowPart
    | Configuration
    | QueryFailed
    | CommandUpdate
    | ArtifactChunk
    | Event
    | Evidence
)
ProxyFrame: TypeAlias = (
    Welcome
    | Refusal
    | HeartbeatAck
    | MetricsQuery
    | WindowQuery
    | ConfigurationQuery
    | StartCapture
    | CancelCapture
    | ArtifactAck
    | EventAck
    | TopologyQuery
    | LifecycleQuery
    | CrashesQuery
    | RegistryQuery
)
EvidenceQuery: TypeAlias = TopologyQuery | LifecycleQuery | CrashesQuery | RegistryQuery
Query: TypeAlias = MetricsQuery | WindowQuery | ConfigurationQuery | EvidenceQuery
