# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: routes given from outside, behaviour of errors the same for all of them.

The one idea: each file of routes offers `routes(deps) -> list[RouteDef]`; this file knows none of
them. Wrong methods and unknown paths answer as the existing proxy does (upstream-proxy §6.2).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from aiohttp import web

from fodc_protocol.errors import Reason
from fodc_proxy.web.answers import problem, text_error

Routes: TypeAlias = Iterable[web.RouteDef]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ALWAYS_OPEN: Final = frozenset({"/healthz", "/readyz", "/version", "/metrics"})
_log = logging.getLogger(__name__)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what aiohttp raises into the answers of the existing proxy."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed:
        return text_error(405, "Method not allowed")
    except web.HTTPNotFound:
        return text_error(404, "404 page not found")
    except web.HTTPRequestEntityTooLarge:
        return problem(413, Reason.TOO_LARGE, "the request body is too large")
    except (web.HTTPException, asyncio.CancelledError, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - the last resort: logged, and told to the caller
        _log.exception("no answer to %s %s", request.method, request.path)
        return problem(500, Reason.INTERNAL, "the proxy failed to answer; its log has the cause")


def application(
    routes: Routes,
    *,
    max_body_bytes: int = 1024 * 1024,
    is_open: Callable[[], bool] = lambda: True,
    request_took: Callable[[str, int, float], None] = lambda _route, _code, _seconds: None,
) -> web.Application:
    """Return the application that serves these routes.

    While `is_open` says no, only what probes and Prometheus ask is answered. `request_took` is told
    the path's pattern, the status and the seconds of each request.
    """

    @web.middleware
    async def timing(request: web.Request, handler: Handler) -> web.StreamResponse:
        began_s = time.perf_counter()
        code = 499  # the caller went away
        try:
            answer = await handler(request)
            code = answer.status
            return answer
        finally:
            resource = request.match_info.route.resource
            route = "unknown" if resource is None else resource.canonical
            request_took(route, code, time.perf_counter() - began_s)

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_open() or request.path in _ALWAYS_OPEN:
            return await handler(request)
        return problem(503, Reason.STANDBY, "this replica does not serve; /readyz says why")

    app = web.Application(middlewares=[timing, _errors, gate], client_max_size=max_body_bytes)
    app.router.add_routes(list(routes))
    return app


class WebServer:
    """One HTTP listener; `start` fails with OSError when the address cannot be had."""

    def __init__(
        self, app: web.Application, *, keepalive_s: float = 10.0, shutdown_s: float = 0.5
    ) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=shutdown_s,
            keepalive_timeout=keepalive_s,
            handler_cancellation=True,
        )
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one and `address` tells it."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host or None, port, backlog=1024)
        await site.start()
        self.address = _address_of(self._runner.addresses)

    async def stop(self) -> None:
        """Stop listening, give requests in flight a moment, then end them."""
        await self._runner.cleanup()


def _address_of(addresses: list[object]) -> str:
    match addresses[0]:
        case (str(host), int(port), *_):
            shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - for callers
            return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
        case other:
            return str(other)
