# SPDX-License-Identifier: Apache-2.0
"""From a request to its caller: which headers show who asks, and which pages may ask at all.

The one idea: a handler runs with an `Entry` or not at all, and what it asks for beyond its row's
right it asks of that. A browser adds credentials to what a foreign page sends, so a request that
says it comes from a foreign page is refused, whatever else it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from fodc_api.words import Right
from fodc_protocol.errors import shown
from fodc_proxy.access.callers import NOBODY, Caller, ForbiddenError, UnauthenticatedError
from fodc_proxy.access.door import Door, Knock

OTHER_HEADER: Final = "X-FODC-Authorization"
"""Where the token is when something between needs `Authorization` for itself: the API server does
so, and takes it out of what it passes on."""
_PASSED_ON: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Entry:
    """One request's caller, what they may, and what the audit is told of it."""

    caller: Caller
    door: Door
    about: dict[str, str | Sequence[str]] = field(default_factory=dict)

    async def require(self, right: Right, namespace: str = "") -> None:
        """Return when the caller may; raises ForbiddenError and UnsureError."""
        await self.door.require(self.caller, right, namespace)

    def note(self, **about: str | Sequence[str]) -> None:
        """Add names and ids to what the audit is told."""
        self.about.update(about)


ENTRY: Final = web.RequestKey("entry", Entry)


async def let_in(door: Door, request: web.Request, right: Right, namespace: str = "") -> None:
    """Give a request its entry, and return when it may; raises the errors of `callers`."""
    request[ENTRY] = Entry(NOBODY, door)
    if right is Right.ANYBODY:
        return
    _check_origin(request)
    entry = Entry(await door.enter(_knock_of(request)), door)
    request[ENTRY] = entry
    await entry.require(right, namespace)


def _knock_of(request: web.Request) -> Knock:
    passed_on = any(name in request.headers for name in _PASSED_ON)
    return Knock(request.remote or "", _token_of(request), is_passed_on=passed_on)


def _token_of(request: web.Request) -> str:
    """Return the bearer token, empty for none; raises UnauthenticatedError for another scheme."""
    for name in (OTHER_HEADER, "Authorization"):
        told = request.headers.getall(name, [])
        if not told:
            continue
        scheme, _, token = told[0].partition(" ")
        if len(told) > 1 or scheme.lower() != "bearer" or not token.strip():
            message = f"{name} must be given once, as `Bearer` and a token"
            raise UnauthenticatedError(message, is_wrong=True)
        return token.strip()
    return ""


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is None or _place(origin) == _place(f"{request.scheme}://{request.host}"):
        return
    message = f"Origin {shown(origin)} is not this proxy: pages of other sites are not answered"
    raise ForbiddenError(message)


def _place(url: str) -> tuple[str, int | None]:
    """Return host and port; the scheme is left out, since TLS may end before the proxy."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url, None
    if parts.hostname is None:
        return url, None
    is_default = port in {None, *_DEFAULT_PORTS.values()}
    return parts.hostname.lower(), None if is_default else port


def challenge(error: UnauthenticatedError) -> str:
    """Return WWW-Authenticate as RFC 6750 (§3) has it."""
    return 'Bearer realm="fodc"' + (', error="invalid_token"' if error.is_wrong else "")
