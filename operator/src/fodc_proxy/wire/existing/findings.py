# SPDX-License-Identifier: Apache-2.0
"""Crashes and pressure events of the existing contract to values, bounded and clean."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from fodc_api import findings as api
from fodc_protocol.redaction import redact_text, redact_value
from fodc_protocol.times import format_rfc3339
from fodc_proxy.evidence.parts import Chunk, CrashTold, ListEnd
from fodc_proxy.wire.bounds import Bound, WireError, few, number, said, small, word
from fodc_proxy.wire.existing.evidence import instant, parsed
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

CHUNK_BYTES: Final = 4 * 1024 * 1024
CRASH_BYTES: Final = 2 * 1024 * 1024
STACK_CHARACTERS: Final = 512 * 1024
MOST_BREADCRUMBS: Final = 256
MOST_FILES: Final = 64
GREATEST_PROFILE_BYTES: Final = 1024 * 1024 * 1024
_MOST_FIELDS: Final = 64
_MOST_PROFILES: Final = 16
_NAME_CHARACTERS: Final = 255  # what a file system takes for one name
_PATH_CHARACTERS: Final = 4096
_TEXT_CHARACTERS: Final = 4096
_GREATEST: Final = 2**53


PressureTold: TypeAlias = api.PressureEvent | ListEnd | Chunk | None


def decode_crash(data: bytes) -> CrashTold | None:
    """Return a crash, None for a message without one; raises WireError."""
    small("crash", len(data), CRASH_BYTES)
    m = parsed(pb.StreamCrashDiagnosticsRequest, data)
    if not m.artifact_dir:
        return None
    return CrashTold(
        _time("fetched_at", m.fetched_at),
        word("source_endpoint", m.source_endpoint, _PATH_CHARACTERS),
        word("artifact_dir", m.artifact_dir, _PATH_CHARACTERS),
        _panic(m.panic_record) if m.HasField("panic_record") else None,
        tuple(word("files", one, _NAME_CHARACTERS) for one in few("files", m.files, MOST_FILES)),
    )


def _panic(m: pb.CrashPanicRecord) -> api.PanicRecord:
    crumbs = few("panic_record.breadcrumbs", m.breadcrumbs, MOST_BREADCRUMBS)
    return api.PanicRecord(
        component=said(m.component, _NAME_CHARACTERS),
        goroutine_stack=_long(m.goroutine_stack),
        panic_value=_long(m.panic_value),
        occurred_at=_time("panic_record.occurred_at", m.occurred_at),
        process_metadata=_texts("panic_record.process_metadata", m.process_metadata),
        breadcrumbs=tuple(map(_crumb, crumbs)),
        recovered=m.recovered,
    )


def _crumb(m: pb.CrashBreadcrumb) -> api.Breadcrumb:
    return api.Breadcrumb(
        occurred_at=_time("breadcrumb.time", m.time),
        fields=_texts("breadcrumb.fields", m.fields),
        stage=said(m.stage),
        component=said(m.component, _NAME_CHARACTERS),
    )


def _texts(field: str, told: Mapping[str, str]) -> dict[str, str]:
    pairs = sorted(few(field, told, _MOST_FIELDS).items())
    named = {said(key, _NAME_CHARACTERS): said(value, _TEXT_CHARACTERS) for key, value in pairs}
    return {key: redact_value(key, value).value for key, value in named.items()}


def _long(value: str) -> str:
    """Return a text of many lines, cut and without secrets; lines are kept."""
    cut = value if len(value) <= STACK_CHARACTERS else value[: STACK_CHARACTERS - 1] + "…"
    return redact_text(cut.replace("\x00", "�")).value


def decode_pressure(data: bytes) -> PressureTold:
    """Return what was told; whose an event is, is filled in by the proxy; raises WireError."""
    small("pressure", len(data), CHUNK_BYTES)
    m = parsed(pb.StreamPressureProfilesRequest, data)
    match m.WhichOneof("payload"):
        case "record":
            return _event(m.record)
        case "list_complete":
            return ListEnd(word("request_id", m.list_complete.request_id))
        case "chunk":
            one = m.chunk
            return Chunk(word("request_id", one.request_id), one.data, one.last, said(one.error))
        case _:
            return None


def _event(m: pb.PressureProfileRecord) -> api.PressureEvent:
    if not m.profile_id:
        raise WireError("profile_id must not be empty", Bound.NAME)
    return api.PressureEvent(
        captured_at=_time("captured_at", m.captured_at),
        agent_id="",
        pod_name="",
        role="",
        profile_id=word("profile_id", m.profile_id, _NAME_CHARACTERS),
        source_endpoint=word("source_endpoint", m.source_endpoint, _PATH_CHARACTERS),
        profiles=tuple(map(_profile, few("profiles", m.profiles, _MOST_PROFILES))),
        rss_bytes=number("rss_bytes", m.rss_bytes, _GREATEST),
        cgroup_limit_bytes=min(m.cgroup_limit_bytes, _GREATEST),
        threshold_bytes=min(m.threshold_bytes, _GREATEST),
        trigger_percent=m.trigger_percent,
    )


def _profile(m: pb.PressureProfileInfo) -> api.PressureProfile:
    return api.PressureProfile(
        type=word("profile.type", m.type),
        filename=word("profile.filename", m.filename, _NAME_CHARACTERS),
        filepath=word("profile.filepath", m.filepath, _PATH_CHARACTERS),
        format=word("profile.format", m.format),
        size_bytes=number("profile.size_bytes", m.size_bytes, GREATEST_PROFILE_BYTES),
    )


def _time(field: str, m: Timestamp) -> str:
    """Return a time as Go prints it; an absent one is Go's zero."""
    if not m.seconds and not m.nanos:
        return api.NO_TIME
    told = instant(field, m)
    return format_rfc3339(told.seconds, told.nanos)


# ---- commands -----------------------------------------------------------------------------------


def encode_crashes_command() -> bytes:
    """Return the command of the crash diagnostics stream."""
    return pb.StreamCrashDiagnosticsResponse(request_diagnostics=True).SerializeToString()


def encode_list_command(request_id: str) -> bytes:
    """Return the command that asks for all pressure events."""
    command = pb.StreamPressureProfilesResponse()
    command.list_profiles.request_id = request_id
    return command.SerializeToString()


def encode_fetch_command(request_id: str, profile_id: str, profile: api.PressureProfile) -> bytes:
    """Return the command that asks for the bytes of one profile."""
    command = pb.StreamPressureProfilesResponse()
    fetch = command.fetch_profile
    fetch.request_id, fetch.profile_id = request_id, profile_id
    fetch.type, fetch.filepath = profile.type, profile.filepath
    return command.SerializeToString()
