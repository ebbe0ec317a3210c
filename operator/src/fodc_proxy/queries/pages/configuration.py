# SPDX-License-Identifier: Apache-2.0
"""Configurations of the fleet: what each node was told, how old that is, and where roles differ.

The one idea: an agent that does not answer is missing and its last known configuration is shown as
stale with its age, so a reader sees both; names that look secret are masked again here, whatever
the agent has sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as replaced

from fodc_api import configuration as api
from fodc_api.cluster import Condition
from fodc_api.values import time_of
from fodc_api.words import DifferenceKind
from fodc_protocol.configuration import ConfigEntry, Drift, Source, drift
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
class _Shown:
    node_id: str
    known: KnownConfiguration
    stale: bool


def configuration_page(
    result: RoundResult[frames.Configuration], last_known: LastKnown, ids: NodeIds, now_ms: int
) -> api.Configurations:
    """The answer of /cluster/config; `last_known` has noted this round already."""
    nodes = tuple(_node(one, now_ms) for one in _shown(result, last_known, ids))
    return replaced(_head(result, ids, now_ms), nodes=nodes)


def difference_page(
    result: RoundResult[frames.Configuration], last_known: LastKnown, ids: NodeIds, now_ms: int
) -> api.Configurations:
    """The answer of /cluster/config?diff=role: drift inside each role, stale nodes included."""
    roles: dict[str, list[_Shown]] = {}
    for one in _shown(result, last_known, ids):
        roles.setdefault(one.known.role, []).append(one)
    drifts = tuple(_role(role, roles[role]) for role in sorted(roles))
    return replaced(_head(result, ids, now_ms), roles=drifts)


def _head(
    result: RoundResult[frames.Configuration], ids: NodeIds, now_ms: int
) -> api.Configurations:
    return api.Configurations(
        generated_at=time_of(now_ms),
        asked=result.asked,
        answered=len(result.answers),
        missing=tuple(
            api.Missing(ids.of(lost.member), lost.reason, lost.message) for lost in result.missing
        ),
    )


def _shown(
    result: RoundResult[frames.Configuration], last_known: LastKnown, ids: NodeIds
) -> Sequence[_Shown]:
    members = [(answer.member, False) for answer in result.answers]
    members += [(lost.member, True) for lost in result.missing]
    shown = [
        _Shown(ids.of(member), known, stale)
        for member, stale in members
        if (known := last_known.of(member.address)) is not None
    ]
    return sorted(shown, key=lambda one: one.node_id)


def _node(one: _Shown, now_ms: int) -> api.NodeConfiguration:
    known, configuration = one.known, one.known.configuration
    entries = sorted(configuration.entries, key=lambda entry: entry.name)
    return api.NodeConfiguration(
        node_id=one.node_id,
        role=known.role,
        hash=configuration.hash,
        epoch=configuration.epoch,
        collected_at=time_of(configuration.collected_at_ms),
        age_seconds=max(now_ms - known.read_at_ms, 0) / 1000,
        stale=one.stale,
        entries=tuple(api.Entry(e.name, e.value, e.source, e.redacted) for e in entries),
        conditions=tuple(Condition(c.type, c.reason, c.message) for c in configuration.conditions),
    )


def _role(role: str, shown: Sequence[_Shown]) -> api.RoleDrift:
    differences = drift({one.node_id: _entries(one) for one in shown})
    return api.RoleDrift(
        role=role,
        nodes=tuple(one.node_id for one in shown),
        stale_nodes=tuple(one.node_id for one in shown if one.stale),
        differences=tuple(_difference(one) for one in differences),
    )


def _entries(one: _Shown) -> list[ConfigEntry]:
    return [
        ConfigEntry(entry.name, entry.value, _source(entry.source), entry.redacted)
        for entry in one.known.configuration.entries
    ]


def _source(text: str) -> Source:
    return Source(text) if text in list(Source) else Source.DEFAULT


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
