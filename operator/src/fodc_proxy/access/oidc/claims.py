# SPDX-License-Identifier: Apache-2.0
"""What the issuer's claims say about a caller; pure.

The one idea: an issuer serves many programs and calls many people admin, so only roles that begin
with our prefix count, wherever in the claims they stand.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fodc_protocol.errors import BadRequestError
from fodc_proxy.access.callers import MAX_NAME_LENGTH, Caller, Method, is_own_machine
from fodc_proxy.access.roles import roles_named

DEFAULT_PREFIX: Final = "fodc-"
_MOST_WORDS: Final = 1_000
# How Keycloak tells roles of the realm; those of a client are beside them.
_REALM: Final = ("realm_access", "roles")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are believed, for which audience, and where they name roles."""

    url: str
    audience: str
    roles_claim: str = ""
    role_prefix: str = DEFAULT_PREFIX
    name_claim: str = "preferred_username"

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Where roles are looked for; a claim that was named is the only one."""
        if self.roles_claim:
            return ((self.roles_claim,), tuple(self.roles_claim.split(".")))
        return (("roles",), _REALM, ("resource_access", self.audience, "roles"))


def caller_of_claims(claims: Mapping[str, Any], issuer: Issuer) -> Caller:
    """Return the caller; raises BadRequestError for claims that name nobody."""
    name = claims.get(issuer.name_claim) or claims.get("sub")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise BadRequestError(f"the token has no name in {issuer.name_claim} or sub")
    words = (word for path in issuer.paths for word in _words(claims, path))
    mine = [
        word.removeprefix(issuer.role_prefix)
        for word in words
        if word.startswith(issuer.role_prefix)
    ]
    return Caller(
        name,
        Method.OIDC,
        roles_named(mine),
        uid=str(claims.get("sub", ""))[:MAX_NAME_LENGTH],
        granted_by=f"whoever gives roles {issuer.role_prefix}… at {issuer.url}",
        ends_ms=_ends_ms(claims),
    )


def _words(claims: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[str]:
    """Return the words at a path: a list of them, or one text with blanks between."""
    found: object = claims
    for name in path:
        if not isinstance(found, Mapping):
            return ()
        found = found.get(name)
    if isinstance(found, str):
        return found.split()[:_MOST_WORDS]
    if isinstance(found, list):
        return [word for word in found[:_MOST_WORDS] if isinstance(word, str)]
    return ()


def _ends_ms(claims: Mapping[str, Any]) -> int:
    ends = claims.get("exp")
    return int(ends * 1000) if isinstance(ends, int | float) and math.isfinite(ends) else 0


def wrong_url(url: str) -> str | None:
    """Say what is wrong with the URL of an issuer or of its keys, None when nothing is."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "is no URL"
    is_near = host == "localhost" or is_own_machine(host)
    if not host or parts.scheme not in {"https", "http"}:
        return "must be an https URL"
    if parts.scheme == "http" and not is_near:
        return "must begin with https, unless it is of this machine"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must have neither a password nor a query"
    return None
