# SPDX-License-Identifier: Apache-2.0
"""Readings of all nodes as nodes and flows, pure.

The one idea: a rate is the difference of two readings of the same node; a counter that went down
is a node that was started anew, and then there is no rate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fodc_api.flows import Flow, FlowKind, FlowNode
from fodc_proxy.evidence.flows.reading import Counts, Key, Reading, quantile

_P99 = 0.99


@dataclass(frozen=True, slots=True)
class Place:
    """Who a node is and by which names others may call it."""

    node_id: str
    role: str
    tier: str = ""
    namespace: str = ""
    cluster: str = ""
    zone: str = ""
    machine: str = ""
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """What a node says now and, where it was asked before, what it said `over_s` ago."""

    place: Place
    now: Reading
    before: Reading | None = None
    over_s: float = 0.0


def nodes_of(told: Iterable[Told]) -> tuple[FlowNode, ...]:
    """Return the nodes by id."""
    return tuple(sorted(map(_node, told), key=lambda one: one.node_id))


def flows_of(told: Sequence[Told]) -> tuple[Flow, ...]:
    """Return all flows by source, target and operation."""
    called = {name: one.place.node_id for one in told for name in one.place.names}
    found = [_flow(one, key, called) for one in told for key in one.now.flows]
    return tuple(sorted(found, key=lambda one: (one.source, one.target, one.operation)))


def _node(one: Told) -> FlowNode:
    place, now = one.place, one.now
    before = None if one.before is None else one.before.errors
    return FlowNode(
        place.node_id,
        place.role,
        place.tier or None,
        place.namespace or None,
        place.cluster or None,
        place.zone or None,
        place.machine or None,
        now.memory_bytes,
        now.memory_limit_bytes,
        now.in_flight,
        now.errors,
        _rate(now.errors, before, one.over_s),
    )


def _flow(one: Told, key: Key, called: Mapping[str, str]) -> Flow:
    counts = one.now.flows[key]
    before = None if one.before is None else one.before.flows.get(key)
    target, role, tier, operation = key
    return Flow(
        source=one.place.node_id,
        target=target,
        target_node_id=_called(target, called),
        target_role=role,
        target_tier=tier or None,
        kind=_kind(operation),
        operation=operation,
        groups=tuple(sorted(counts.groups)),
        started_total=counts.started,
        finished_total=counts.finished,
        in_flight=counts.in_flight,
        per_second=_rate(counts.finished, None if before is None else before.finished, one.over_s),
        p99_seconds=_p99(counts, before),
        errors_total=counts.errors,
    )


def _kind(operation: str) -> FlowKind:
    if "write" in operation:
        return FlowKind.WRITE
    return FlowKind.QUERY if "query" in operation else FlowKind.OTHER


def _called(target: str, called: Mapping[str, str]) -> str | None:
    """Return the node of `host:port`, `host` being an address, a pod or the first part of one."""
    host = target.rpartition(":")[0] or target
    return next(
        (called[name] for name in (target, host, host.split(".")[0]) if name in called), None
    )


def _rate(now: float | None, before: float | None, over_s: float) -> float | None:
    if now is None or before is None or over_s <= 0 or now < before:
        return None
    return (now - before) / over_s


def _p99(counts: Counts, before: Counts | None) -> float | None:
    if before is not None and before.finished <= counts.finished:
        fresh = {
            bound: held - before.buckets.get(bound, 0.0) for bound, held in counts.buckets.items()
        }
        if (told := quantile(fresh, _P99)) is not None:
            return told
    return quantile(counts.buckets, _P99)
