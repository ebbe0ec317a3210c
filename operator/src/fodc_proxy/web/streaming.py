# SPDX-License-Identifier: Apache-2.0
"""Bodies that are made while they are sent.

The one idea: a small body is one answer with its length, a large one goes out in pieces, and after
each piece everybody else gets a turn.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from aiohttp import web

from fodc_proxy.wire.pauses import let_others_run

_PIECE_BYTES: Final = 256 * 1024
_SMALL_BYTES: Final = 16 * 1024


async def answer_in_pieces(
    request: web.Request,
    chunks: Iterable[bytes],
    *,
    headers: Mapping[str, str],
    write_timeout_s: float,
) -> web.StreamResponse:
    """Send the chunks; a reader that takes nothing for `write_timeout_s` loses its connection."""
    pieces = _pieces(chunks)
    first = next(pieces, b"")
    if len(first) < _SMALL_BYTES:
        return web.Response(body=first, headers=headers)
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await _write(request, response, first, write_timeout_s)
    for piece in pieces:
        await _write(request, response, piece, write_timeout_s)
    await response.write_eof()
    return response


async def _write(
    request: web.Request, response: web.StreamResponse, piece: bytes, timeout_s: float
) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await response.write(piece)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reader took nothing in time") from None
    await let_others_run(5)


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small chunks, so that each write is worth its cost."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _PIECE_BYTES:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
