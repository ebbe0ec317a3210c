# SPDX-License-Identifier: Apache-2.0
"""What is told of nodes, in the fewest words."""

from fodc_protocol.occurrences import OccurrenceKind
from fodc_proxy.evidence.findings import Origin
from fodc_proxy.evidence.incidents.facts import Fact, PodTold, of_occurrence, of_pod
from fodc_proxy.evidence.incidents.model import ContainerEnd, Node
from fodc_proxy.evidence.incidents.occurrence import Occurrence

NOW_MS = 1_800_000_000_000
SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS


def occurrence(
    kind: OccurrenceKind | str,
    sequence: int = 1,
    at_ms: int = NOW_MS,
    pod: str = "data-0",
    incarnation: str = "i1",
    message: str = "",
    gap: int = 0,
    **fields: str,
) -> Occurrence:
    """What an agent tells."""
    origin = Origin("banyandb", pod, "ROLE_DATA", f"agent-of-{pod}", "1.0")
    kind = OccurrenceKind(kind)
    return Occurrence(origin, incarnation, sequence, at_ms, kind, message or str(kind), fields, gap)


def fact(kind: OccurrenceKind | str, *args: int, **told: object) -> Fact:
    """The same, as it is taken in."""
    return of_occurrence(occurrence(kind, *args, **told))


def pod_told(
    reason: str = "Error",
    exit_code: int = 137,
    restarts: int = 1,
    at_ms: int | None = NOW_MS,
    log: str = "",
    pod: str = "data-0",
) -> PodTold:
    """What the API server tells of a pod."""
    end = ContainerEnd("data", reason, exit_code, 0, "", restarts, NOW_MS - HOUR_MS, at_ms)
    return PodTold(Node("banyandb", pod, "ROLE_DATA", "machine-1"), "uid-1", end, (), log)


def pod_fact(**told: object) -> Fact:
    """The same, as it is taken in."""
    return of_pod(pod_told(**told), None, NOW_MS)
