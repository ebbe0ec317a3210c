# SPDX-License-Identifier: Apache-2.0
"""What a bearer token is and says, and the port to whoever can tell; pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from fodc_proxy.access.answers import Answer

LONGEST_TOKEN: Final = 8192
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")
_HASHED: Final = re.compile(r"sha256:([0-9a-f]{64})")
_NO_EXTRA: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Whose a token is, as whoever issued it says."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_EXTRA)
    """What else is known, such as the pod that a ServiceAccount's token is bound to."""
    audiences: tuple[str, ...] = ()
    """Which of the audiences that were asked for the token is meant for."""
    expires_ms: int = 0
    """Unix time after which the token is void, 0 when that is not known."""


Review: TypeAlias = Answer[Reviewed]


class TokenReviewer(Protocol):
    """Whoever can tell whose a token is."""

    async def review(self, token: str, audiences: tuple[str, ...]) -> Review:
        """Return whose a token is; a token for other audiences is denied. Raises nothing.

        No audiences are those of whoever is asked. The token is in no answer and in no log.
        """


def is_token(text: str) -> bool:
    """Say whether a text can be a bearer token (RFC 6750)."""
    return len(text) <= LONGEST_TOKEN and _TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def written_digest(text: str) -> bytes | None:
    """Return the digest that a text `sha256:…` stands for, None for another text."""
    told = _HASHED.fullmatch(text)
    return None if told is None else bytes.fromhex(told[1])
