# SPDX-License-Identifier: Apache-2.0
"""`/session` for browsers, and `/artifacts/{id}/links` for people without a token."""

import secrets
from typing import Final

from aiohttp import web

from fodc_api import access as api
from fodc_api.values import time_of
from fodc_proxy.access import links
from fodc_proxy.access.callers import ForbiddenError
from fodc_proxy.access.sessions import LASTS_S, Session
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.artifacts import find
from fodc_proxy.http.guard import cookie_name, cookie_of
from fodc_proxy.http.routes import Call, NothingAsked, Parts
from fodc_proxy.storage import names

PATH: Final = "/session"
_SECRET_BYTES: Final = 32


async def opened(parts: Parts, call: Call[NothingAsked]) -> Reply:
    """Begin a session for whoever showed a token."""
    if call.entry.session is not None:
        # Or it would live on when the token does not.
        raise ForbiddenError("a session is begun with a token, not with another session")
    cookie, csrf = (secrets.token_urlsafe(_SECRET_BYTES) for _ in range(2))
    entry = call.entry
    session = entry.door.sessions.open(cookie, csrf, entry.caller, parts.clock_ms())
    secure = "; Secure" if call.request.secure else ""
    told = f"{cookie_name(call.request)}={cookie}; Path=/; Max-Age={LASTS_S}"
    headers = {"Set-Cookie": f"{told}; HttpOnly; SameSite=Strict{secure}"}
    return Reply(_shown(call, session), 201, headers)


async def current(_parts: Parts, call: Call[NothingAsked]) -> api.Session:
    """Say who asks."""
    return _shown(call, call.entry.session)


async def closed(_parts: Parts, call: Call[NothingAsked]) -> web.Response:
    """End the session of this browser."""
    call.entry.door.sessions.close(cookie_of(call.request))
    gone = f"{cookie_name(call.request)}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
    return web.Response(status=204, headers={"Set-Cookie": gone})


def _shown(call: Call[NothingAsked], session: Session | None) -> api.Session:
    caller = call.entry.caller
    return api.Session(
        caller.name,
        str(caller.method),
        tuple(sorted(caller.roles)),
        "" if session is None else session.csrf_token,
        None if session is None else time_of(session.ends_ms),
    )


async def linked(parts: Parts, call: Call[api.LinkSpec]) -> Reply:
    """Make a link to the bytes of an artifact."""
    stored, asked = find(parts, call.id), call.asked
    call.entry.note(node=stored.manifest.node, profile=stored.manifest.profile)
    link = links.Link(
        call.id,
        call.entry.caller.name,
        parts.clock_ms() + asked.lasts_seconds * 1000,
        secrets.token_hex(8),
        asked.once,
    )
    text = call.entry.door.links.made(link)
    path = f"{names.download_path(call.id)}?link={text}"
    return Reply(api.Link(path, time_of(link.ends_ms), asked.once), 201)
