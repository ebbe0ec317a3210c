# SPDX-License-Identifier: Apache-2.0
"""When to try again; randomness and sleeping can be exchanged, for tests on virtual time."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.link.backoff import reconnect_delay_s

# A capture is waited for 30 s beyond its length, and a proxy that is replaced is away for up to 16:
# an agent that waits longer than the rest loses what it has captured. Agents are back within five
# seconds of a proxy that is there again; even 5,000 of them then knock 2,500 times a second, which
# costs a listener less than one scrape.
CAP_S: Final = 4.0


def chance() -> float:
    """Return a random number in [0, 1); the module `random` would be memory for one call."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses in seconds: `base_s` bounds the first one, four seconds all of them (W-54)."""

    base_s: float = 1.0
    probe_link_s: float = 300.0
    chance: Callable[[], float] = chance
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def retry_s(self, attempt: int) -> float:
        """Pause before the next attempt; 0 is the first."""
        return reconnect_delay_s(attempt, base_s=self.base_s, cap_s=CAP_S, chance=self.chance())

    def probe_s(self) -> float:
        """Pause before asking again for something that the proxy does not know: a few minutes."""
        return self.probe_link_s * (0.5 + self.chance())
