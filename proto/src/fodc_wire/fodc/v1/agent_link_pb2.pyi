# SPDX-License-Identifier: Apache-2.0
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentFrame(_message.Message):
    __slots__ = ("hello", "heartbeat", "metrics_page", "window_part", "configuration", "query_failed", "command_update", "artifact_chunk", "event", "evidence")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    METRICS_PAGE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_PART_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    QUERY_FAILED_FIELD_NUMBER: _ClassVar[int]
    COMMAND_UPDATE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    metrics_page: MetricsPage
    window_part: WindowPart
    configuration: Configuration
    query_failed: QueryFailed
    command_update: CommandUpdate
    artifact_chunk: ArtifactChunk
    event: Event
    evidence: Evidence
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., metrics_page: _Optional[_Union[MetricsPage, _Mapping]] = ..., window_part: _Optional[_Union[WindowPart, _Mapping]] = ..., configuration: _Optional[_Union[Configuration, _Mapping]] = ..., query_failed: _Optional[_Union[QueryFailed, _Mapping]] = ..., command_update: _Optional[_Union[CommandUpdate, _Mapping]] = ..., artifact_chunk: _Optional[_Union[ArtifactChunk, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ...) -> None: ...

class ProxyFrame(_message.Message):
    __slots__ = ("welcome", "refusal", "heartbeat_ack", "metrics_query", "window_query", "configuration_query", "start_capture", "cancel_capture", "artifact_ack", "event_ack", "topology_query", "lifecycle_query", "crashes_query", "registry_query")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_ACK_FIELD_NUMBER: _ClassVar[int]
    METRICS_QUERY_FIELD_NUMBER: _ClassVar[int]
    WINDOW_QUERY_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_QUERY_FIELD_NUMBER: _ClassVar[int]
    START_CAPTURE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_CAPTURE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_ACK_FIELD_NUMBER: _ClassVar[int]
    EVENT_ACK_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_QUERY_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_QUERY_FIELD_NUMBER: _ClassVar[int]
    CRASHES_QUERY_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_QUERY_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    refusal: Refusal
    heartbeat_ack: HeartbeatAck
    metrics_query: MetricsQuery
    window_query: WindowQuery
    configuration_query: ConfigurationQuery
    start_capture: StartCapture
    cancel_capture: CancelCapture
    artifact_ack: ArtifactAck
    event_ack: EventAck
    topology_query: TopologyQuery
    lifecycle_query: LifecycleQuery
    crashes_query: CrashesQuery
    registry_query: RegistryQuery
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., heartbeat_ack: _Optional[_Union[HeartbeatAck, _Mapping]] = ..., metrics_query: _Optional[_Union[MetricsQuery, _Mapping]] = ..., window_query: _Optional[_Union[WindowQuery, _Mapping]] = ..., configuration_query: _Optional[_Union[ConfigurationQuery, _Mapping]] = ..., start_capture: _Optional[_Union[StartCapture, _Mapping]] = ..., cancel_capture: _Optional[_Union[CancelCapture, _Mapping]] = ..., artifact_ack: _Optional[_Union[ArtifactAck, _Mapping]] = ..., event_ack: _Optional[_Union[EventAck, _Mapping]] = ..., topology_query: _Optional[_Union[TopologyQuery, _Mapping]] = ..., lifecycle_query: _Optional[_Union[LifecycleQuery, _Mapping]] = ..., crashes_query: _Optional[_Union[CrashesQuery, _Mapping]] = ..., registry_query: _Optional[_Union[RegistryQuery, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_min", "protocol_max", "agent_version", "identity", "incarnation", "state", "held_command_ids")
    PROTOCOL_MIN_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAX_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HELD_COMMAND_IDS_FIELD_NUMBER: _ClassVar[int]
    protocol_min: int
    protocol_max: int
    agent_version: str
    identity: Identity
    incarnation: str
    state: NodeState
    held_command_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol_min: _Optional[int] = ..., protocol_max: _Optional[int] = ..., agent_version: _Optional[str] = ..., identity: _Optional[_Union[Identity, _Mapping]] = ..., incarnation: _Optional[str] = ..., state: _Optional[_Union[NodeState, _Mapping]] = ..., held_command_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("pod_name", "namespace", "pod_uid", "kubernetes_node", "cluster", "container_names", "addresses")
    POD_NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    KUBERNETES_NODE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_NAMES_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    pod_name: str
    namespace: str
    pod_uid: str
    kubernetes_node: str
    cluster: str
    container_names: _containers.RepeatedScalarFieldContainer[str]
    addresses: _containers.RepeatedCompositeFieldContainer[Address]
    def __init__(self, pod_name: _Optional[str] = ..., namespace: _Optional[str] = ..., pod_uid: _Optional[str] = ..., kubernetes_node: _Optional[str] = ..., cluster: _Optional[str] = ..., container_names: _Optional[_Iterable[str]] = ..., addresses: _Optional[_Iterable[_Union[Address, _Mapping]]] = ...) -> None: ...

class Address(_message.Message):
    __slots__ = ("name", "host", "port")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    name: str
    host: str
    port: int
    def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class NodeState(_message.Message):
    __slots__ = ("node_role", "labels", "capabilities", "window", "configuration_hash", "artifact_count", "artifact_bytes", "conditions")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ROLE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_HASH_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_COUNT_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    node_role: str
    labels: _containers.ScalarMap[str, str]
    capabilities: _containers.RepeatedCompositeFieldContainer[Capability]
    window: WindowExtent
    configuration_hash: str
    artifact_count: int
    artifact_bytes: int
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, node_role: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., capabilities: _Optional[_Iterable[_Union[Capability, _Mapping]]] = ..., window: _Optional[_Union[WindowExtent, _Mapping]] = ..., configuration_hash: _Optional[str] = ..., artifact_count: _Optional[int] = ..., artifact_bytes: _Optional[int] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class Capability(_message.Message):
    __slots__ = ("kind", "state", "reason", "message")
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    state: str
    reason: str
    message: str
    def __init__(self, kind: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("type", "reason", "message")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    type: str
    reason: str
    message: str
    def __init__(self, type: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class WindowExtent(_message.Message):
    __slots__ = ("oldest_ms", "newest_ms", "series", "bytes")
    OLDEST_MS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_MS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    oldest_ms: int
    newest_ms: int
    series: int
    bytes: int
    def __init__(self, oldest_ms: _Optional[int] = ..., newest_ms: _Optional[int] = ..., series: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "agent_id", "heartbeat_interval_ms", "proxy_version", "proxy_incarnation", "chunk_bytes")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    PROXY_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROXY_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    agent_id: str
    heartbeat_interval_ms: int
    proxy_version: str
    proxy_incarnation: str
    chunk_bytes: int
    def __init__(self, protocol: _Optional[int] = ..., agent_id: _Optional[str] = ..., heartbeat_interval_ms: _Optional[int] = ..., proxy_version: _Optional[str] = ..., proxy_incarnation: _Optional[str] = ..., chunk_bytes: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "message", "retry_after_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    retry_after_ms: int
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sequence", "state")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    state: NodeState
    def __init__(self, sequence: _Optional[int] = ..., state: _Optional[_Union[NodeState, _Mapping]] = ...) -> None: ...

class HeartbeatAck(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class MetricsQuery(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    def __init__(self, query_id: _Optional[int] = ...) -> None: ...

class MetricsPage(_message.Message):
    __slots__ = ("query_id", "collected_at_ms", "families", "last")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    collected_at_ms: int
    families: _containers.RepeatedCompositeFieldContainer[Family]
    last: bool
    def __init__(self, query_id: _Optional[int] = ..., collected_at_ms: _Optional[int] = ..., families: _Optional[_Iterable[_Union[Family, _Mapping]]] = ..., last: _Optional[bool] = ...) -> None: ...

class Family(_message.Message):
    __slots__ = ("name", "type", "help", "text", "samples")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: int
    help: str
    text: bytes
    samples: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[int] = ..., help: _Optional[str] = ..., text: _Optional[bytes] = ..., samples: _Optional[int] = ...) -> None: ...

class WindowQuery(_message.Message):
    __slots__ = ("query_id", "start_ms", "end_ms")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    start_ms: int
    end_ms: int
    def __init__(self, query_id: _Optional[int] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ...) -> None: ...

class WindowPart(_message.Message):
    __slots__ = ("query_id", "schema_id", "series", "timestamps_ms", "values", "last")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_ID_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMPS_MS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    schema_id: int
    series: _containers.RepeatedCompositeFieldContainer[WindowSeries]
    timestamps_ms: _containers.RepeatedScalarFieldContainer[int]
    values: bytes
    last: bool
    def __init__(self, query_id: _Optional[int] = ..., schema_id: _Optional[int] = ..., series: _Optional[_Iterable[_Union[WindowSeries, _Mapping]]] = ..., timestamps_ms: _Optional[_Iterable[int]] = ..., values: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...

class WindowSeries(_message.Message):
    __slots__ = ("name", "labels", "type", "help")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    type: int
    help: str
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., type: _Optional[int] = ..., help: _Optional[str] = ...) -> None: ...

class ConfigurationQuery(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    def __init__(self, query_id: _Optional[int] = ...) -> None: ...

class Configuration(_message.Message):
    __slots__ = ("query_id", "epoch", "hash", "collected_at_ms", "entries", "conditions")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    epoch: int
    hash: str
    collected_at_ms: int
    entries: _containers.RepeatedCompositeFieldContainer[ConfigurationEntry]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, query_id: _Optional[int] = ..., epoch: _Optional[int] = ..., hash: _Optional[str] = ..., collected_at_ms: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[ConfigurationEntry, _Mapping]]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class ConfigurationEntry(_message.Message):
    __slots__ = ("name", "value", "source", "redacted")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    source: str
    redacted: bool
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., source: _Optional[str] = ..., redacted: _Optional[bool] = ...) -> None: ...

class TopologyQuery(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    def __init__(self, query_id: _Optional[int] = ...) -> None: ...

class LifecycleQuery(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    def __init__(self, query_id: _Optional[int] = ...) -> None: ...

class CrashesQuery(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    def __init__(self, query_id: _Optional[int] = ...) -> None: ...

class RegistryQuery(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    def __init__(self, query_id: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("query_id", "data", "whole", "last")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    data: bytes
    whole: bool
    last: bool
    def __init__(self, query_id: _Optional[int] = ..., data: _Optional[bytes] = ..., whole: _Optional[bool] = ..., last: _Optional[bool] = ...) -> None: ...

class QueryFailed(_message.Message):
    __slots__ = ("query_id", "reason", "message")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    query_id: int
    reason: str
    message: str
    def __init__(self, query_id: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class StartCapture(_message.Message):
    __slots__ = ("command_id", "profile", "duration_ms", "timeout_ms", "gc", "max_bytes", "request_id", "end_ms", "span_ms")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GC_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    SPAN_MS_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    profile: str
    duration_ms: int
    timeout_ms: int
    gc: bool
    max_bytes: int
    request_id: str
    end_ms: int
    span_ms: int
    def __init__(self, command_id: _Optional[str] = ..., profile: _Optional[str] = ..., duration_ms: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., gc: _Optional[bool] = ..., max_bytes: _Optional[int] = ..., request_id: _Optional[str] = ..., end_ms: _Optional[int] = ..., span_ms: _Optional[int] = ...) -> None: ...

class CancelCapture(_message.Message):
    __slots__ = ("command_id", "mode")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[CancelCapture.Mode]
        MODE_STOP: _ClassVar[CancelCapture.Mode]
        MODE_ABORT: _ClassVar[CancelCapture.Mode]
    MODE_UNSPECIFIED: CancelCapture.Mode
    MODE_STOP: CancelCapture.Mode
    MODE_ABORT: CancelCapture.Mode
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    mode: CancelCapture.Mode
    def __init__(self, command_id: _Optional[str] = ..., mode: _Optional[_Union[CancelCapture.Mode, str]] = ...) -> None: ...

class CommandUpdate(_message.Message):
    __slots__ = ("command_id", "state", "reason", "message", "elapsed_ms", "artifact")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[CommandUpdate.State]
        STATE_ACCEPTED: _ClassVar[CommandUpdate.State]
        STATE_RUNNING: _ClassVar[CommandUpdate.State]
        STATE_CAPTURED: _ClassVar[CommandUpdate.State]
        STATE_FAILED: _ClassVar[CommandUpdate.State]
        STATE_CANCELLED: _ClassVar[CommandUpdate.State]
    STATE_UNSPECIFIED: CommandUpdate.State
    STATE_ACCEPTED: CommandUpdate.State
    STATE_RUNNING: CommandUpdate.State
    STATE_CAPTURED: CommandUpdate.State
    STATE_FAILED: CommandUpdate.State
    STATE_CANCELLED: CommandUpdate.State
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    state: CommandUpdate.State
    reason: str
    message: str
    elapsed_ms: int
    artifact: Artifact
    def __init__(self, command_id: _Optional[str] = ..., state: _Optional[_Union[CommandUpdate.State, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., elapsed_ms: _Optional[int] = ..., artifact: _Optional[_Union[Artifact, _Mapping]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("profile", "format", "size_bytes", "sha256", "samples", "started_at_ms", "finished_at_ms", "truncated", "warnings")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    profile: str
    format: str
    size_bytes: int
    sha256: str
    samples: int
    started_at_ms: int
    finished_at_ms: int
    truncated: bool
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, profile: _Optional[str] = ..., format: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., samples: _Optional[int] = ..., started_at_ms: _Optional[int] = ..., finished_at_ms: _Optional[int] = ..., truncated: _Optional[bool] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class ArtifactChunk(_message.Message):
    __slots__ = ("command_id", "offset", "data", "crc32")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    offset: int
    data: bytes
    crc32: int
    def __init__(self, command_id: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32: _Optional[int] = ...) -> None: ...

class ArtifactAck(_message.Message):
    __slots__ = ("command_id", "received_bytes", "credit_bytes", "done")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    received_bytes: int
    credit_bytes: int
    done: bool
    def __init__(self, command_id: _Optional[str] = ..., received_bytes: _Optional[int] = ..., credit_bytes: _Optional[int] = ..., done: _Optional[bool] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("sequence", "occurred_at_ms", "kind", "message", "fields", "incarnation", "gap")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    occurred_at_ms: int
    kind: str
    message: str
    fields: _containers.ScalarMap[str, str]
    incarnation: str
    gap: int
    def __init__(self, sequence: _Optional[int] = ..., occurred_at_ms: _Optional[int] = ..., kind: _Optional[str] = ..., message: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ..., incarnation: _Optional[str] = ..., gap: _Optional[int] = ...) -> None: ...

class EventAck(_message.Message):
    __slots__ = ("sequence", "incarnation")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    incarnation: str
    def __init__(self, sequence: _Optional[int] = ..., incarnation: _Optional[str] = ...) -> None: ...
