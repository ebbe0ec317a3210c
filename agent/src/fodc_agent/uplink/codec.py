# SPDX-License-Identifier: Apache-2.0
"""Frames of the agent link as bytes: what the agent says is encoded, what the proxy says decoded.

The one idea: one function per message and no meaning; a frame of a newer proxy that is not known
here is `None`, so that an upgrade of the proxy never breaks an agent.
"""

from typing import Final

from google.protobuf.message import DecodeError

from fodc_protocol.link import frames
from fodc_wire.fodc.v1 import agent_link_pb2 as pb

METHOD: Final = "/fodc.v1.AgentLink/Connect"


class MalformedFrameError(Exception):
    """The bytes are no ProxyFrame, or one that lacks what it must have."""


# ---- what the agent says ------------------------------------------------------------------


def encode(frame: frames.AgentFrame) -> bytes:
    """Return the bytes of an AgentFrame."""
    match frame:
        case frames.Hello():
            wire = pb.AgentFrame(hello=_hello(frame))
        case frames.Heartbeat():
            wire = pb.AgentFrame(heartbeat=_heartbeat(frame))
        case frames.MetricsPage():
            wire = pb.AgentFrame(metrics_page=_metrics_page(frame))
        case frames.WindowPart():
            wire = pb.AgentFrame(window_part=_window_part(frame))
        case frames.Configuration():
            wire = pb.AgentFrame(configuration=_configuration(frame))
        case frames.QueryFailed():
            wire = pb.AgentFrame(
                query_failed=pb.QueryFailed(
                    query_id=frame.query_id, reason=frame.reason, message=frame.message
                )
            )
        case frames.CommandUpdate():
            wire = pb.AgentFrame(command_update=_command_update(frame))
        case frames.ArtifactChunk():
            wire = pb.AgentFrame(
                artifact_chunk=pb.ArtifactChunk(
                    command_id=frame.command_id,
                    offset=frame.offset,
                    data=frame.data,
                    crc32=frame.crc32,
                )
            )
        case frames.Event():
            wire = pb.AgentFrame(event=_event(frame))
    return wire.SerializeToString()


def _hello(frame: frames.Hello) -> pb.Hello:
    return pb.Hello(
        protocol_min=frame.protocol_min,
        protocol_max=frame.protocol_max,
        agent_version=frame.agent_version,
        identity=_identity(frame.identity),
        incarnation=frame.incarnation,
        state=_node_state(frame.state),
        held_command_ids=frame.held_command_ids,
        last_event_sequence=frame.last_event_sequence,
    )


def _identity(identity: frames.Identity) -> pb.Identity:
    return pb.Identity(
        pod_name=identity.pod_name,
        namespace=identity.namespace,
        pod_uid=identity.pod_uid,
        kubernetes_node=identity.kubernetes_node,
        cluster=identity.cluster,
        container_names=identity.container_names,
        addresses=[
            pb.Address(name=one.name, host=one.host, port=one.port) for one in identity.addresses
        ],
    )


def _node_state(state: frames.NodeState) -> pb.NodeState:
    wire = pb.NodeState(
        node_role=state.node_role,
        labels=state.labels,
        capabilities=[
            pb.Capability(kind=one.kind, state=one.state, reason=one.reason, message=one.message)
            for one in state.capabilities
        ],
        configuration_hash=state.configuration_hash,
        artifact_count=state.artifact_count,
        artifact_bytes=state.artifact_bytes,
        conditions=_conditions(state.conditions),
    )
    if state.window is not None:
        wire.window.CopyFrom(
            pb.WindowExtent(
                oldest_ms=state.window.oldest_ms,
                newest_ms=state.window.newest_ms,
                series=state.window.series,
                bytes=state.window.bytes,
            )
        )
    return wire


def _conditions(conditions: tuple[frames.Condition, ...]) -> list[pb.Condition]:
    return [
        pb.Condition(type=one.type, reason=one.reason, message=one.message) for one in conditions
    ]


def _heartbeat(frame: frames.Heartbeat) -> pb.Heartbeat:
    state = None if frame.state is None else _node_state(frame.state)
    return pb.Heartbeat(sequence=frame.sequence, sent_at_ms=frame.sent_at_ms, state=state)


def _metrics_page(frame: frames.MetricsPage) -> pb.MetricsPage:
    return pb.MetricsPage(
        query_id=frame.query_id,
        collected_at_ms=frame.collected_at_ms,
        families=[
            pb.Family(
                name=one.name, type=one.type, help=one.help, text=one.text, samples=one.samples
            )
            for one in frame.families
        ],
        missing_sources=frame.missing_sources,
        last=frame.last,
    )


def _window_part(frame: frames.WindowPart) -> pb.WindowPart:
    return pb.WindowPart(
        query_id=frame.query_id,
        schema_id=frame.schema_id,
        series=[
            pb.WindowSeries(
                name=one.name,
                labels=[text for pair in one.labels for text in pair],
                type=one.type,
                help=one.help,
            )
            for one in frame.series
        ],
        timestamps_ms=frame.timestamps_ms,
        values=frame.values,
        truncated=frame.truncated,
        last=frame.last,
    )


def _configuration(frame: frames.Configuration) -> pb.Configuration:
    return pb.Configuration(
        query_id=frame.query_id,
        epoch=frame.epoch,
        hash=frame.hash,
        collected_at_ms=frame.collected_at_ms,
        entries=[
            pb.ConfigurationEntry(
                name=one.name, value=one.value, source=one.source, redacted=one.redacted
            )
            for one in frame.entries
        ],
        conditions=_conditions(frame.conditions),
    )


def _command_update(frame: frames.CommandUpdate) -> pb.CommandUpdate:
    return pb.CommandUpdate(
        command_id=frame.command_id,
        state=pb.CommandUpdate.State.Name(frame.state),
        reason=frame.reason,
        message=frame.message,
        elapsed_ms=frame.elapsed_ms,
        artifact=None if frame.artifact is None else _artifact(frame.artifact),
    )


def _artifact(artifact: frames.Artifact) -> pb.Artifact:
    return pb.Artifact(
        profile=artifact.profile,
        format=artifact.format,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        samples=artifact.samples,
        started_at_ms=artifact.started_at_ms,
        finished_at_ms=artifact.finished_at_ms,
        truncated=artifact.truncated,
        warnings=artifact.warnings,
    )


def _event(frame: frames.Event) -> pb.Event:
    return pb.Event(
        sequence=frame.sequence,
        occurred_at_ms=frame.occurred_at_ms,
        kind=frame.kind,
        message=frame.message,
        fields=frame.fields,
    )


# ---- what the proxy says ------------------------------------------------------------------


def decode(data: bytes) -> frames.ProxyFrame | None:
    """Return the frame, None for a kind that is not known here; raise MalformedFrameError."""
    try:
        wire = pb.ProxyFrame.FromString(data)
    except DecodeError as error:
        raise MalformedFrameError(f"{len(data)} bytes are no ProxyFrame: {error}") from error
    match wire.WhichOneof("frame"):
        case "welcome":
            return _welcome(wire.welcome)
        case "refusal":
            refusal = wire.refusal
            return frames.Refusal(refusal.reason, refusal.message, refusal.retry_after_ms)
        case "heartbeat_ack":
            return frames.HeartbeatAck(wire.heartbeat_ack.sequence)
        case "metrics_query":
            return frames.MetricsQuery(wire.metrics_query.query_id)
        case "window_query":
            return _window_query(wire.window_query)
        case "configuration_query":
            return frames.ConfigurationQuery(wire.configuration_query.query_id)
        case "start_capture":
            return _start_capture(wire.start_capture)
        case "cancel_capture":
            return _cancel_capture(wire.cancel_capture)
        case "artifact_ack":
            ack = wire.artifact_ack
            return frames.ArtifactAck(
                ack.command_id, ack.received_bytes, ack.credit_bytes, ack.done
            )
        case "event_ack":
            return frames.EventAck(wire.event_ack.sequence)
        case _:
            return None


def _welcome(wire: pb.Welcome) -> frames.Welcome:
    return frames.Welcome(
        wire.protocol,
        wire.agent_id,
        wire.heartbeat_interval_ms,
        wire.proxy_version,
        wire.proxy_incarnation,
        wire.proxy_time_ms,
        wire.chunk_bytes,
        wire.event_ack_sequence,
    )


def _window_query(wire: pb.WindowQuery) -> frames.WindowQuery:
    return frames.WindowQuery(
        wire.query_id,
        wire.start_ms,
        wire.end_ms,
        tuple(wire.names),
        wire.max_points,
        tuple(wire.known_schema_ids),
    )


def _start_capture(wire: pb.StartCapture) -> frames.StartCapture:
    if not wire.command_id:
        raise MalformedFrameError("StartCapture without command_id")
    return frames.StartCapture(
        wire.command_id,
        wire.profile,
        wire.duration_ms,
        wire.timeout_ms,
        wire.resume_offset,
        wire.gc,
        wire.max_bytes,
        wire.request_id,
    )


def _cancel_capture(wire: pb.CancelCapture) -> frames.CancelCapture:
    # A mode of a newer proxy is taken for the gentle one: what was captured is kept.
    abort = wire.mode == pb.CancelCapture.MODE_ABORT
    mode = frames.CancelMode.ABORT if abort else frames.CancelMode.STOP
    return frames.CancelCapture(wire.command_id, mode)
