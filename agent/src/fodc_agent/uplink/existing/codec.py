# SPDX-License-Identifier: Apache-2.0
"""Messages of banyandb.fodc.v1 as bytes.

The one idea of the metrics part: of a sample only value and time change, so name, labels, help and
type are encoded once per series and the rest is put behind them; order of fields does not matter
on the wire, and protobuf messages may be joined by joining their bytes.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from fodc_protocol.metrics.samples import Series
from fodc_protocol.protobuf import varint
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

_SERVICE: Final = "/banyandb.fodc.v1.FODCService/"
REGISTER: Final = _SERVICE + "RegisterAgent"
METRICS: Final = _SERVICE + "StreamMetrics"
TOPOLOGY: Final = _SERVICE + "StreamClusterTopology"
LIFECYCLE: Final = _SERVICE + "StreamLifecycle"
CRASH: Final = _SERVICE + "StreamCrashDiagnostics"
PRESSURE: Final = _SERVICE + "StreamPressureProfiles"
SCHEMA: Final = _SERVICE + "StreamSchemaRegistry"

_METRICS_FIELD: Final = b"\x0a"  # StreamMetricsRequest.metrics = 1, with a length
_TIME_FIELD: Final = b"\x12"  # StreamMetricsRequest.timestamp = 2, with a length
_VALUE_FIELD: Final = b"\x19"  # Metric.value = 3, eight bytes
_SAMPLE_TIME_FIELD: Final = b"\x2a"  # Metric.timestamp = 5, with a length
_double: Final = struct.Struct("<d").pack


class MalformedMessageError(Exception):
    """The bytes are not the message that belongs on this stream."""


# ---- registration -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registered:
    """The proxy's reply; an interval of zero or less leaves the agent's own."""

    success: bool
    message: str
    heartbeat_interval_s: int
    agent_id: str


def registration(
    role: str, labels: Mapping[str, str], pod_name: str, container_names: Sequence[str]
) -> bytes:
    """Return the registration, which is the heartbeat as well."""
    return pb.RegisterAgentRequest(
        node_role=role, labels=labels, pod_name=pod_name, container_names=container_names
    ).SerializeToString(deterministic=True)


def registered(data: bytes) -> Registered:
    """Read the proxy's reply."""
    reply = _parsed(pb.RegisterAgentResponse(), data)
    return Registered(
        reply.success, reply.message, reply.heartbeat_interval_seconds, reply.agent_id
    )


# ---- metrics ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetricsCommand:
    """What the proxy wants: the latest values, or all between two times (either may be open)."""

    start_ms: int | None
    end_ms: int | None

    @property
    def latest(self) -> bool:
        """Whether the newest values are asked for."""
        return self.start_ms is None and self.end_ms is None


def metrics_command(data: bytes) -> MetricsCommand:
    """Read a command of the metrics stream."""
    wire = _parsed(pb.StreamMetricsResponse(), data)
    start_ms = wire.start_time.ToMilliseconds() if wire.HasField("start_time") else None
    end_ms = wire.end_time.ToMilliseconds() if wire.HasField("end_time") else None
    return MetricsCommand(start_ms, end_ms)


def metric_of(series: Series) -> bytes:
    """Return a Metric without value and time."""
    return pb.Metric(
        name=series.name,
        labels=dict(series.labels),
        description=series.help,
        type=pb.MetricType.Name(series.type),
    ).SerializeToString()


def sample_of(metric: bytes, value: float, sample_time: bytes = b"") -> bytes:
    """Return one entry of an answer; `sample_time` as `time_of` gives it, none for "latest"."""
    tail = _VALUE_FIELD + _double(value)
    if sample_time:
        tail += _SAMPLE_TIME_FIELD + varint(len(sample_time)) + sample_time
    return _METRICS_FIELD + varint(len(metric) + len(tail)) + metric + tail


def time_of(at_ms: int) -> bytes:
    """Return a Timestamp message."""
    return _timestamp(at_ms).SerializeToString()


def answer_time(at_ms: int) -> bytes:
    """Return the end of an answer: the time at which it was given."""
    stamp = time_of(at_ms)
    return _TIME_FIELD + varint(len(stamp)) + stamp


def _timestamp(at_ms: int) -> Timestamp:
    seconds, rest_ms = divmod(at_ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest_ms * 1_000_000)


# ---- the other five -------------------------------------------------------------------------


def wants_topology(data: bytes) -> bool:
    """Say whether a topology command asks for something; a false flag does not."""
    return bool(_parsed(pb.StreamClusterTopologyResponse(), data).request_topology)


def no_topology(at_ms: int) -> bytes:
    """Return a snapshot without nodes."""
    answer = pb.StreamClusterTopologyRequest(timestamp=_timestamp(at_ms), topology=pb.Topology())
    return answer.SerializeToString()


def wants_lifecycle(data: bytes) -> bool:
    """Say whether a lifecycle command asks for something."""
    return bool(_parsed(pb.StreamLifecycleResponse(), data).request_lifecycle)


def no_lifecycle(at_ms: int, pod_name: str) -> bytes:
    """Return lifecycle data without groups and reports."""
    answer = pb.StreamLifecycleRequest(
        timestamp=_timestamp(at_ms), pod_name=pod_name, lifecycle_data=pb.LifecycleData()
    )
    return answer.SerializeToString()


def schema_answer(data: bytes) -> tuple[bytes, ...]:
    """Answer a schema command: no groups, done."""
    if not _parsed(pb.StreamSchemaRegistryResponse(), data).request_registry:
        return ()
    return (pb.StreamSchemaRegistryRequest(done=True).SerializeToString(),)


def wants_crashes(data: bytes) -> bool:
    """Say whether a crash command asks for something; empty ones are sent too."""
    return bool(_parsed(pb.StreamCrashDiagnosticsResponse(), data).request_diagnostics)


def pressure_answer(data: bytes) -> tuple[bytes, ...]:
    """Answer a pressure command: an empty list that is complete, or "no such profile"."""
    wire = _parsed(pb.StreamPressureProfilesResponse(), data)
    match wire.WhichOneof("command"):
        case "list_profiles":
            complete = pb.ListComplete(request_id=wire.list_profiles.request_id)
            answer = pb.StreamPressureProfilesRequest(list_complete=complete)
        case "fetch_profile":
            wanted = wire.fetch_profile
            chunk = pb.PressureProfileChunk(
                request_id=wanted.request_id,
                profile_id=wanted.profile_id,
                type=wanted.type,
                last=True,
                error=f"no pressure profile {wanted.profile_id!r} on this agent",
            )
            answer = pb.StreamPressureProfilesRequest(chunk=chunk)
        case _:
            return ()
    return (answer.SerializeToString(),)


_M = TypeVar("_M", bound=Message)


def _parsed(message: _M, data: bytes) -> _M:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        name = type(message).__name__
        raise MalformedMessageError(f"{len(data)} bytes are no {name}: {error}") from error
    return message
