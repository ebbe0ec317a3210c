# SPDX-License-Identifier: Apache-2.0
"""Frames of our own contract to and from the wire: decodes AgentFrame, encodes ProxyFrame.

The one idea: everything that many agents say alike (names, capabilities, container lists) is kept
once, because a proxy holds it for each of thousands of agents.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError

from fodc_protocol.errors import FodcError, Reason
from fodc_protocol.link import frames
from fodc_wire.fodc.v1 import agent_link_pb2 as pb

T = TypeVar("T", bound=Hashable)
_MOST_SHARED: Final = 20_000
_shared: dict[Hashable, Hashable] = {}


class WireError(FodcError):
    """Bytes that are no message of the contract."""

    default_reason = Reason.PROTOCOL_ERROR


def shared(value: T) -> T:
    """Return an equal value that others use too; the table starts anew when it is full."""
    if len(_shared) >= _MOST_SHARED:
        _shared.clear()
    return _shared.setdefault(value, value)  # type: ignore[return-value]  # equal, of one type


def shared_labels(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return labels whose texts are shared."""
    return {shared(key): shared(value) for key, value in labels}


# ---- what an agent says -------------------------------------------------------------------------


def decode_agent_frame(data: bytes) -> frames.AgentFrame | None:
    """Return the frame, None for a kind of a later version; raises WireError for garbage."""
    try:
        message = pb.AgentFrame.FromString(data)
    except DecodeError as error:
        raise WireError(f"not an AgentFrame: {error}") from error
    kind = message.WhichOneof("frame")
    if kind is None:
        return None
    try:
        return _DECODERS[kind](getattr(message, kind))
    except ValueError as error:  # an enumeration's number that has no name here
        raise WireError(f"{kind}: {error}") from error


def _hello(m: Any) -> frames.Hello:  # noqa: ANN401 - generated classes check nothing here
    return frames.Hello(
        m.protocol_min,
        m.protocol_max,
        shared(m.agent_version),
        _identity(m.identity),
        m.incarnation,
        _state(m.state),
        tuple(m.held_command_ids),
        m.last_event_sequence,
    )


def _identity(m: pb.Identity) -> frames.Identity:
    return frames.Identity(
        m.pod_name,
        shared(m.namespace),
        m.pod_uid,
        shared(m.kubernetes_node),
        shared(m.cluster),
        shared(tuple(m.container_names)),
        tuple(frames.Address(shared(a.name), a.host, a.port) for a in m.addresses),
    )


def _state(m: pb.NodeState) -> frames.NodeState:
    window = m.window
    extent = frames.WindowExtent(window.oldest_ms, window.newest_ms, window.series, window.bytes)
    return frames.NodeState(
        shared(m.node_role),
        shared_labels(m.labels.items()),
        shared(
            tuple(
                frames.CapabilityState(c.kind, c.state, c.reason, c.message) for c in m.capabilities
            )
        ),
        extent if m.HasField("window") else None,
        m.configuration_hash,
        m.artifact_count,
        m.artifact_bytes,
        _conditions(m.conditions),
    )


def _conditions(conditions: Iterable[pb.Condition]) -> tuple[frames.Condition, ...]:
    return shared(tuple(frames.Condition(c.type, c.reason, c.message) for c in conditions))


def _heartbeat(m: Any) -> frames.Heartbeat:  # noqa: ANN401 - as above
    state = _state(m.state) if m.HasField("state") else None
    return frames.Heartbeat(m.sequence, m.sent_at_ms, state)


def _metrics_page(m: Any) -> frames.MetricsPage:  # noqa: ANN401 - as above
    families = tuple(
        frames.Family(shared(f.name), f.type, shared(f.help), f.text, f.samples) for f in m.families
    )
    return frames.MetricsPage(
        m.query_id, m.collected_at_ms, families, tuple(m.missing_sources), m.last
    )


def _window_part(m: Any) -> frames.WindowPart:  # noqa: ANN401 - as above
    return frames.WindowPart(
        m.query_id,
        m.schema_id,
        tuple(_window_series(s) for s in m.series),
        tuple(m.timestamps_ms),
        m.values,
        m.truncated,
        m.last,
    )


def _window_series(m: pb.WindowSeries) -> frames.WindowSeries:
    texts = iter(m.labels)
    labels = tuple((shared(name), shared(value)) for name, value in zip(texts, texts, strict=True))
    return frames.WindowSeries(shared(m.name), labels, m.type, shared(m.help))


def _configuration(m: Any) -> frames.Configuration:  # noqa: ANN401 - as above
    entries = tuple(
        frames.ConfigurationEntry(shared(e.name), e.value, shared(e.source), e.redacted)
        for e in m.entries
    )
    return frames.Configuration(
        m.query_id, m.epoch, m.hash, m.collected_at_ms, entries, _conditions(m.conditions)
    )


def _query_failed(m: Any) -> frames.QueryFailed:  # noqa: ANN401 - as above
    return frames.QueryFailed(m.query_id, m.reason, m.message)


def _command_update(m: Any) -> frames.CommandUpdate:  # noqa: ANN401 - as above
    artifact = _artifact(m.artifact) if m.HasField("artifact") else None
    state = frames.CommandState(m.state)
    return frames.CommandUpdate(m.command_id, state, m.reason, m.message, m.elapsed_ms, artifact)


def _artifact(m: pb.Artifact) -> frames.Artifact:
    return frames.Artifact(
        m.profile,
        m.format,
        m.size_bytes,
        m.sha256,
        m.samples,
        m.started_at_ms,
        m.finished_at_ms,
        m.truncated,
        tuple(m.warnings),
    )


def _artifact_chunk(m: Any) -> frames.ArtifactChunk:  # noqa: ANN401 - as above
    return frames.ArtifactChunk(m.command_id, m.offset, m.data, m.crc32)


def _event(m: Any) -> frames.Event:  # noqa: ANN401 - as above
    return frames.Event(m.sequence, m.occurred_at_ms, m.kind, m.message, dict(m.fields))


_DECODERS: Final[dict[str, Callable[[Any], frames.AgentFrame]]] = {
    "hello": _hello,
    "heartbeat": _heartbeat,
    "metrics_page": _metrics_page,
    "window_part": _window_part,
    "configuration": _configuration,
    "query_failed": _query_failed,
    "command_update": _command_update,
    "artifact_chunk": _artifact_chunk,
    "event": _event,
}


# ---- what a proxy says --------------------------------------------------------------------------


def encode_proxy_frame(frame: frames.ProxyFrame) -> bytes:
    """Return the frame's bytes."""
    return _message(frame).SerializeToString()


def _message(frame: frames.ProxyFrame) -> pb.ProxyFrame:
    match frame:
        case frames.HeartbeatAck():
            return pb.ProxyFrame(heartbeat_ack=pb.HeartbeatAck(sequence=frame.sequence))
        case frames.Welcome():
            return pb.ProxyFrame(welcome=_welcome(frame))
        case frames.Refusal():
            refusal = pb.Refusal(
                reason=frame.reason, message=frame.message, retry_after_ms=frame.retry_after_ms
            )
            return pb.ProxyFrame(refusal=refusal)
        case frames.MetricsQuery():
            return pb.ProxyFrame(metrics_query=pb.MetricsQuery(query_id=frame.query_id))
        case frames.WindowQuery():
            return pb.ProxyFrame(window_query=_window_query(frame))
        case frames.ConfigurationQuery():
            query = pb.ConfigurationQuery(query_id=frame.query_id)
            return pb.ProxyFrame(configuration_query=query)
        case frames.StartCapture():
            return pb.ProxyFrame(start_capture=_start_capture(frame))
        case frames.CancelCapture():
            cancel = pb.CancelCapture(command_id=frame.command_id, mode=f"MODE_{frame.mode.name}")
            return pb.ProxyFrame(cancel_capture=cancel)
        case frames.ArtifactAck():
            return pb.ProxyFrame(artifact_ack=_artifact_ack(frame))
        case frames.EventAck():
            return pb.ProxyFrame(event_ack=pb.EventAck(sequence=frame.sequence))


def _welcome(frame: frames.Welcome) -> pb.Welcome:
    return pb.Welcome(
        protocol=frame.protocol,
        agent_id=frame.agent_id,
        heartbeat_interval_ms=frame.heartbeat_interval_ms,
        proxy_version=frame.proxy_version,
        proxy_incarnation=frame.proxy_incarnation,
        proxy_time_ms=frame.proxy_time_ms,
        chunk_bytes=frame.chunk_bytes,
        event_ack_sequence=frame.event_ack_sequence,
    )


def _window_query(frame: frames.WindowQuery) -> pb.WindowQuery:
    return pb.WindowQuery(
        query_id=frame.query_id,
        start_ms=frame.start_ms,
        end_ms=frame.end_ms,
        names=frame.names,
        max_points=frame.max_points,
        known_schema_ids=frame.known_schema_ids,
    )


def _start_capture(frame: frames.StartCapture) -> pb.StartCapture:
    return pb.StartCapture(
        command_id=frame.command_id,
        profile=frame.profile,
        duration_ms=frame.duration_ms,
        timeout_ms=frame.timeout_ms,
        resume_offset=frame.resume_offset,
        gc=frame.gc,
        max_bytes=frame.max_bytes,
        request_id=frame.request_id,
    )


def _artifact_ack(frame: frames.ArtifactAck) -> pb.ArtifactAck:
    return pb.ArtifactAck(
        command_id=frame.command_id,
        received_bytes=frame.received_bytes,
        credit_bytes=frame.credit_bytes,
        done=frame.done,
    )
