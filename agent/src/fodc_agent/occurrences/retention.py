# SPDX-License-Identifier: Apache-2.0
"""Which profiles of short memory make room for newer ones. Pure.

The one idea: the profile that was taken when memory was highest says most, so the lowest goes
first (upstream-agent §11.4); the last one always stays.
"""

from collections.abc import Callable, Iterable

from fodc_agent.occurrences.keeping import PressureRecord


def evicted(
    records: Iterable[PressureRecord],
    size_bytes: Callable[[PressureRecord], int],
    *,
    max_count: int,
    max_bytes: int,
) -> list[PressureRecord]:
    """Return what has to go, so that neither limit is exceeded; `max_bytes` 0 is no limit."""
    ranked = sorted(records, key=lambda one: (one.rss_bytes, one.captured_at_ms), reverse=True)
    used_bytes = sum(map(size_bytes, ranked))
    gone: list[PressureRecord] = []
    while len(ranked) > 1 and (len(ranked) > max_count or 0 < max_bytes < used_bytes):
        lowest = ranked.pop()
        used_bytes -= size_bytes(lowest)
        gone.append(lowest)
    return gone
