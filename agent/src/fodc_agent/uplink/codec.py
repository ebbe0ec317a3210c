# SPDX-License-Identifier: Apache-2.0
"""Frames of the agent link as bytes: what the agent says is encoded, what the proxy says decoded.

The one idea: one function per message, field by field as in fodc/v1/agent_link.proto, and no
meaning. A frame of a newer proxy that is not known here is `None`, so that an upgrade of the proxy
never breaks an agent. The tests compare every message with the generated classes.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from fodc_protocol.link import frames
from fodc_protocol.protobuf import (
    Field,
    Fields,
    WireError,
    blob,
    fixed32,
    fixed64,
    message,
    messages,
    number,
    packed_sfixed64,
    prefix,
    text,
    text_map,
    texts,
)

METHOD: Final = "/fodc.v1.AgentLink/Connect"
_MODE_ABORT: Final = 2
_MAX_UINT32: Final = 0xFFFF_FFFF


class MalformedFrameError(Exception):
    """The bytes are no ProxyFrame, or one that lacks what it must have."""


# ---- what the agent says ------------------------------------------------------------------


def encode(frame: frames.AgentFrame) -> bytes:
    """Return the bytes of an AgentFrame."""
    match frame:
        case frames.Hello():
            return message(1, _hello(frame))
        case frames.Heartbeat():
            return message(2, _heartbeat(frame))
        case frames.MetricsPage():
            return _metrics_page(frame)
        case frames.WindowPart():
            return message(4, _window_part(frame))
        case frames.Configuration():
            return message(5, _configuration(frame))
        case frames.QueryFailed():
            failed = number(1, frame.query_id) + text(2, frame.reason) + text(3, frame.message)
            return message(6, failed)
        case frames.CommandUpdate():
            return message(7, _command_update(frame))
        case frames.ArtifactChunk():
            return message(8, _artifact_chunk(frame))
        case frames.Event():
            return message(9, _event(frame))
        case frames.Evidence():
            return message(10, _evidence(frame))


def _hello(frame: frames.Hello) -> bytes:
    return (
        number(1, frame.protocol_min)
        + number(2, frame.protocol_max)
        + text(3, frame.agent_version)
        + message(4, _identity(frame.identity))
        + text(5, frame.incarnation)
        + message(6, _node_state(frame.state))
        + texts(7, frame.held_command_ids)
    )


def _identity(identity: frames.Identity) -> bytes:
    addresses = (
        text(1, one.name) + text(2, one.host) + number(3, one.port) for one in identity.addresses
    )
    return (
        text(1, identity.pod_name)
        + text(2, identity.namespace)
        + text(3, identity.pod_uid)
        + text(4, identity.kubernetes_node)
        + text(5, identity.cluster)
        + texts(6, identity.container_names)
        + messages(7, addresses)
    )


def _node_state(state: frames.NodeState) -> bytes:
    capabilities = (
        text(1, one.kind) + text(2, one.state) + text(3, one.reason) + text(4, one.message)
        for one in state.capabilities
    )
    return (
        text(1, state.node_role)
        + text_map(2, state.labels)
        + messages(3, capabilities)
        + (b"" if state.window is None else message(4, _window_extent(state.window)))
        + text(5, state.configuration_hash)
        + number(6, state.artifact_count)
        + number(7, state.artifact_bytes)
        + messages(8, map(_condition, state.conditions))
    )


def _window_extent(window: frames.WindowExtent) -> bytes:
    return (
        number(1, window.oldest_ms)
        + number(2, window.newest_ms)
        + number(3, window.series)
        + number(4, window.bytes)
    )


def _condition(one: frames.Condition) -> bytes:
    return text(1, one.type) + text(2, one.reason) + text(3, one.message)


def _heartbeat(frame: frames.Heartbeat) -> bytes:
    state = b"" if frame.state is None else message(3, _node_state(frame.state))
    return number(1, frame.sequence) + state


@lru_cache(maxsize=512)
def _family_head(name: str, kind: int, about: str) -> bytes:
    """Return what stays the same of a family from page to page."""
    return text(1, name) + number(2, kind) + text(3, about)


def _metrics_page(frame: frames.MetricsPage) -> bytes:
    """Return the whole frame, joined once: each level of messages would copy all its text."""
    parts = [number(1, frame.query_id), number(2, frame.collected_at_ms)]
    for one in frame.families:
        head = _family_head(one.name, one.type, one.help)
        if one.text:
            head += prefix(4, len(one.text))
        tail = number(5, one.samples)
        parts += prefix(3, len(head) + len(one.text) + len(tail)), head, one.text, tail
    parts.append(number(5, frame.last))
    return b"".join((prefix(3, sum(map(len, parts))), *parts))


def _window_part(frame: frames.WindowPart) -> bytes:
    series = (
        text(1, one.name)
        + texts(2, (part for pair in one.labels for part in pair))
        + number(3, one.type)
        + text(4, one.help)
        for one in frame.series
    )
    return (
        number(1, frame.query_id)
        + fixed64(2, frame.schema_id)
        + messages(3, series)
        + packed_sfixed64(4, frame.timestamps_ms)
        + blob(5, frame.values)
        + number(6, frame.last)
    )


def _configuration(frame: frames.Configuration) -> bytes:
    entries = (
        text(1, one.name) + text(2, one.value) + text(3, one.source) + number(4, one.redacted)
        for one in frame.entries
    )
    return (
        number(1, frame.query_id)
        + number(2, frame.epoch)
        + text(3, frame.hash)
        + number(4, frame.collected_at_ms)
        + messages(5, entries)
        + messages(6, map(_condition, frame.conditions))
    )


def _command_update(frame: frames.CommandUpdate) -> bytes:
    return (
        text(1, frame.command_id)
        + number(2, frame.state)
        + text(3, frame.reason)
        + text(4, frame.message)
        + number(5, min(frame.elapsed_ms, _MAX_UINT32))
        + (b"" if frame.artifact is None else message(6, _artifact(frame.artifact)))
    )


def _artifact(artifact: frames.Artifact) -> bytes:
    return (
        text(1, artifact.profile)
        + text(2, artifact.format)
        + number(3, artifact.size_bytes)
        + text(4, artifact.sha256)
        + number(5, artifact.samples)
        + number(6, artifact.started_at_ms)
        + number(7, artifact.finished_at_ms)
        + number(8, artifact.truncated)
        + texts(9, artifact.warnings)
    )


def _artifact_chunk(frame: frames.ArtifactChunk) -> bytes:
    return (
        text(1, frame.command_id)
        + number(2, frame.offset)
        + blob(3, frame.data)
        + fixed32(4, frame.crc32)
    )


def _event(frame: frames.Event) -> bytes:
    return (
        number(1, frame.sequence)
        + number(2, frame.occurred_at_ms)
        + text(3, frame.kind)
        + text(4, frame.message)
        + text_map(5, frame.fields)
        + text(6, frame.incarnation)
        + number(7, frame.gap)
    )


def _evidence(frame: frames.Evidence) -> bytes:
    flags = number(3, frame.whole) + number(4, frame.last)
    return number(1, frame.query_id) + blob(2, frame.data) + flags


# ---- what the proxy says ------------------------------------------------------------------

_KIB: Final = 1024
_UNKNOWN_BYTES: Final = 256 * _KIB
_MOST_BYTES: Final[Mapping[int, int]] = {
    1: 16 * _KIB,  # welcome
    2: 16 * _KIB,  # refusal
    3: 1 * _KIB,  # heartbeat_ack
    4: 64 * _KIB,  # metrics_query
    5: 64 * _KIB,  # window_query
    6: 64 * _KIB,  # configuration_query
    7: 64 * _KIB,  # start_capture
    8: 4 * _KIB,  # cancel_capture
    9: 4 * _KIB,  # artifact_ack
    10: 1 * _KIB,  # event_ack
    11: 1 * _KIB,  # topology_query
    12: 1 * _KIB,  # lifecycle_query
    13: 1 * _KIB,  # crashes_query
}


def frame_limit(head: bytes) -> int:
    """Return how many bytes a ProxyFrame with this beginning may have (A28).

    A kind of a newer proxy has more than any that is known here.
    """
    return _MOST_BYTES.get(head[0] >> 3, _UNKNOWN_BYTES) if head else _UNKNOWN_BYTES


def decode(data: bytes) -> frames.ProxyFrame | None:
    """Return the frame, None for a kind that is not known here; raise MalformedFrameError."""
    try:
        return _decoded(Fields(data).one_of())
    except WireError as error:
        raise MalformedFrameError(f"{len(data)} bytes are no ProxyFrame: {error}") from error


def _decoded(outer: Field | None) -> frames.ProxyFrame | None:
    kind, body = outer or (0, b"")
    reader = _READERS.get(kind)
    if reader is None:
        return None
    if not isinstance(body, bytes):
        raise WireError(f"frame {kind} has no length")
    return reader(Fields(body))


def _welcome(wire: Fields) -> frames.Welcome:
    return frames.Welcome(
        wire.number(1),
        wire.text(2),
        wire.number(3),
        wire.text(4),
        wire.text(5),
        wire.number(6),
    )


def _refusal(wire: Fields) -> frames.Refusal:
    return frames.Refusal(wire.text(1), wire.text(2), wire.number(3))


def _heartbeat_ack(wire: Fields) -> frames.HeartbeatAck:
    return frames.HeartbeatAck(wire.number(1))


def _metrics_query(wire: Fields) -> frames.MetricsQuery:
    return frames.MetricsQuery(wire.number(1))


def _window_query(wire: Fields) -> frames.WindowQuery:
    return frames.WindowQuery(wire.number(1), wire.signed(2), wire.signed(3))


def _configuration_query(wire: Fields) -> frames.ConfigurationQuery:
    return frames.ConfigurationQuery(wire.number(1))


def _start_capture(wire: Fields) -> frames.StartCapture:
    if not wire.has(1):
        raise WireError("StartCapture without command_id")
    return frames.StartCapture(
        wire.text(1),
        wire.text(2),
        wire.number(3),
        wire.number(4),
        bool(wire.number(6)),
        wire.number(7),
        wire.text(8),
        wire.signed(9),
        wire.number(10),
    )


def _cancel_capture(wire: Fields) -> frames.CancelCapture:
    # A mode of a newer proxy is taken for the gentle one: what was captured is kept.
    abort = wire.number(2) == _MODE_ABORT
    mode = frames.CancelMode.ABORT if abort else frames.CancelMode.STOP
    return frames.CancelCapture(wire.text(1), mode)


def _artifact_ack(wire: Fields) -> frames.ArtifactAck:
    return frames.ArtifactAck(wire.text(1), wire.number(2), wire.number(3), bool(wire.number(4)))


def _event_ack(wire: Fields) -> frames.EventAck:
    return frames.EventAck(wire.number(1), wire.text(2))


_READERS: Final[Mapping[int, Callable[[Fields], frames.ProxyFrame]]] = {
    1: _welcome,
    2: _refusal,
    3: _heartbeat_ack,
    4: _metrics_query,
    5: _window_query,
    6: _configuration_query,
    7: _start_capture,
    8: _cancel_capture,
    9: _artifact_ack,
    10: _event_ack,
    11: lambda wire: frames.TopologyQuery(wire.number(1)),
    12: lambda wire: frames.LifecycleQuery(wire.number(1)),
    13: lambda wire: frames.CrashesQuery(wire.number(1)),
    14: lambda wire: frames.RegistryQuery(wire.number(1)),
}
