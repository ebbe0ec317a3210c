# SPDX-License-Identifier: Apache-2.0
"""Messages of the existing contract to and from the wire.

Decoding of metrics, the hottest loop of the proxy, is in `lines`, that of evidence in `evidence`
and `lifecycle`; here are the other messages.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message

from fodc_proxy.wire.bounds import Bound, WireError, dns_name, few, small, word
from fodc_proxy.wire.codec import checked_labels
from fodc_proxy.wire.shared import shared, shared_labels
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb
from fodc_wire.fodc.view.v1 import metrics_pb2 as view

M = TypeVar("M", bound=Message)
_REQUEST_BYTES: Final = 256 * 1024
_LENGTH_DELIMITED: Final = 2
_FIRST_FIELD: Final = 0x0A  # with a length
_LONGEST_VARINT: Final = 70
StreamMetricsRequest: TypeAlias = view.StreamMetricsRequest


# ---- registration -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegisterRequest:
    """First message and each heartbeat of a registration stream."""

    node_role: str
    labels: Mapping[str, str]
    pod_name: str
    container_names: tuple[str, ...]


def decode_register_request(data: bytes) -> RegisterRequest:
    """Return the request; raises WireError for garbage and for a field that breaks its bound."""
    small("request", len(data), _REQUEST_BYTES)
    message = _parsed(pb.RegisterAgentRequest, data)
    containers = few("container_names", message.container_names)
    return RegisterRequest(
        shared(word("node_role", message.node_role)),
        shared_labels(checked_labels("labels", message.labels)),
        dns_name("pod_name", message.pod_name),
        shared(tuple(dns_name("container_names", name) for name in containers)),
    )


def encode_register_reply(
    *, success: bool, message: str, heartbeat_interval_s: int = 0, agent_id: str = ""
) -> bytes:
    """Return the one reply of a registration stream."""
    return pb.RegisterAgentResponse(
        success=success,
        message=message,
        heartbeat_interval_seconds=heartbeat_interval_s,
        agent_id=agent_id,
    ).SerializeToString()


# ---- commands -----------------------------------------------------------------------------------


def encode_metrics_command(start_ms: int | None = None, end_ms: int | None = None) -> bytes:
    """Return the command for the latest values, or for a window when both ends are given (G11)."""
    command = pb.StreamMetricsResponse()
    if start_ms is not None and end_ms is not None:
        command.start_time.FromMilliseconds(start_ms)
        command.end_time.FromMilliseconds(end_ms)
    return command.SerializeToString()


def encode_topology_command() -> bytes:
    """Return the command of the topology stream."""
    return pb.StreamClusterTopologyResponse(request_topology=True).SerializeToString()


def encode_lifecycle_command() -> bytes:
    """Return the command of the lifecycle stream."""
    return pb.StreamLifecycleResponse(request_lifecycle=True).SerializeToString()


def encode_registry_command() -> bytes:
    """Return the command of the schema registry stream."""
    return pb.StreamSchemaRegistryResponse(request_registry=True).SerializeToString()


# ---- metrics ------------------------------------------------------------------------------------


def view_of_metrics(data: bytes) -> view.StreamMetricsRequest:
    """Return a StreamMetricsRequest with raw label entries; raises WireError for garbage."""
    return _parsed(view.StreamMetricsRequest, data)


def check_count(field: str, data: bytes, most: int) -> None:
    """Refuse a message with more than `most` fields at its top, before it is parsed.

    Raises WireError for too many, and for bytes that end within a field.
    """
    for _ in _ends_of(field, data, most):
        pass


def pieces_of(field: str, data: bytes, most: int, together: int) -> Iterator[bytes]:
    """Yield a message in pieces of `together` fields, each of which is a message of its kind.

    Read one after the other they say what the whole says, and take neither its time nor its memory
    at once. Raises WireError for more than `most` fields, and for bytes that end within one.
    """
    start = 0
    for count, end in enumerate(_ends_of(field, data, most), start=1):
        if not count % together:
            yield data[start:end]
            start = end
    if start < len(data):
        yield data[start:]


def _ends_of(field: str, data: bytes, most: int) -> Iterator[int]:
    at = count = 0
    end = len(data)
    while at < end:
        count += 1
        if count > most:
            raise WireError(f"{field} must have at most {most} entries", Bound.COUNT)
        # Samples have a length of two bytes, nearly all of them; calls would cost more than those.
        if data[at] == _FIRST_FIELD and at + 2 < end and data[at + 1] > 0x7F > data[at + 2]:
            at += 3 + (data[at + 1] & 0x7F | data[at + 2] << 7)
        else:
            at = _behind(field, data, at)
        if at > end:
            raise WireError(f"{field}: the end is within a field", Bound.GARBAGE)
        yield at


def _behind(field: str, data: bytes, at: int) -> int:
    """Return where the next field begins."""
    tag, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
    match tag & 7:
        case 0:
            return _varint(data, at)[1]
        case 1:
            return at + 8
        case 2:
            length, at = _varint(data, at)
            return at + length
        case 5:
            return at + 4
    raise WireError(f"{field}: a field of an unknown kind", Bound.GARBAGE)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < _LONGEST_VARINT:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise WireError("a number without end", Bound.GARBAGE)


def label_pair(entry: bytes) -> tuple[str, str]:
    """Return name and value of a raw label entry; raises WireError for garbage."""
    message = _parsed(pb.Metric.LabelsEntry, entry)
    return shared(message.key), message.value


def _parsed(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise WireError(f"not a {kind.__name__}: {error}") from error
