# SPDX-License-Identifier: Apache-2.0
"""Whose is a bearer token: a memory in front of whoever can tell.

The one idea: a token is kept as a hash only. A token that cannot be one is refused without asking,
so that noise costs nobody but us.
"""

import hashlib
from collections.abc import Callable
from typing import Final

from fodc_proxy.access.answers import Denied, Memory, Remembered
from fodc_proxy.access.asking import Asking, Pace, moment
from fodc_proxy.access.bearer import LONGEST_TOKEN, Review, Reviewed, TokenReviewer, is_token
from fodc_proxy.fleet.moment import Moment

__all__ = ["Review", "Reviewed", "TokenReviewer", "TokenReviews"]


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

    async def review(self, token: str, audiences: tuple[str, ...], whose: str = "") -> Review:
        """Return whose a token is, from memory or asked for now on behalf of a peer."""
        if not is_token(token):
            return Denied(f"a token has 1 to {LONGEST_TOKEN} letters, digits and ._~+/=-")
        key = _key(token, audiences)
        return await self._asking.ask(key, lambda: self._reviewer.review(token, audiences), whose)

    async def stop(self) -> None:
        """End what is being asked."""
        await self._asking.stop()


def _key(token: str, audiences: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\0".join((token, *audiences)).encode()).digest()
