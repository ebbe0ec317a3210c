# SPDX-License-Identifier: Apache-2.0
"""Messages of banyandb.fodc.v1 as bytes, field by field as in rpc.proto.

The one idea of the metrics part: of a sample only value and time change, so name, labels, help and
type are encoded once per series and the rest is put behind them; order of fields does not matter
on the wire, and protobuf messages may be joined by joining their bytes. The tests compare every
message with the generated classes, whose runtime would be 4 MiB.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from fodc_agent.occurrences.pressure_profiles import ListedPressure
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Series
from fodc_protocol.protobuf import (
    Fields,
    WireError,
    blob,
    message,
    messages,
    number,
    text,
    text_map,
    texts,
    varint,
)

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
    sorted_labels = dict(sorted(labels.items()))
    return (
        text(1, role) + text_map(2, sorted_labels) + text(4, pod_name) + texts(5, container_names)
    )


def registered(data: bytes) -> Registered:
    """Read the proxy's reply; raises MalformedMessageError."""
    with _reading("RegisterAgentResponse", data):
        reply = Fields(data)
        return Registered(bool(reply.number(1)), reply.text(2), reply.signed(3), reply.text(4))


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
    """Read a command of the metrics stream; raises MalformedMessageError."""
    with _reading("StreamMetricsResponse", data):
        command = Fields(data)
        return MetricsCommand(_time_ms(command, 1), _time_ms(command, 2))


def _time_ms(command: Fields, field: int) -> int | None:
    if not command.has(field):
        return None
    stamp = Fields(command.blob(field))
    return stamp.signed(1) * 1000 + stamp.signed(2) // 1_000_000


def metric_of(series: Series) -> bytes:
    """Return a Metric without value and time."""
    labels = [
        _field(
            b"\x12",
            _field(b"\x0a", name.encode("utf-8", "replace"))
            + _field(b"\x12", value.encode("utf-8", "replace")),
        )
        for name, value in series.labels
    ]
    name, description = (
        series.name.encode("utf-8", "replace"),
        series.help.encode("utf-8", "replace"),
    )
    head = _field(b"\x0a", name) + _field(b"\x22", description)
    return b"".join((head, *labels, number(6, series.type)))


def _field(tag: bytes, data: bytes) -> bytes:
    """Return a field with a length; thousands of them are written for each answer."""
    size = len(data)
    return b"%b%c%b" % (tag, size, data) if size < 128 else tag + varint(size) + data


def sample_of(metric: bytes, value: float, sample_time: bytes | None = None) -> bytes:
    """Return one entry of an answer; `sample_time` as `time_of` gives it, none for "latest"."""
    tail = _VALUE_FIELD + _double(value)
    if sample_time is not None:
        tail += _SAMPLE_TIME_FIELD + varint(len(sample_time)) + sample_time
    return _METRICS_FIELD + varint(len(metric) + len(tail)) + metric + tail


def time_of(at_ms: int) -> bytes:
    """Return a Timestamp message."""
    seconds, rest_ms = divmod(at_ms, 1000)
    return number(1, seconds) + number(2, rest_ms * 1_000_000)


def answer_time(at_ms: int) -> bytes:
    """Return the end of an answer: the time at which it was given."""
    stamp = time_of(at_ms)
    return _TIME_FIELD + varint(len(stamp)) + stamp


# ---- the other five -------------------------------------------------------------------------


def wants_topology(data: bytes) -> bool:
    """Say whether a topology command asks for something; a false flag does not."""
    return _flag("StreamClusterTopologyResponse", data)


def no_topology(at_ms: int) -> bytes:
    """Return a snapshot without nodes."""
    return message(1, time_of(at_ms)) + message(2, b"")


def wants_lifecycle(data: bytes) -> bool:
    """Say whether a lifecycle command asks for something."""
    return _flag("StreamLifecycleResponse", data)


def no_lifecycle(at_ms: int, pod_name: str) -> bytes:
    """Return lifecycle data without groups and reports."""
    return message(1, time_of(at_ms)) + text(2, pod_name) + message(3, b"")


def wants_registry(data: bytes) -> bool:
    """Say whether a schema command asks for something."""
    return _flag("StreamSchemaRegistryResponse", data)


def no_registry(problem: str) -> tuple[bytes, ...]:
    """Return why there is no registry to tell, and the end."""
    return message(1, text(3, problem)), number(2, 1)


def wants_crashes(data: bytes) -> bool:
    """Say whether a crash command asks for something; empty ones are sent too."""
    return _flag("StreamCrashDiagnosticsResponse", data)


@dataclass(frozen=True, slots=True)
class ListPressures:
    """Asks for all events at which memory was short."""

    request_id: str


@dataclass(frozen=True, slots=True)
class FetchPressure:
    """Asks for the bytes of one profile of such an event."""

    request_id: str
    profile_id: str
    kind: str


def pressure_command(data: bytes) -> ListPressures | FetchPressure | None:
    """Read a pressure command; None for an empty one."""
    with _reading("StreamPressureProfilesResponse", data):
        match Fields(data).one_of():
            case (1, bytes(body)):
                return ListPressures(Fields(body).text(1))
            case (2, bytes(body)):
                wanted = Fields(body)
                return FetchPressure(wanted.text(1), wanted.text(2), wanted.text(3))
            case _:
                return None


def pressure_record(listed: ListedPressure) -> bytes:
    """Return the message of one event."""
    record = listed.record
    profiles = (
        text(1, kind)
        + text(2, f"{kind}.pprof")
        + text(3, f"{record.profile_id}/{kind}.pprof")
        + text(4, "pprof")
        + number(5, size_bytes)
        for kind, size_bytes in listed.sizes_bytes.items()
    )
    told = (
        text(1, record.profile_id)
        + message(2, time_of(record.captured_at_ms))
        + text(3, listed.source_endpoint)
        + number(4, record.rss_bytes)
        + number(5, record.limit_bytes)
        + number(6, record.threshold_percent)
        + number(7, record.threshold_bytes)
        + messages(8, profiles)
    )
    return message(1, told)


def pressures_end(request_id: str) -> bytes:
    """Return the message behind the last event of a list."""
    return message(2, text(1, request_id))


def pressure_chunk(
    wanted: FetchPressure, data: bytes = b"", *, last: bool = False, error: str = ""
) -> bytes:
    """Return bytes of a profile, its end, or why it ends."""
    told = text(1, wanted.request_id) + text(2, wanted.profile_id) + text(3, wanted.kind)
    return message(3, told + blob(4, data) + number(5, last) + text(6, error))


def _flag(name: str, data: bytes) -> bool:
    """Return the only field of a command; raises MalformedMessageError."""
    with _reading(name, data):
        return bool(Fields(data).number(1))


@contextmanager
def _reading(name: str, data: bytes) -> Iterator[None]:
    try:
        yield
    except WireError as error:
        raise MalformedMessageError(f"{len(data)} bytes are no {name}: {error}") from error
