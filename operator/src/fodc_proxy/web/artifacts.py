# SPDX-License-Identifier: Apache-2.0
"""Routes of artifacts: list, manifest, bytes with ranges, removal.

The one idea: whoever downloads can check and resume: length, digest and entity tag are those of the
whole artifact, and a read that fails midway ends the connection instead of looking complete.
"""

import base64
import logging
import re
from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from fodc_protocol.errors import FodcError
from fodc_proxy.artifacts import links
from fodc_proxy.artifacts.errors import MissingError
from fodc_proxy.artifacts.store import ArtifactStore, Stored
from fodc_proxy.web.answers import json_answer, problem
from fodc_proxy.web.diagnostics_input import answering, query_of

_log = logging.getLogger(__name__)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def routes(store: ArtifactStore) -> list[web.RouteDef]:
    """Return the routes of /artifacts."""
    asked = _Routes(store)
    one = "/artifacts/{id}"
    return [
        web.get("/artifacts", answering(asked.list_all), allow_head=False),
        web.get(one, answering(asked.download), allow_head=True),
        web.get(one + "/manifest", answering(asked.manifest), allow_head=False),
        web.delete(one, answering(asked.remove)),
    ]


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to, not including, `end`; `is_part` when a range was asked."""

    start: int
    end: int
    is_part: bool


class _Routes:
    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    async def list_all(self, request: web.Request) -> web.StreamResponse:
        query = query_of(request, "node_id", "request_id", "profile")
        found = self._store.select(
            node_id=query.get("node_id", ""),
            request_id=query.get("request_id", ""),
            profile=query.get("profile", ""),
        )
        return json_answer(
            {"artifacts": [links.resource(s.manifest, s.stored_at_ms) for s in found]}
        )

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        query_of(request)
        stored = self._find(request)
        return json_answer(links.resource(stored.manifest, stored.stored_at_ms))

    async def remove(self, request: web.Request) -> web.StreamResponse:
        query_of(request)
        await self._store.delete(self._find(request).manifest.artifact_id)
        return web.Response(status=204)

    async def download(self, request: web.Request) -> web.StreamResponse:
        query_of(request)
        stored = self._find(request)
        headers = _headers(stored)
        if request.headers.get("If-None-Match", "") in {headers["ETag"], "*"}:
            return web.Response(status=304, headers={"ETag": headers["ETag"]})
        size = stored.manifest.size_bytes
        span = asked_span(request.headers.get("Range", ""), size)
        if request.headers.get("If-Range", headers["ETag"]) != headers["ETag"]:
            span = Span(0, size, is_part=False)
        if span is None:
            message = f"the artifact has {size} bytes; ask for bytes=0-{max(size - 1, 0)}"
            content_range = {"Content-Range": f"bytes */{size}"}
            return problem(416, "BadRequest", message, "Range", headers=content_range)
        return await self._send(request, stored, span, headers)

    def _find(self, request: web.Request) -> Stored:
        artifact_id = request.match_info["id"]
        stored = self._store.find(artifact_id)
        if stored is None:
            raise MissingError(f"artifact {artifact_id[:128]} does not exist (any more)")
        return stored

    async def _send(
        self, request: web.Request, stored: Stored, span: Span, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=206 if span.is_part else 200, headers=headers)
        response.content_length = span.end - span.start
        if span.is_part:
            size = stored.manifest.size_bytes
            response.headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        blocks = aiter(self._store.stream(stored, span.start, span.end))
        # The first block before the head: a store that fails is told with a status.
        block = await anext(blocks, b"")
        await response.prepare(request)
        left = span.end - span.start
        try:
            while block:
                await response.write(block)
                left -= len(block)
                block = await anext(blocks, b"")
        except FodcError as error:
            _log.warning("download of %s broke off: %s", stored.key, error.message)
        if left:
            _break_off(request)
        await response.write_eof()
        return response


def _break_off(request: web.Request) -> NoReturn:
    """End the connection: what was sent is not the whole, and the caller has to see that."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the artifact could not be read to its end")


def _headers(stored: Stored) -> dict[str, str]:
    manifest = stored.manifest
    digest = base64.b64encode(bytes.fromhex(manifest.sha256)).decode()
    return {
        "Content-Type": links.content_type(manifest),
        "Content-Disposition": f'attachment; filename="{links.file_name(manifest)}"',
        "ETag": f'"{manifest.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }


def asked_span(header: str, size: int) -> Span | None:
    """Which bytes a Range header asks for, None when there are none such.

    What is no single range of bytes is ignored, as RFC 9110 §14.2 permits.
    """
    whole = Span(0, size, is_part=False)
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return whole
    if not found[1]:
        length = int(found[2])
        return Span(max(size - length, 0), size, is_part=True) if length and size else None
    start = int(found[1])
    end = min(int(found[2]) + 1, size) if found[2] else size
    if found[2] and int(found[2]) < start:
        return whole
    return Span(start, end, is_part=True) if start < size else None
