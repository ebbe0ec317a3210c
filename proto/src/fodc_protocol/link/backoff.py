# SPDX-License-Identifier: Apache-2.0
"""When to try again: exponential back-off with full jitter, so that a fleet returns spread out."""

MAX_DOUBLINGS = 16


def reconnect_delay_s(attempt: int, *, base_s: float, cap_s: float, chance: float) -> float:
    """Pause before attempt number `attempt` (0 is the first retry), in seconds.

    `chance` is a random number in [0, 1); the pause is uniform below the doubled base, so that
    the returns of many agents spread evenly (upstream W-54 has no jitter).
    """
    return chance * min(cap_s, base_s * 2.0 ** min(attempt, MAX_DOUBLINGS))
