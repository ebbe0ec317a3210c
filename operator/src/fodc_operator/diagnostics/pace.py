# SPDX-License-Identifier: Apache-2.0
"""How often what is done about DiagnosticRequests; times in milliseconds."""

from dataclasses import dataclass
from typing import Final

FIRST_RETRY_MS: Final = 250
LONGEST_RETRY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what is done, and how many requests are open in the proxy."""

    between_writes_ms: int = 1_000
    resync_ms: int = 300_000
    relist_ms: int = 5_000
    """After a list that failed."""
    check_open_ms: int = 10_000
    """Whether the objects of open requests are still there: a broken watch tells no deletions."""
    grace_ms: int = 20_000
    """After the start agents may need so long to register again."""
    grace_poll_ms: int = 2_000
    open_requests: int = 32


def retry_pause_ms(failures: int) -> int:
    """Return the pause after this many failures in a row."""
    return min(FIRST_RETRY_MS << min(failures, 16), LONGEST_RETRY_MS)
