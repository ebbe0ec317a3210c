# SPDX-License-Identifier: Apache-2.0
"""Configurations of the fleet: what each node was told, how old that is, and where roles differ.

The one idea: an agent that does not answer is missing and its last known configuration is shown as
stale with its age, so a reader sees both; names that look secret are masked again here, whatever
the agent has sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fodc_api import configuration as api
from fodc_api.cluster import Condition
from fodc_api.values import time_of
from fodc_api.words import DifferenceKind
from fodc_protocol.configuration import ConfigEntry, Drift, drift
from fodc_protocol.link import frames
from fodc_protocol.redaction import redact_value
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.queries.results import RoundResult

MAX_REMEMBERED = 2000


@dataclass(frozen=True, slots=True)
class KnownConfiguration:
    """The configuration of one node and when the proxy got it (Unix milliseconds)."""

    role: str
    configuration: frames.Configuration
    received_at_ms: int

    @property
    def read_at_ms(self) -> int:
        """When the agent read it, as far as that is known: its age counts from then."""
        return min(self.configuration.collected_at_ms or self.received_at_ms, self.received_at_ms)


@dataclass(slots=True)
class LastKnown:
    """The newest configuration of each node, the longest unheard forgotten first."""

    _by_node: dict[str, KnownConfiguration] = field(default_factory=dict)

    def note(self, result: RoundResult[frames.Configuration], now_ms: int) -> None:
        """Remember what a round gave."""
        for answer in result.answers:
            member = answer.member
            self._by_node.pop(member.address, None)
            self._by_node[member.address] = KnownConfiguration(
                member.role, masked(answer.value), now_ms
            )
        while len(self._by_node) > MAX_REMEMBERED:
            del self._by_node[next(iter(self._by_node))]

    def of(self, address: str) -> KnownConfiguration | None:
        """The newest configuration of a node."""
        return self._by_node.get(address)


def masked(configuration: frames.Configuration) -> frames.Configuration:
    """Mask every value that looks secret by its name or shape."""
    return replace(configuration, entries=tuple(_masked(e) for e in configuration.entries))


def _masked(entry: ConfigEntry) -> ConfigEntry:
    shown = redact_value(entry.name, entry.value)
    return replace(entry, value=shown.value, redacted=entry.redacted or shown.redacted)


# ---- the page -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """What one node was told, as far as it is shown; times in Unix milliseconds.

    `stale` when it did not answer this time; `epoch` is 0 where nobody told it.
    """

    node_id: str
    role: str
    tier: str
    hash: str
    read_at_ms: int
    entries: tuple[ConfigEntry, ...]
    conditions: tuple[frames.Condition, ...] = ()
    epoch: int = 0
    stale: bool = False


class Grouping(StrEnum):
    """Whose settings are compared with each other."""

    ROLE = "role"
    TIER = "tier"
    NODE = "node"

    def key(self, one: Shown) -> tuple[str, str]:
        """Return role and tier of the group of a node, empty for what does not tell groups."""
        match self:
            case Grouping.ROLE:
                return one.role, ""
            case Grouping.TIER:
                return one.role, one.tier
            case Grouping.NODE:
                return "", ""


def nodes_of(shown: Iterable[Shown], now_ms: int) -> tuple[api.NodeConfiguration, ...]:
    """Return the nodes with their settings."""
    return tuple(_node(one, now_ms) for one in shown)


def drift_of(shown: Iterable[Shown], grouping: Grouping) -> tuple[api.RoleDrift, ...]:
    """Return how the nodes of each group differ, stale nodes included."""
    groups: dict[tuple[str, str], list[Shown]] = {}
    for one in shown:
        groups.setdefault(grouping.key(one), []).append(one)
    return tuple(_group(key, groups[key]) for key in sorted(groups))


def head(
    result: RoundResult[frames.Configuration], ids: NodeIds, now_ms: int
) -> api.Configurations:
    """Return who was asked, who answered, who is missing; the rest is empty."""
    return api.Configurations(
        generated_at=time_of(now_ms),
        asked=result.asked,
        answered=len(result.answers),
        missing=tuple(
            api.Missing(ids.of(lost.member), lost.reason, lost.message) for lost in result.missing
        ),
    )


def shown_of(
    result: RoundResult[frames.Configuration], last_known: LastKnown, ids: NodeIds
) -> Sequence[Shown]:
    """Return the newest settings of everybody who was asked; `last_known` has noted the round."""
    members = [(answer.member, False) for answer in result.answers]
    members += [(lost.member, True) for lost in result.missing]
    shown = [
        _known(ids.of(member), member.tier, known, stale=stale)
        for member, stale in members
        if (known := last_known.of(member.address)) is not None
    ]
    return sorted(shown, key=lambda one: one.node_id)


def _known(node_id: str, tier: str, known: KnownConfiguration, *, stale: bool) -> Shown:
    told = known.configuration
    return Shown(
        node_id,
        known.role,
        tier,
        told.hash,
        known.read_at_ms,
        told.entries,
        told.conditions,
        told.epoch,
        stale,
    )


def _node(one: Shown, now_ms: int) -> api.NodeConfiguration:
    entries = sorted(one.entries, key=lambda entry: entry.name)
    return api.NodeConfiguration(
        node_id=one.node_id,
        role=one.role,
        hash=one.hash,
        epoch=one.epoch,
        collected_at=time_of(one.read_at_ms),
        age_seconds=max(now_ms - one.read_at_ms, 0) / 1000,
        stale=one.stale,
        entries=tuple(api.Entry(e.name, e.value, e.source, e.redacted) for e in entries),
        conditions=tuple(Condition(c.type, c.reason, c.message) for c in one.conditions),
    )


def _group(key: tuple[str, str], shown: Sequence[Shown]) -> api.RoleDrift:
    return api.RoleDrift(
        role=key[0],
        tier=key[1],
        nodes=tuple(one.node_id for one in shown),
        stale_nodes=tuple(one.node_id for one in shown if one.stale),
        differences=tuple(_difference(one) for one in drift({s.node_id: s.entries for s in shown})),
    )


def _difference(one: Drift) -> api.Difference:
    return api.Difference(
        name=one.name,
        kind=DifferenceKind.IDENTITY if one.identity else DifferenceKind.DRIFT,
        has_majority=one.has_majority,
        majority=one.majority,
        values=_values(one.values),
    )


def _values(values: Mapping[str | None, tuple[str, ...]]) -> tuple[api.DifferingValue, ...]:
    """Most frequent first; a value of null means that the node was not told this setting."""
    ranked = sorted(values.items(), key=lambda item: (-len(item[1]), item[0] or ""))
    return tuple(api.DifferingValue(value, nodes) for value, nodes in ranked)
