# SPDX-License-Identifier: Apache-2.0
"""What a route is: how it is asked, what it answers, who may, and the function that does it.

The one idea: a handler gets what was asked as a checked Struct and returns a Struct; reading,
writing and telling what is wrong are done here once for all routes.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec
from aiohttp import http_exceptions, web

from fodc_api.bad_input import read_body, read_query
from fodc_api.problems import Problem
from fodc_api.proxy import Check
from fodc_api.values import Query
from fodc_api.words import Right
from fodc_protocol.errors import FieldError
from fodc_protocol.metrics.samples import Sample
from fodc_proxy.captures.engine import Engine
from fodc_proxy.evidence.configurations.watch import Configurations
from fodc_proxy.evidence.flows.readings import Readings
from fodc_proxy.evidence.gathering import Findings
from fodc_proxy.evidence.incidents.engine import Incidents
from fodc_proxy.evidence.views import Views
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.http.answers import JSON_TYPE, Reply, problem
from fodc_proxy.http.guard import ENTRY, Entry
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.records import Unreadable

AskedT = TypeVar("AskedT", bound=msgspec.Struct)


class NothingAsked(Query, frozen=True):
    """The query of a route that has no parameters."""


class PassedOver(Query, frozen=True, forbid_unknown_fields=False):
    """The same where parameters are passed over."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What handlers need of the proxy; `clock_ms` is Unix time."""

    version: str
    incarnation: str
    started_at_ms: int
    clock_ms: Callable[[], int]
    registry: Registry
    rounds: Rounds
    views: Views
    findings: Findings
    incidents: Incidents
    configurations: Configurations
    readings: Readings
    engine: Engine
    store: ArtifactStore
    unreadable_requests: Callable[[], Sequence[Unreadable]]
    host_samples: Callable[[], Iterable[Sample]]
    own_page: Callable[[], bytes]
    checks: Callable[[], Sequence[Check]]
    new_request_id: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Call(Generic[AskedT]):
    """One request: what is asked, checked, and the rest of it."""

    asked: AskedT
    request: web.Request

    @property
    def id(self) -> str:
        """The `{id}` of the path."""
        return self.request.match_info["id"]

    @property
    def entry(self) -> Entry:
        """Who asks, and what they may."""
        return self.request[ENTRY]


Result: TypeAlias = msgspec.Struct | Reply | web.StreamResponse
Handler: TypeAlias = Callable[[Parts, Call[AskedT]], Awaitable[Result]]
Run: TypeAlias = Callable[[Parts, web.Request], Awaitable[Result]]
NamespaceOf: TypeAlias = Callable[[Parts, web.Request], str]


def _all_namespaces(_parts: Parts, _request: web.Request) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Media:
    """A body that is no JSON of a Struct: its media types, none for an empty one."""

    types: tuple[str, ...] = ()
    is_binary: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """One answer as the document tells it; `or_text` when it is plain text at times."""

    description: str
    body: type | Media
    or_text: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table; `is_existing` rows keep to the existing proxy's contract."""

    method: str
    path: str
    name: str
    summary: str
    right: Right
    query: type[msgspec.Struct] | None
    body: type[msgspec.Struct] | None
    answers: Mapping[int, Told]
    run: Run
    headers: Sequence[str] = ()
    is_existing: bool = False
    # In which namespace the caller needs the right; empty for all of them.
    namespace_of: NamespaceOf = _all_namespaces
    # Whether a signed link to the artifact in the path is enough.
    takes_link: bool = False
    # Whether the audit is told who read; it always is told who changed something.
    is_read_audited: bool = False

    @property
    def is_audited(self) -> bool:
        """Whether the audit is told of each request."""
        return self.method != "GET" or self.is_read_audited

    @property
    def allows_head(self) -> bool:
        """Whether HEAD is answered too, as RFC 9110 wants it; the existing routes refuse it."""
        return self.method == "GET" and not self.is_existing


ERRORS: Final[Mapping[int, str]] = {
    400: "A field, parameter or header is wrong; the error names it.",
    401: "Nobody knows who asks; the error says how to be known.",
    403: "The caller lacks a right, which the error names, or the Origin is a foreign page.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "The id is taken by a request that asks for something else.",
    410: "The bytes of the artifact are damaged.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    416: "The artifact has no such bytes.",
    421: "The Host header is none that is answered.",
    429: "A limit is reached, which the error names; Retry-After says when there is room again.",
    500: "The proxy failed.",
    503: "This replica does not serve, too much is asked at once, or the store does not work.",
}
_EVERYWHERE: Final = (421, 500, 503)
_GUARDED: Final = (401, 403)
# What is found wrong before a request has come to its route is told in one shape on all of them.
_BEFORE_A_ROUTE: Final = frozenset({400, 500, 503})
_TEXT: Final = Media(("text/plain",))


def told(
    answers: Mapping[int, Told],
    errors: Sequence[int],
    *,
    as_text: Sequence[int] = (),
    is_open: bool = False,
) -> Mapping[int, Told]:
    """Return all answers of a route: its own, its errors and those that every route may give.

    An open route asks nobody who they are.
    """
    found = dict(answers)
    for status in (*errors, *_EVERYWHERE, *(() if is_open else _GUARDED)):
        if status not in found:
            found[status] = _error(status, is_text=status in as_text)
    return dict(sorted(found.items()))


def _error(status: int, *, is_text: bool) -> Told:
    if is_text and status not in _BEFORE_A_ROUTE:
        return Told(ERRORS[status], _TEXT)
    return Told(ERRORS[status], Problem, or_text=is_text)


def querying(query: type[AskedT], handler: Handler[AskedT]) -> Run:
    """Return a handler's function for a request whose query is what is asked."""

    async def run(parts: Parts, request: web.Request) -> Result:
        return await handler(parts, Call(read_query(request.query.items(), query), request))

    return run


def posting(body: type[AskedT], handler: Handler[AskedT], *, timeout_s: float = 10.0) -> Run:
    """Return a handler's function for a request whose body is what is asked."""

    async def run(parts: Parts, request: web.Request) -> Result:
        read_query(request.query.items(), NothingAsked)
        if request.content_type != JSON_TYPE:
            message = f"Content-Type must be {JSON_TYPE}, got {request.content_type[:100]}"
            accepted = {"Accept": JSON_TYPE}
            return problem(415, "BadRequest", message, "Content-Type", headers=accepted)
        try:
            async with asyncio.timeout(timeout_s):
                data = await request.read()
        except TimeoutError:
            return _too_slow(timeout_s)
        except (web.RequestPayloadError, http_exceptions.BadHttpMessage, zlib.error) as error:
            raise FieldError("body", f"cannot be decoded: {_words(error)}") from None
        return await handler(parts, Call(read_body(data, body), request))

    return run


def _too_slow(timeout_s: float) -> web.Response:
    message = f"body did not come within {timeout_s:g} s"
    response = problem(408, "DeadlineExceeded", message, "body", headers={"Connection": "close"})
    response.force_close()
    return response


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or "it is not what Content-Encoding says"
