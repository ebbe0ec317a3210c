# SPDX-License-Identifier: Apache-2.0
"""Whose is a bearer token: a port to whoever can tell, and a memory in front of it.

The one idea: a token is kept as a hash only. A token that cannot be one is refused without asking,
so that noise costs nobody but us.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from fodc_proxy.access.answers import Answer, Denied, Memory, Remembered
from fodc_proxy.access.asking import Asking, Pace, moment
from fodc_proxy.fleet.moment import Moment

LONGEST_TOKEN: Final = 8192
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")
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


class TokenReviews:
    """A TokenReviewer that remembers, asks once, and never hangs."""

    def __init__(
        self,
        reviewer: TokenReviewer,
        *,
        name: str = "the API server",
        memory: Memory | None = None,
        pace: Pace | None = None,
        now: Callable[[], Moment] = moment,
    ) -> None:
        remembered = Remembered[Reviewed](memory, ends_ms=lambda one: one.expires_ms)
        self._asking = Asking(name, remembered, pace, now)
        self._reviewer = reviewer
        self.asked: Final = self._asking.asked

    async def review(self, token: str, audiences: tuple[str, ...]) -> Review:
        """Return whose a token is, from memory or asked for now."""
        if not is_token(token):
            return Denied(f"a token has 1 to {LONGEST_TOKEN} letters, digits and ._~+/=-")
        key = _key(token, audiences)
        return await self._asking.ask(key, lambda: self._reviewer.review(token, audiences))

    async def stop(self) -> None:
        """End what is being asked."""
        await self._asking.stop()


def is_token(text: str) -> bool:
    """Say whether a text can be a bearer token (RFC 6750)."""
    return len(text) <= LONGEST_TOKEN and _TOKEN.fullmatch(text) is not None


def _key(token: str, audiences: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\0".join((token, *audiences)).encode()).digest()
