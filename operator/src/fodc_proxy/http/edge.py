# SPDX-License-Identifier: Apache-2.0
"""From a table of routes to an application: hosts, who serves, and what a failure looks like.

The one idea: a handler raises, and which status and which shape that is, is decided here once.
Wrong methods, unknown paths and the existing routes answer as the existing proxy does (§6.2).
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware

from fodc_protocol.errors import FieldError, FodcError, Reason, shown
from fodc_proxy.access.audit import Deed
from fodc_proxy.access.callers import NOBODY, UnauthenticatedError
from fodc_proxy.access.door import Door
from fodc_proxy.captures.refusals import ConflictError, TooManyError
from fodc_proxy.http import openapi
from fodc_proxy.http.answers import Reply, problem, send_json, text_error
from fodc_proxy.http.guard import ENTRY, Entry, Wanted, challenge, let_in
from fodc_proxy.http.headers import REQUEST_ID, add_headers, numbered
from fodc_proxy.http.hosts import OPTION, AllowedHosts
from fodc_proxy.http.routes import Parts, Route
from fodc_proxy.http.selecting import UnknownNodeError
from fodc_proxy.queries.results import TooManyWindowsError

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
_ALWAYS_OPEN: Final = frozenset({"/healthz", "/readyz", "/version", "/metrics"})
_EXISTING: Final = web.AppKey("existing", tuple[re.Pattern[str], ...])
_STATUSES: Final = {
    Reason.BAD_REQUEST: 400,
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.NOT_FOUND: 404,
    Reason.CHECKSUM_MISMATCH: 410,
    Reason.TOO_LARGE: 413,
    Reason.BUSY: 503,
    Reason.THROTTLED: 503,
    Reason.STANDBY: 503,
    Reason.STORAGE_FAILED: 503,
    Reason.QUOTA_EXCEEDED: 503,
}
_CALLER_WENT: Final = 499
_REFUSED: Final = frozenset({401, 403})
_FAILED: Final = 500
_log = logging.getLogger(__name__)


def _always() -> bool:
    return True


def _unwritten(_deed: Deed) -> None:
    return None


def _untold(_route: str, _code: int, _seconds: float) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Edge:
    """What bounds all routes; while `is_open` says no, only probes and Prometheus are answered.

    `request_took` is told the path's pattern, the status and the seconds of each request.
    """

    max_body_bytes: int = 1024 * 1024
    hosts: AllowedHosts = AllowedHosts()  # noqa: RUF009 - frozen
    door: Door = field(default_factory=Door)
    is_open: Callable[[], bool] = _always
    request_took: Callable[[str, int, float], None] = _untold
    audit: Callable[[Deed], None] = _unwritten


def application(table: Iterable[Route], parts: Parts, edge: Edge | None = None) -> web.Application:
    """Return the application that serves these routes."""
    edge = edge or Edge()
    rows = tuple(table)
    middlewares = [numbered, _timing(edge), _errors, _gate(edge, parts, rows)]
    app = web.Application(middlewares=middlewares, client_max_size=edge.max_body_bytes)
    app.on_response_prepare.append(add_headers)
    app[openapi.DOCUMENT] = openapi.Document(rows, parts.version)
    app[_EXISTING] = tuple(_pattern(row.path) for row in rows if row.is_existing)
    for row in rows:
        handler = _audited(row, parts, edge) if row.is_audited else _handler(row, parts, edge.door)
        app.router.add_route(row.method, row.path, handler)
        if row.allows_head:
            app.router.add_route("HEAD", row.path, handler)
    return app


def _status_of(error: BaseException) -> int:
    """Return what a request that ended with an error is counted and audited as."""
    match error:
        case web.HTTPException():
            return error.status
        case ConnectionError() | asyncio.CancelledError():
            return _CALLER_WENT
        case _:
            return _FAILED


def _audited(row: Route, parts: Parts, edge: Edge) -> Handler:
    """Return the handler of a row that tells the audit how it went."""
    answer = _handler(row, parts, edge.door)

    async def told(request: web.Request) -> web.StreamResponse:
        status = _CALLER_WENT
        try:
            response = await answer(request)
            status = response.status
        except BaseException as error:
            status = _status_of(error)
            raise
        else:
            return response
        finally:
            if request.method != "HEAD" or status in _REFUSED:
                edge.audit(_deed(row, parts, request, status))

    return told


def _deed(row: Route, parts: Parts, request: web.Request, status: int) -> Deed:
    entry = request[ENTRY]
    named = {"object": request.match_info["id"]} if "id" in request.match_info else {}
    return Deed(
        parts.clock_ms(),
        request[REQUEST_ID],
        entry.caller,
        request.remote or "",
        row.name,
        status,
        {**named, **entry.about},
    )


def _wanted(row: Route, parts: Parts, request: web.Request) -> Wanted:
    artifact_id = request.match_info["id"] if row.takes_link else ""
    return Wanted(row.right, row.namespace_of(parts, request), artifact_id)


def _handler(row: Route, parts: Parts, door: Door) -> Handler:
    refused = _as_text if row.is_existing else _as_problem

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            await let_in(door, request, _wanted(row, parts, request), parts.clock_ms())
            result = await row.run(parts, request)
        except FodcError as error:
            return refused(error)
        if isinstance(result, web.StreamResponse):
            return result
        reply = result if isinstance(result, Reply) else Reply(result)
        return await send_json(request, reply)

    return answer


# ---- failures -------------------------------------------------------------------------------


def _as_problem(error: FodcError) -> web.Response:
    match error:
        case FieldError() | UnknownNodeError():
            field = error.field
        case ConflictError():
            return problem(409, error.reason, error.message, "id")
        case TooManyError():
            headers = {"Retry-After": str(error.retry_after_s)}
            return problem(429, error.reason, error.message, headers=headers)
        case UnauthenticatedError():
            headers = {"WWW-Authenticate": challenge(error)}
            return problem(401, error.reason, error.message, headers=headers)
        case _:
            field = ""
    return problem(_status(error), error.reason, error.message, field)


def _as_text(error: FodcError) -> web.Response:
    headers: dict[str, str] = {}
    if isinstance(error, TooManyWindowsError):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = challenge(error)
    return text_error(_status(error), error.message, headers=headers)


def _status(error: FodcError) -> int:
    return _STATUSES.get(error.reason, 500)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what aiohttp raises into answers of ours."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        return _wrong_method(request, error)
    except web.HTTPNotFound:
        return text_error(404, "404 page not found")
    except web.HTTPRequestEntityTooLarge as error:
        response = problem(413, Reason.TOO_LARGE, "the request body is too large", "body")
        response.force_close()
        del error
        return response
    except (web.HTTPException, asyncio.CancelledError, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - the last resort: logged, and told to the caller
        _log.exception("no answer to %s %s", request.method, shown(request.path))
        return problem(500, Reason.INTERNAL, "the proxy failed to answer; its log has the cause")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{\w+}", "[^/]+", path))


def _wrong_method(request: web.Request, error: web.HTTPMethodNotAllowed) -> web.Response:
    allowed: Mapping[str, str] = {"Allow": ", ".join(sorted(error.allowed_methods))}
    if any(one.fullmatch(request.path) for one in request.app[_EXISTING]):
        return text_error(405, "Method not allowed", headers=allowed)
    message = f"{request.method[:20]} is not allowed here; allowed: {allowed['Allow']}"
    return problem(405, Reason.BAD_REQUEST, message, headers=allowed)


# ---- how long it took -----------------------------------------------------------------------


def _timing(edge: Edge) -> Middleware:
    @web.middleware
    async def timing(request: web.Request, handler: Handler) -> web.StreamResponse:
        began_s = time.perf_counter()
        code = _CALLER_WENT
        try:
            answer = await handler(request)
            code = answer.status
        except BaseException as error:
            code = _status_of(error)
            raise
        else:
            return answer
        finally:
            resource = request.match_info.route.resource
            route = "unknown" if resource is None else resource.canonical
            edge.request_took(route, code, time.perf_counter() - began_s)

    return timing


# ---- who is answered ------------------------------------------------------------------------


def _gate(edge: Edge, parts: Parts, rows: Iterable[Route]) -> Middleware:
    audited = {(row.method, row.path): row for row in rows if row.is_audited}

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        wrong = _wrong_host(request, edge.hosts)
        if wrong is not None:
            edge.door.refused["ForeignHost"] += 1
            resource = request.match_info.route.resource
            name = "" if resource is None else resource.canonical
            if row := audited.get((request.method, name)):
                request[ENTRY] = Entry(NOBODY, edge.door)
                edge.audit(_deed(row, parts, request, wrong.status))
            return wrong
        if edge.is_open() or request.path in _ALWAYS_OPEN:
            return await handler(request)
        return problem(503, Reason.STANDBY, "this replica does not serve; /readyz says why")

    return gate


def _wrong_host(request: web.Request, hosts: AllowedHosts) -> web.Response | None:
    told = request.headers.getall("Host", [])
    if not told and request.version < (1, 1):
        return None
    if len(told) != 1:
        return problem(400, Reason.BAD_REQUEST, f"Host is given {len(told)} times", "Host")
    if hosts.allow(told[0]):
        return None
    message = (
        f"Host {shown(told[0])} is not answered: allow it with --{OPTION}, or use an address, "
        "localhost or the name of the Service"
    )
    return problem(421, Reason.FORBIDDEN, message, "Host")
