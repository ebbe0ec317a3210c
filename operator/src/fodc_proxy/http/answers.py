# SPDX-License-Identifier: Apache-2.0
"""Answers: Structs as JSON, problems, the existing proxy's plain-text errors, bodies in pieces.

The one idea: there is one way out. A small body is one answer with its length, a large one goes out
in pieces and after each piece everybody else gets a turn; how long a reader may take nothing is the
listener's business, for all of them alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiohttp import web

from fodc_api.problems import Problem, ProblemDetail
from fodc_proxy.wire.pauses import let_others_run

PIECE_BYTES: Final = 256 * 1024
_SMALL_BYTES: Final = 16 * 1024
JSON_TYPE: Final = "application/json"
_RETRY_AFTER_S: Final = 1
_NO_HEADERS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Reply:
    """A Struct, or a list of them, with a status and headers of its own."""

    value: msgspec.Struct | tuple[msgspec.Struct, ...]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


async def send_json(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Send a Struct as JSON with a newline at its end."""
    data = msgspec.json.encode(reply.value) + b"\n"
    headers = {"Content-Type": JSON_TYPE, **reply.headers}
    if len(data) <= PIECE_BYTES:
        return web.Response(body=data, status=reply.status, headers=headers)
    pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
    headers["Content-Length"] = str(len(data))
    return await send_pieces(request, pieces, status=reply.status, headers=headers)


async def send_pieces(
    request: web.Request,
    chunks: Iterable[bytes],
    *,
    headers: Mapping[str, str],
    status: int = 200,
) -> web.StreamResponse:
    """Send the chunks; a large body is made while it is sent."""
    pieces = _joined(chunks)
    first = next(pieces, b"")
    if len(first) < _SMALL_BYTES:
        return web.Response(body=first, status=status, headers=headers)
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    await response.write(first)
    for piece in pieces:
        await let_others_run(5)
        await response.write(piece)
    await response.write_eof()
    return response


def _joined(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small chunks, so that each write is worth its cost."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= PIECE_BYTES:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def problem(
    status: int,
    reason: str,
    message: str,
    field: str = "",
    *,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> web.Response:
    """Return the one shape of our JSON errors; `field` names the input that is wrong."""
    body = msgspec.json.encode(Problem(ProblemDetail(reason, message, field))) + b"\n"
    told = {"Content-Type": JSON_TYPE, **_retrying(status), **headers}
    return web.Response(body=body, status=status, headers=told)


def text_error(
    status: int, message: str, *, headers: Mapping[str, str] = _NO_HEADERS
) -> web.Response:
    """Return an error as the existing proxy writes it: plain text, newline, nosniff."""
    told = {
        "Content-Type": "text/plain; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
        **_retrying(status),
        **headers,
    }
    return web.Response(body=f"{message}\n".encode(), status=status, headers=told)


def _retrying(status: int) -> Mapping[str, str]:
    return {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
