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
from fodc_proxy.access.sessions import Session

OTHER_HEADER: Final = "X-FODC-Authorization"
"""Where the token is when something between needs `Authorization` for itself: the API server does
so, and takes it out of what it passes on."""
SESSION_COOKIE: Final = "fodc-session"
CSRF_HEADER: Final = "X-CSRF-Token"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_NO_ORIGIN: Final = "null"
"""What sandboxed frames and files say: nobody, and never the proxy."""
_OWN_SITES: Final = frozenset({"none", "same-origin"})
_PASSED_ON: Final = ("forwarded", "via", "x-forwarded", "x-real-ip", "x-client-ip", "cf-connecting")
"""How names of headers begin that say of a request that something has passed it on."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Entry:
    """One request's caller, what they may, and what the audit is told of it."""

    caller: Caller
    door: Door
    session: Session | None = None
    about: dict[str, str | Sequence[str]] = field(default_factory=dict)

    async def require(self, right: Right, namespace: str = "") -> None:
        """Return when the caller may; raises ForbiddenError and UnsureError."""
        await self.door.require(self.caller, right, namespace)

    def note(self, **about: str | Sequence[str]) -> None:
        """Add names and ids to what the audit is told."""
        self.about.update(about)


ENTRY: Final = web.RequestKey("entry", Entry)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request has to have: a right in a namespace, or a link to this artifact."""

    right: Right
    namespace: str = ""
    artifact_id: str = ""


async def let_in(door: Door, request: web.Request, wanted: Wanted, now_ms: int) -> None:
    """Give a request its entry, and return when it may; raises the errors of `callers`."""
    request[ENTRY] = Entry(NOBODY, door)
    if wanted.right is Right.ANYBODY:
        return
    _check_origin(door, request)
    link = request.query.get("link")
    if link is not None and wanted.artifact_id:
        uses = request.method != "HEAD"
        caller = door.by_link(link, wanted.artifact_id, now_ms, uses=uses)
        request[ENTRY] = Entry(caller, door)
        return
    try:
        session, knock = _session_of(door, request, now_ms), _knock_of(request)
    except UnauthenticatedError:
        door.refused["WrongToken"] += 1
        raise
    caller = await door.enter(knock) if session is None else session.caller
    request[ENTRY] = entry = Entry(caller, door, session)
    await entry.require(wanted.right, wanted.namespace)


def _knock_of(request: web.Request) -> Knock:
    passed_on = any(name.lower().startswith(_PASSED_ON) for name in request.headers)
    return Knock(request.remote or "", _token_of(request), is_passed_on=passed_on)


# ---- browsers ---------------------------------------------------------------------------------


def cookie_name(request: web.Request) -> str:
    """Return the name of the cookie; with TLS browsers hold it to what the prefix promises."""
    return "__Host-fodc-session" if request.secure else SESSION_COOKIE


def cookie_of(request: web.Request) -> str:
    """Return the cookie of a session, empty for none."""
    return request.cookies.get(cookie_name(request), "")


def _session_of(door: Door, request: web.Request, now_ms: int) -> Session | None:
    """Return the session of a request that shows no token; raises ForbiddenError.

    A cookie of a session that has ended is none.
    """
    cookie = cookie_of(request)
    if not cookie or _token_of(request):
        return None
    session = door.sessions.find(cookie, now_ms)
    if session is None or request.method in _SAFE_METHODS:
        return session
    if not session.permits_change(request.headers.get(CSRF_HEADER, "")):
        door.refused["NoCsrfToken"] += 1
        # The audit is told in whose name.
        request[ENTRY] = Entry(session.caller, door)
        raise ForbiddenError(f"{CSRF_HEADER} is missing or wrong: GET /session tells it")
    return session


# ---- headers ----------------------------------------------------------------------------------


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


def _check_origin(door: Door, request: web.Request) -> None:
    origin = request.headers.get("Origin")
    own = f"{request.scheme}://{request.host}"
    if origin is None:
        _check_site(door, request)
        return
    if origin != _NO_ORIGIN and _place(origin) == _place(own):
        return
    door.refused["ForeignOrigin"] += 1
    message = f"Origin {shown(origin)} is not this proxy: pages of other sites are not answered"
    raise ForbiddenError(message)


def _check_site(door: Door, request: web.Request) -> None:
    """Refuse what a browser sends for a page of another site without saying which.

    A link that somebody follows is answered: the page that it stands on sees nothing of it.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    is_followed = request.method in _SAFE_METHODS and (
        request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )
    if site in _OWN_SITES or is_followed:
        return
    door.refused["ForeignOrigin"] += 1
    message = f"Sec-Fetch-Site is {shown(site)}: pages of other sites are not answered"
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
