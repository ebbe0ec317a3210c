# SPDX-License-Identifier: Apache-2.0
"""Routes of artifacts: list, manifest, bytes with ranges, removal.

The one idea: whoever downloads can check and resume: length, digest and entity tag are those of the
whole artifact, and a read that fails midway ends the connection instead of looking complete.
"""

import base64
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from aiohttp import web

from fodc_api import artifacts as api
from fodc_api.access import LinkQuery
from fodc_api.problems import Unreadable
from fodc_api.values import time_of
from fodc_api.words import ArtifactState
from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.http.answers import problem
from fodc_proxy.http.routes import Call, NothingAsked, Parts
from fodc_proxy.http.selecting import known
from fodc_proxy.storage import names
from fodc_proxy.storage.artifacts import Stored
from fodc_proxy.storage.errors import MissingError, StorageError

# "The last 0 bytes", which the library takes for "from byte 0 on".
_NO_BYTES: Final = re.compile(r"=-0+$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to, not including, `end`; `is_part` when a range was asked."""

    start: int
    end: int
    is_part: bool


# ---- handlers -------------------------------------------------------------------------------


async def listed(parts: Parts, call: Call[api.ArtifactsQuery]) -> api.Artifacts:
    """List manifests, the newest first."""
    asked = call.asked
    found = parts.store.select(
        node_id=asked.node_id, request_id=asked.request_id, profile=asked.profile
    )
    shown = known(parts.registry, asked.node_id, found)
    return api.Artifacts(
        tuple(artifact_of(stored) for stored in shown),
        tuple(Unreadable(one.key, one.message) for one in parts.store.unreadable),
    )


async def manifest(parts: Parts, call: Call[NothingAsked]) -> api.Artifact:
    """Return one manifest."""
    return artifact_of(find(parts, call.id))


async def remove(parts: Parts, call: Call[NothingAsked]) -> web.Response:
    """Remove one artifact."""
    stored = find(parts, call.id)
    call.entry.note(node=stored.manifest.node, profile=stored.manifest.profile)
    await parts.store.delete(stored.manifest.artifact_id)
    return web.Response(status=204)


async def download(parts: Parts, call: Call[LinkQuery]) -> web.StreamResponse:
    """Send the bytes, whole or a range of them; of HEAD only what would be said about them."""
    stored = find(parts, call.id)
    call.entry.note(node=stored.manifest.node, profile=stored.manifest.profile)
    return await sent(parts, call.request, stored, {})


async def sent(
    parts: Parts, request: web.Request, stored: Stored, told: Mapping[str, str]
) -> web.StreamResponse:
    """Send the bytes with these headers in place of the usual ones."""
    if stored.damage:
        raise StorageError(_damaged(stored), reason=Reason.CHECKSUM_MISMATCH)
    headers, size = {**_headers(stored), **told}, stored.manifest.size_bytes
    if _is_known(request, stored.manifest.sha256):
        kept = {name: headers[name] for name in ("ETag", "Cache-Control")}
        return web.Response(status=304, headers=kept)
    span = asked_span(request, size, stored.manifest.sha256)
    if span is None:
        message = f"the artifact has {size} bytes; ask for bytes=0-{max(size - 1, 0)}"
        content_range = {"Content-Range": f"bytes */{size}"}
        return problem(416, "BadRequest", message, "Range", headers=content_range)
    return await _send(parts, request, stored, span, headers)


def namespace_of(parts: Parts, request: web.Request) -> str:
    """Return the namespace of the node that an artifact is of; empty when there is none such."""
    stored = parts.store.find(request.match_info["id"])
    return "" if stored is None else stored.manifest.namespace


def find(parts: Parts, artifact_id: str) -> Stored:
    """Return what is stored; raises MissingError."""
    stored = parts.store.find(artifact_id)
    if stored is None:
        raise MissingError(f"artifact {artifact_id[:128]} does not exist (any more)")
    return stored


# ---- what is asked, as RFC 9110 has it --------------------------------------------------------


def _is_known(request: web.Request, sha256: str) -> bool:
    """Whether If-None-Match says that the caller has it: a list, where weak tags fit too."""
    tags = request.if_none_match or ()
    return any(tag.value in {sha256, "*"} for tag in tags)


def asked_span(request: web.Request, size: int, sha256: str) -> Span | None:
    """Which bytes a request is for, None when there are none such.

    A Range is passed over when it is no single range of bytes (§14.2), when the method is HEAD
    (§14.2), or when If-Range is not the strong tag of this artifact (§13.1.5).
    """
    whole = Span(0, size, is_part=False)
    if request.method != "GET" or "Range" not in request.headers:
        return whole
    if not _may_be_part(request.headers.get("If-Range"), sha256):
        return whole
    try:
        asked = request.http_range
    except ValueError:
        return whole
    first = asked.start if asked.start is not None else 0
    if first < 0 or _NO_BYTES.search(request.headers["Range"]):
        return Span(max(size + first, 0), size, is_part=True) if size and first else None
    end = size if asked.stop is None else min(asked.stop, size)
    return Span(first, end, is_part=True) if first < size else None


def _may_be_part(if_range: str | None, sha256: str) -> bool:
    return if_range is None or if_range.strip() == f'"{sha256}"'


# ---- what is answered -----------------------------------------------------------------------


async def _send(
    parts: Parts, request: web.Request, stored: Stored, span: Span, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=206 if span.is_part else 200, headers=headers)
    response.content_length = span.end - span.start
    if span.is_part:
        size = stored.manifest.size_bytes
        response.headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    blocks = aiter(parts.store.stream(stored, span.start, span.end))
    # The first block before the head: a store that fails is told with a status.
    block = await anext(blocks, b"")
    await response.prepare(request)
    left, is_whole = span.end - span.start, True
    try:
        while block:
            await response.write(block)
            left -= len(block)
            block = await anext(blocks, b"")
    except FodcError as error:
        _log.warning("download of %s broke off: %s", stored.key, error.message)
        is_whole = False
    if left or not is_whole:
        break_off(request)
    await response.write_eof()
    return response


def break_off(request: web.Request) -> NoReturn:
    """End the connection: what was sent is not the whole, and the caller has to see that."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the artifact could not be read to its end")


def _headers(stored: Stored) -> dict[str, str]:
    told = stored.manifest
    digest = base64.b64encode(bytes.fromhex(told.sha256)).decode()
    return {
        "Content-Type": names.content_type(told),
        "Content-Disposition": f'attachment; filename="{names.file_name(told)}"',
        "ETag": f'"{told.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }


def _damaged(stored: Stored) -> str:
    told = stored.manifest
    return (
        f"artifact {told.artifact_id} is damaged: {stored.damage}; capture again, or look into "
        f"{stored.key} in the store and remove it"
    )


def artifact_of(stored: Stored) -> api.Artifact:
    """Return the manifest as the API shows it."""
    told = stored.manifest
    return api.Artifact(
        artifact_id=told.artifact_id,
        request_id=told.request_id,
        command_id=told.command_id,
        node_id=told.node,
        pod_name=told.pod,
        namespace=told.namespace or None,
        role=told.role,
        profile=told.profile,
        format=told.format,
        size_bytes=told.size_bytes,
        sha256=told.sha256,
        samples=told.samples,
        started_at=time_of(told.started_at_ms),
        finished_at=time_of(told.finished_at_ms),
        created_at=time_of(stored.stored_at_ms),
        duration_seconds=told.duration_ms / 1000,
        empty=told.empty,
        truncated=told.truncated,
        warnings=told.warnings,
        agent_version=told.agent_version,
        file_name=names.file_name(told),
        download_path=names.download_path(told.artifact_id),
        state=ArtifactState.DAMAGED if stored.damage else ArtifactState.STORED,
        message=_damaged(stored) if stored.damage else "",
    )
