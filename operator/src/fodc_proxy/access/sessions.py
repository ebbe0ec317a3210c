# SPDX-License-Identifier: Apache-2.0
"""Sessions of browsers: a cookie in place of a token, and a second secret for changes; pure.

The one idea: a browser sends the cookie with whatever page asks it to, so a change also needs what
only a page of ours can have read. What is kept of a cookie is its digest.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from fodc_proxy.access.bearer import digest_of
from fodc_proxy.access.callers import Caller

LASTS_S: Final = 3600
_MOST: Final = 1_000
_MOST_PER_CALLER: Final = 16


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's session; it ends with the token that began it, by Unix time."""

    caller: Caller
    csrf_token: str
    ends_ms: int

    def permits_change(self, csrf_token: str) -> bool:
        """Say whether a change came from a page of ours."""
        return hmac.compare_digest(digest_of(csrf_token), digest_of(self.csrf_token))


class Sessions:
    """All sessions, the oldest first; each caller has a few, and the oldest go first."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    def open(self, cookie: str, csrf_token: str, caller: Caller, now_ms: int) -> Session:
        """Begin a session; both secrets are as random as they are long."""
        self._trim(caller, now_ms)
        last_ms = now_ms + LASTS_S * 1000
        ends_ms = min(last_ms, caller.ends_ms) if caller.ends_ms else last_ms
        session = Session(caller, csrf_token, ends_ms)
        self._by_digest[digest_of(cookie)] = session
        return session

    def find(self, cookie: str, now_ms: int) -> Session | None:
        """Return the session of a cookie that has not ended."""
        session = self._by_digest.get(digest_of(cookie))
        return session if session is not None and session.ends_ms > now_ms else None

    def close(self, cookie: str) -> None:
        """End a session."""
        self._by_digest.pop(digest_of(cookie), None)

    def _trim(self, caller: Caller, now_ms: int) -> None:
        """Make room for one more of a caller."""
        kept = {key: one for key, one in self._by_digest.items() if one.ends_ms > now_ms}
        own = [key for key, one in kept.items() if str(one.caller) == str(caller)]
        others = [key for key in kept if key not in own]
        gone = own[: max(0, len(own) - _MOST_PER_CALLER + 1)]
        gone += others[: max(0, len(kept) - len(gone) - _MOST + 1)]
        self._by_digest = {key: one for key, one in kept.items() if key not in gone}
