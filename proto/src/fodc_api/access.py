# SPDX-License-Identifier: Apache-2.0
"""Who asks: sessions of browsers, and links to one artifact."""

from typing import Annotated

from msgspec import Meta

from fodc_api.values import Answer, Asked, Query, Time

MAX_LINK_S = 900


class LinkQuery(Query, frozen=True):
    """How somebody without a token reads an artifact."""

    link: Annotated[
        str, Meta(max_length=2048, description="What a signed link carries in place of a token.")
    ] = ""


class LinkSpec(Asked, frozen=True):
    """The body of POST /artifacts/{id}/links."""

    lasts_seconds: Annotated[int, Meta(ge=1, le=MAX_LINK_S)] = MAX_LINK_S
    once: Annotated[bool, Meta(description="Whether it is used up by the first download.")] = False


class Link(Answer, frozen=True):
    """A link to the bytes of one artifact; whoever has it needs no token."""

    path: Annotated[str, Meta(description="What comes after the address of the proxy.")]
    expires_at: Time
    once: bool


class Session(Answer, frozen=True):
    """Who asks; of a session also when it ends, and what a change has to carry."""

    caller: str
    authenticated: Annotated[str, Meta(description="How the caller is known.")]
    roles: Annotated[tuple[str, ...], Meta(description="None for callers of the API server.")]
    csrf_token: Annotated[
        str, Meta(description="To be sent as X-CSRF-Token with each change; empty for tokens.")
    ]
    expires_at: Time | None
