# SPDX-License-Identifier: Apache-2.0
"""Whether the schema of a group is everywhere as the registry has it, pure (upstream-proxy §10).

The one idea: a difference counts when evidence that was surely taken after the difference was first
seen still shows it, in a second round and no sooner than a while later.  Rounds alone say nothing:
two impatient callers make two of them, and an agent may answer both from one cache.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_api.lifecycle import (
    ZERO,
    Fingerprint,
    NodeFingerprint,
    ObjectConsistency,
    SchemaConsistency,
    SchemaIssue,
)

CONFIRMED_AFTER_MS: Final = 5_000
Key: TypeAlias = tuple[str, str]
"""Kind and name of an object."""
Objects: TypeAlias = Mapping[Key, Fingerprint]


class Status(StrEnum):
    """What is known of a group; the numbers of the gauge are those of the contract."""

    CONSISTENT = "CONSISTENCY_STATUS_CONSISTENT"
    INCONSISTENT = "CONSISTENCY_STATUS_INCONSISTENT"
    UNKNOWN = "CONSISTENCY_STATUS_UNKNOWN"

    @property
    def number(self) -> int:
        """The value of the gauge: 1, 2 or 3."""
        return _NUMBERS[self]


_NUMBERS: Final = {Status.CONSISTENT: 1, Status.INCONSISTENT: 2, Status.UNKNOWN: 3}


class Issue(StrEnum):
    """In what a node differs from the registry."""

    MISSING = "SCHEMA_ISSUE_TYPE_MISSING_IN_CACHE"
    ORPHAN = "SCHEMA_ISSUE_TYPE_ORPHAN"
    STALE = "SCHEMA_ISSUE_TYPE_CACHE_STALE"
    NOT_APPLIED = "SCHEMA_ISSUE_TYPE_RUNTIME_NOT_APPLIED"


@dataclass(frozen=True, slots=True)
class NodeSchema:
    """One group as a node has it; `taken_ms` is a time after which it surely was taken."""

    objects: Mapping[Key, NodeFingerprint]
    taken_ms: int


@dataclass(slots=True)
class _Streak:
    first_ms: int
    rounds: int = 0


@dataclass(slots=True)
class Checker:
    """Remembers by group what differed in the last round; times are of any steady clock."""

    _streaks: dict[str, dict[tuple[str, Key], _Streak]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._streaks.values()))

    def check(
        self,
        group: str,
        registry: Objects,
        nodes: Mapping[str, NodeSchema],
        expected: int,
        now_ms: int,
    ) -> SchemaConsistency:
        """Take one round of a group in; `expected` is how many nodes should have told theirs."""
        before = self._streaks.get(group, {})
        now: dict[tuple[str, Key], _Streak] = {}
        listed: list[SchemaIssue] = []
        for node, key, kind in _differences(registry, nodes):
            streak = now[node, key] = before.get((node, key)) or _Streak(now_ms)
            streak.rounds += 1
            if _is_confirmed(streak, nodes[node].taken_ms, now_ms):
                listed.append(SchemaIssue(*key, node, str(kind)))
        self._streaks[group] = now
        is_suppressed = len(listed) < len(now)
        status = _status(listed, len(nodes), expected, is_suppressed=is_suppressed)
        listed.sort(key=lambda issue: (issue.kind, issue.name, issue.node))
        return SchemaConsistency(str(status), _table(registry, nodes), tuple(listed))

    def keep_only(self, groups: Iterable[str]) -> None:
        """Forget the groups that are not there any more."""
        wanted = set(groups)
        for group in [one for one in self._streaks if one not in wanted]:
            del self._streaks[group]


def _is_confirmed(streak: _Streak, taken_ms: int, now_ms: int) -> bool:
    """Say whether a difference is one."""
    is_old = now_ms - streak.first_ms >= CONFIRMED_AFTER_MS
    return streak.rounds > 1 and is_old and taken_ms > streak.first_ms


def _differences(
    registry: Objects, nodes: Mapping[str, NodeSchema]
) -> Iterable[tuple[str, Key, Issue]]:
    for node, schema in nodes.items():
        for key, truth in registry.items():
            kind = _issue(truth, schema.objects.get(key))
            if kind is not None:
                yield node, key, kind
        for key in schema.objects:
            if key not in registry:
                yield node, key, Issue.ORPHAN


def _issue(truth: Fingerprint, has: NodeFingerprint | None) -> Issue | None:
    """Return in what a node's object differs; a stale cache hides what is in use."""
    if has is None:
        return Issue.MISSING
    if has.cache_fingerprint != truth:
        return Issue.STALE
    return Issue.NOT_APPLIED if has.runtime_fingerprint != truth else None


def _status(
    listed: list[SchemaIssue], answered: int, expected: int, *, is_suppressed: bool
) -> Status:
    if listed:
        return Status.INCONSISTENT
    if not answered or is_suppressed or answered < expected:
        return Status.UNKNOWN
    return Status.CONSISTENT


def _table(registry: Objects, nodes: Mapping[str, NodeSchema]) -> tuple[ObjectConsistency, ...]:
    names = sorted(nodes)
    keys = set(registry).union(*(schema.objects for schema in nodes.values()))
    return tuple(
        ObjectConsistency(
            *key,
            registry.get(key, ZERO),
            tuple(nodes[one].objects[key] for one in names if key in nodes[one].objects),
        )
        for key in sorted(keys)
    )


UNKNOWN: Final = SchemaConsistency(str(Status.UNKNOWN), (), ())
"""The verdict where the registry says nothing."""
