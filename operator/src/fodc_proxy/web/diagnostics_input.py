# SPDX-License-Identifier: Apache-2.0
"""Reads queries and bodies of our JSON routes, and turns what is raised into JSON problems.

The one idea: a handler says what it accepts and raises; which status that is, is decided here once.
"""

import functools
import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.diagnostics.fields import FieldError, shown
from fodc_proxy.diagnostics.ledger import ConflictError
from fodc_proxy.web.answers import problem

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_JSON_DEPTH = 32

_STATUSES = {
    Reason.BAD_REQUEST: 400,
    Reason.NOT_FOUND: 404,
    Reason.TOO_LARGE: 413,
    Reason.BUSY: 503,
    Reason.STORAGE_FAILED: 503,
}


def answering(handler: Handler) -> Handler:
    """Wrap a handler: FodcError becomes a problem with its reason, message and field."""

    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except FieldError as error:
            return problem(400, error.reason, error.message, error.field)
        except ConflictError as error:
            return problem(409, error.reason, error.message, "id")
        except FodcError as error:
            return problem(_STATUSES.get(error.reason, 500), error.reason, error.message)

    return answer


def query_of(request: web.Request, *names: str) -> dict[str, str]:
    """The query, where each accepted name may be given once; raises FieldError."""
    for name in request.query:
        if name not in names:
            accepted = ", ".join(names) or "none"
            raise FieldError(
                shown(name).strip("'\""), f"is no parameter here; accepted: {accepted}"
            )
        if len(request.query.getall(name)) > 1:
            raise FieldError(name, "is given more than once")
    return dict(request.query)


def number_in(query: dict[str, str], name: str, *, low: int, high: int) -> int:
    """A whole number of the query, `low` when absent; raises FieldError."""
    text = query.get(name, str(low))
    is_number = text.isascii() and text.isdecimal() and len(text) <= 18
    if not is_number or not low <= int(text) <= high:
        raise FieldError(name, f"must be a whole number from {low} to {high}, got {shown(text)}")
    return int(text)


async def json_body(request: web.Request) -> object:
    """The parsed body; raises FieldError for what is no JSON or says a field twice.

    The media type must be JSON, which a form of another site cannot send by itself.
    """
    if request.content_type != "application/json":
        raise FieldError("Content-Type", f"must be application/json, got {request.content_type}")
    data = await request.read()
    try:
        return json.loads(data, parse_constant=_no_constant, object_pairs_hook=_no_twice)
    except FieldError:
        raise
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FieldError("body", f"is no JSON: {told}") from None


def _no_constant(text: str) -> object:
    raise FieldError("body", f"is no JSON: {text} is no number of JSON")


def _no_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise FieldError(shown(name).strip("'\""), "is given more than once")
        found[name] = value
    return found
