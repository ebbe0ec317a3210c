# SPDX-License-Identifier: Apache-2.0
"""Frames of our own contract to and from the wire: decodes AgentFrame, encodes ProxyFrame.

The one idea: every field of a peer passes its bound on the way in (`bounds`), and what many agents
say alike is kept once (`shared`), because a proxy holds it for each of thousands of agents.
"""

from collections.abc import Callable, Iterable, Mapping, Sized
from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import DecodeError

from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import MetricType, Series
from fodc_proxy.wire.bounds import (
    LABEL_NAME_CHARACTERS,
    LABEL_VALUE_CHARACTERS,
    MOST_COMMANDS,
    MOST_LABELS,
    NAME_CHARACTERS,
    WORD_CHARACTERS,
    Bound,
    WireError,
    dns_name,
    few,
    number,
    said,
    shown,
    small,
    time_ms,
    word,
)
from fodc_proxy.wire.shared import shared, shared_labels
from fodc_wire.fodc.v1 import agent_link_pb2 as pb

# What an agent at rest sends is small; it divides pages and windows at 128 KiB, artifacts at what
# Welcome says. Numbers are those of AgentFrame.frame.
_SMALL_BYTES: Final = 256 * 1024
_LARGE_BYTES: Final = 2 * 1024 * 1024
_LARGE_FRAMES: Final = frozenset({3, 4, 5, 8, 10})
_MOST_FAMILIES: Final = 20_000
_MOST_SERIES: Final = 200_000
_MOST_TIMES: Final = 100_000
_MOST_SETTINGS: Final = 10_000
_VALUE_CHARACTERS: Final = 64 * 1024
_HELP_CHARACTERS: Final = 4096
_KEPT_BYTES: Final = 4096


# ---- what an agent says -------------------------------------------------------------------------


def decode_agent_frame(data: bytes) -> frames.AgentFrame | None:
    """Return the frame, None for a kind of a later version.

    Raises WireError for garbage and for a field that breaks its bound.
    """
    if len(data) > _SMALL_BYTES:
        _check_size(data)
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
        raise WireError(f"{kind}: {error}", Bound.RANGE) from error


def _check_size(data: bytes) -> None:
    """Refuse, before it is parsed, a large message that is more than one large frame."""
    is_large = largest_frame(data) in _LARGE_FRAMES
    small("frame", len(data), _LARGE_BYTES if is_large else _SMALL_BYTES)


def largest_frame(data: bytes) -> int | None:
    """Return the number of the frame that a message consists of, None where there are several."""
    at = 1
    length = shift = 0
    for byte in data[1:6]:
        length |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not byte & 0x80:
            break
    is_whole = (
        at > 1 and at + length == len(data) and data[0] & 0x87 == 2
    )  # one byte of tag, a message
    return data[0] >> 3 if is_whole else None


def _hello(m: Any) -> frames.Hello:  # noqa: ANN401 - generated classes check nothing here
    held = few("hello.held_command_ids", m.held_command_ids, MOST_COMMANDS)
    return frames.Hello(
        m.protocol_min,
        m.protocol_max,
        shared(word("hello.agent_version", m.agent_version)),
        _identity(m.identity),
        word("hello.incarnation", m.incarnation),
        _state(m.state),
        tuple(word("hello.held_command_ids", one) for one in held),
    )


def _identity(m: pb.Identity) -> frames.Identity:
    containers = few("identity.container_names", m.container_names)
    return frames.Identity(
        dns_name("identity.pod_name", m.pod_name),
        shared(dns_name("identity.namespace", m.namespace)),
        word("identity.pod_uid", m.pod_uid),
        shared(dns_name("identity.kubernetes_node", m.kubernetes_node)),
        shared(word("identity.cluster", m.cluster, NAME_CHARACTERS)),
        shared(tuple(dns_name("identity.container_names", name) for name in containers)),
        tuple(_address(a) for a in few("identity.addresses", m.addresses)),
    )


def _address(m: pb.Address) -> frames.Address:
    return frames.Address(
        shared(word("address.name", m.name)),
        word("address.host", m.host, NAME_CHARACTERS),
        number("address.port", m.port, 65_535),
    )


def _state(m: pb.NodeState) -> frames.NodeState:
    window = m.window
    extent = frames.WindowExtent(
        time_ms("window.oldest_ms", window.oldest_ms),
        time_ms("window.newest_ms", window.newest_ms),
        window.series,
        number("window.bytes", window.bytes),
    )
    return frames.NodeState(
        shared(word("state.node_role", m.node_role)),
        shared_labels(checked_labels("state.labels", m.labels)),
        _capabilities(few("state.capabilities", m.capabilities)),
        extent if m.HasField("window") else None,
        word("state.configuration_hash", m.configuration_hash),
        m.artifact_count,
        number("state.artifact_bytes", m.artifact_bytes),
        _conditions(m.conditions),
    )


def checked_labels(field: str, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return labels that are within bounds; raises WireError."""
    return [
        (
            word(f"{field}: name", name, LABEL_NAME_CHARACTERS),
            word(f"{field}: {shown(name)}", value, LABEL_VALUE_CHARACTERS),
        )
        for name, value in few(field, labels, MOST_LABELS).items()
    ]


def _capabilities(listed: Iterable[pb.Capability]) -> tuple[frames.CapabilityState, ...]:
    """Return what an agent can do; it repeats that with every beat, and all of them alike."""
    raw = tuple([one.SerializeToString() for one in listed])
    read = (
        _read_capabilities if sum(map(len, raw)) < _KEPT_BYTES else _read_capabilities.__wrapped__
    )
    return read(raw)


@lru_cache(maxsize=512)
def _read_capabilities(raw: tuple[bytes, ...]) -> tuple[frames.CapabilityState, ...]:
    return shared(tuple(_capability(pb.Capability.FromString(one)) for one in raw))


def _capability(m: pb.Capability) -> frames.CapabilityState:
    return frames.CapabilityState(
        word("capability.kind", m.kind),
        word("capability.state", m.state),
        said(m.reason, WORD_CHARACTERS),
        said(m.message),
    )


def _conditions(conditions: Sized) -> tuple[frames.Condition, ...]:
    listed: Any = few("conditions", conditions)
    return shared(
        tuple(
            frames.Condition(
                word("condition.type", c.type), said(c.reason, WORD_CHARACTERS), said(c.message)
            )
            for c in listed
        )
    )


def _heartbeat(m: Any) -> frames.Heartbeat:  # noqa: ANN401 - as above
    state = _state(m.state) if m.HasField("state") else None
    return frames.Heartbeat(m.sequence, state)


def _metrics_page(m: Any) -> frames.MetricsPage:  # noqa: ANN401 - as above
    families = tuple(
        # How many samples it has is counted where it is checked.
        FamilyBlock(
            shared(f.name), MetricType.of(f.type), shared(f.help[:_HELP_CHARACTERS]), f.text, 0
        )
        for f in few("page.families", m.families, _MOST_FAMILIES)
    )
    return frames.MetricsPage(
        m.query_id,
        time_ms("page.collected_at_ms", m.collected_at_ms),
        families,
        m.last,
    )


def _window_part(m: Any) -> frames.WindowPart:  # noqa: ANN401 - as above
    times = few("window.timestamps_ms", m.timestamps_ms, _MOST_TIMES)
    if times:
        time_ms("window.timestamps_ms", min(times))
        time_ms("window.timestamps_ms", max(times))
    return frames.WindowPart(
        m.query_id,
        m.schema_id,
        tuple(_window_series(s) for s in few("window.series", m.series, _MOST_SERIES)),
        tuple(times),
        m.values,
        m.last,
    )


def _window_series(m: pb.WindowSeries) -> Series:
    texts = iter(m.labels)
    labels = tuple((shared(name), shared(value)) for name, value in zip(texts, texts, strict=True))
    text = shared(m.help[:_HELP_CHARACTERS])
    return Series(shared(m.name), labels, MetricType.of(m.type), text)


def _source(text: str) -> Source:
    """Return where a setting comes from; a word of a newer agent counts as a default."""
    try:
        return Source(text)
    except ValueError:
        return Source.DEFAULT


def _configuration(m: Any) -> frames.Configuration:  # noqa: ANN401 - as above
    entries = tuple(
        ConfigEntry(
            shared(word("configuration.name", e.name, NAME_CHARACTERS)),
            e.value[:_VALUE_CHARACTERS],
            _source(word("configuration.source", e.source)),
            e.redacted,
        )
        for e in few("configuration.entries", m.entries, _MOST_SETTINGS)
    )
    return frames.Configuration(
        m.query_id,
        m.epoch,
        word("configuration.hash", m.hash),
        time_ms("configuration.collected_at_ms", m.collected_at_ms),
        entries,
        _conditions(m.conditions),
    )


def _query_failed(m: Any) -> frames.QueryFailed:  # noqa: ANN401 - as above
    return frames.QueryFailed(m.query_id, said(m.reason, WORD_CHARACTERS), said(m.message))


def _command_update(m: Any) -> frames.CommandUpdate:  # noqa: ANN401 - as above
    return frames.CommandUpdate(
        word("update.command_id", m.command_id),
        frames.CommandState(m.state),
        said(m.reason, WORD_CHARACTERS),
        said(m.message),
        m.elapsed_ms,
        _artifact(m.artifact) if m.HasField("artifact") else None,
    )


def _artifact(m: pb.Artifact) -> frames.Artifact:
    return frames.Artifact(
        word("artifact.profile", m.profile),
        word("artifact.format", m.format),
        number("artifact.size_bytes", m.size_bytes),
        word("artifact.sha256", m.sha256),
        number("artifact.samples", m.samples),
        time_ms("artifact.started_at_ms", m.started_at_ms),
        time_ms("artifact.finished_at_ms", m.finished_at_ms),
        m.truncated,
        tuple(said(text) for text in few("artifact.warnings", m.warnings)),
    )


def _artifact_chunk(m: Any) -> frames.ArtifactChunk:  # noqa: ANN401 - as above
    command_id = word("chunk.command_id", m.command_id)
    return frames.ArtifactChunk(command_id, number("chunk.offset", m.offset), m.data, m.crc32)


def _event(m: Any) -> frames.Event:  # noqa: ANN401 - as above
    told = few("event.fields", m.fields).items()
    return frames.Event(
        number("event.sequence", m.sequence),
        time_ms("event.occurred_at_ms", m.occurred_at_ms),
        word("event.kind", m.kind),
        said(m.message),
        {word("event.fields: name", name): said(value) for name, value in told},
        word("event.incarnation", m.incarnation),
        number("event.gap", m.gap),
    )


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
    "evidence": lambda m: frames.Evidence(m.query_id, m.data, m.whole, m.last),
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
        case frames.TopologyQuery():
            return pb.ProxyFrame(topology_query=pb.TopologyQuery(query_id=frame.query_id))
        case frames.LifecycleQuery():
            return pb.ProxyFrame(lifecycle_query=pb.LifecycleQuery(query_id=frame.query_id))
        case frames.CrashesQuery():
            return pb.ProxyFrame(crashes_query=pb.CrashesQuery(query_id=frame.query_id))
        case frames.RegistryQuery():
            return pb.ProxyFrame(registry_query=pb.RegistryQuery(query_id=frame.query_id))
        case frames.StartCapture():
            return pb.ProxyFrame(start_capture=_start_capture(frame))
        case frames.CancelCapture():
            cancel = pb.CancelCapture(command_id=frame.command_id, mode=f"MODE_{frame.mode.name}")
            return pb.ProxyFrame(cancel_capture=cancel)
        case frames.ArtifactAck():
            return pb.ProxyFrame(artifact_ack=_artifact_ack(frame))
        case frames.EventAck():
            ack = pb.EventAck(sequence=frame.sequence, incarnation=frame.incarnation)
            return pb.ProxyFrame(event_ack=ack)


def _welcome(frame: frames.Welcome) -> pb.Welcome:
    return pb.Welcome(
        protocol=frame.protocol,
        agent_id=frame.agent_id,
        heartbeat_interval_ms=frame.heartbeat_interval_ms,
        proxy_version=frame.proxy_version,
        proxy_incarnation=frame.proxy_incarnation,
        chunk_bytes=frame.chunk_bytes,
    )


def _window_query(frame: frames.WindowQuery) -> pb.WindowQuery:
    return pb.WindowQuery(
        query_id=frame.query_id,
        start_ms=frame.start_ms,
        end_ms=frame.end_ms,
    )


def _start_capture(frame: frames.StartCapture) -> pb.StartCapture:
    return pb.StartCapture(
        command_id=frame.command_id,
        profile=frame.profile,
        duration_ms=frame.duration_ms,
        timeout_ms=frame.timeout_ms,
        gc=frame.gc,
        max_bytes=frame.max_bytes,
        request_id=frame.request_id,
        end_ms=frame.end_ms,
        span_ms=frame.span_ms,
    )


def _artifact_ack(frame: frames.ArtifactAck) -> pb.ArtifactAck:
    return pb.ArtifactAck(
        command_id=frame.command_id,
        received_bytes=frame.received_bytes,
        credit_bytes=frame.credit_bytes,
        done=frame.done,
    )
