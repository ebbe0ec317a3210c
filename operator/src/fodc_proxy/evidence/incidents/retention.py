# SPDX-License-Identifier: Apache-2.0
"""Which incidents have to go; pure.

The one idea: an incident outlives its pod and its node, and ends by age, count and bytes only.  It
keeps its artifacts from being ended before it; so its bytes are theirs, and a node that has too
many incidents loses its own, never those of another.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fodc_api.words import IncidentPhase
from fodc_proxy.evidence.incidents.model import Incident

MOST_OF_A_NODE: Final = 100


@dataclass(frozen=True, slots=True)
class IncidentRetention:
    """How long incidents live; whatever is exceeded first ends the oldest ones."""

    max_age_ms: int = 30 * 24 * 3600 * 1000
    max_count: int = 1_000
    max_bytes: int = 1024**3


def surplus(
    incidents: Iterable[Incident],
    retention: IncidentRetention,
    size_bytes: Callable[[Incident], int],
    now_ms: int,
) -> tuple[str, ...]:
    """Return the ids of the incidents that go: closed ones before open ones, then the oldest."""
    order = sorted(
        incidents, key=lambda one: (one.phase is IncidentPhase.OPEN, one.last_at_ms, one.id)
    )
    sizes = {one.id: size_bytes(one) for one in order}
    of_node: dict[str, int] = {}
    for one in order:
        of_node[one.address] = of_node.get(one.address, 0) + 1
    count, total = len(order), sum(sizes.values())
    oldest_ms = now_ms - retention.max_age_ms
    gone: list[str] = []
    for one in order:
        within = count <= retention.max_count and total <= retention.max_bytes
        if within and one.last_at_ms >= oldest_ms and of_node[one.address] <= MOST_OF_A_NODE:
            continue
        gone.append(one.id)
        count, total = count - 1, total - sizes[one.id]
        of_node[one.address] -= 1
    return tuple(gone)
