# SPDX-License-Identifier: Apache-2.0
"""What every answer carries: its id, and what a browser may do with it.

The one idea: an answer is data and never a page of ours, so a browser that is made to show one runs
nothing, frames nothing and keeps nothing. A route that serves a page says otherwise itself.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

REQUEST_ID: Final = web.RequestKey("request_id", str)
_ALWAYS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@web.middleware
async def numbered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give a request an id of ours, by which log, audit and answer are found together."""
    request[REQUEST_ID] = secrets.token_hex(8)
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add what the handler has not said."""
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    request_id = request.get(REQUEST_ID)
    if request_id is not None:
        response.headers["X-Request-Id"] = request_id
