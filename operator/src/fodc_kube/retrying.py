# SPDX-License-Identifier: Apache-2.0
"""How long to wait before the next attempt: full jitter, growing, and as the server asks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

RETRIED_STATUSES: Final = frozenset({429, 500, 502, 503, 504})
"""The server may well answer the same request later."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of the attempts of one call; seconds."""

    first_s: float = 0.1
    longest_s: float = 5.0

    def wait_s(
        self, attempt: int, retry_after_s: float | None, chance: Callable[[], float]
    ) -> float:
        """Return the wait after attempt 0, 1, …; `chance` gives numbers in [0, 1).

        What the server asks for is a lower bound, with jitter on top so that not everybody comes
        back in the same instant.
        """
        widest_s: float = min(self.longest_s, self.first_s * 2.0 ** min(attempt, 16))
        return (retry_after_s or 0.0) + chance() * widest_s


def retry_after_s(header: str | None) -> float | None:
    """Read a Retry-After header in seconds; None for absent, for dates and for nonsense."""
    if header is None or not header.strip().isascii():
        return None
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 3600 else None
