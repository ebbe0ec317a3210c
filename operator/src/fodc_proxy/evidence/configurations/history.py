# SPDX-License-Identifier: Apache-2.0
"""What each node was told and since when, pure.

The one idea: a snapshot is kept only when its content differs from the one before it, so the
snapshots of a node are its changes. A secret shows as its mask: that it was changed is not seen.
Times are Unix milliseconds.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from fodc_protocol.configuration import ConfigEntry, drift

MAX_NODES: Final = 2000
MAX_SNAPSHOTS: Final = 64
"""Of one node; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The settings of a node, sorted by name, from `since_ms` on; `hash` is the agent's.

    `gaps` says in sentences what the agent could not read.
    """

    address: str
    role: str
    tier: str
    hash: str
    since_ms: int
    entries: tuple[ConfigEntry, ...]
    gaps: tuple[str, ...] = ()

    @property
    def group(self) -> tuple[str, str]:
        """Role and tier: nodes of one group are expected to be told the same."""
        return self.role, self.tier

    @property
    def values(self) -> dict[str, str]:
        """Shown value by name."""
        return {entry.name: entry.value for entry in self.entries}


@dataclass(frozen=True, slots=True)
class Change:
    """One setting of a node that changed; None stands for "not set"."""

    node: str
    at_ms: int
    name: str
    before: str | None
    after: str | None


@dataclass(slots=True)
class History:
    """The snapshots of all nodes, the longest unheard node forgotten first."""

    max_nodes: int = MAX_NODES
    max_snapshots: int = MAX_SNAPSHOTS
    _by_node: dict[str, list[Snapshot]] = field(default_factory=dict)

    def note(self, snapshot: Snapshot) -> tuple[Snapshot | None, tuple[Snapshot, ...]]:
        """Take a reading in; return it if it is to be kept, and older ones that have no place now.

        One from before the newest snapshot comes of a clock that was set back: it is put after it.
        """
        known = self._by_node.pop(snapshot.address, [])
        self._by_node[snapshot.address] = known
        newest = known[-1] if known else None
        if newest is not None:
            if _content(snapshot) == _content(newest):
                return None, ()
            snapshot = replace(snapshot, since_ms=max(snapshot.since_ms, newest.since_ms + 1))
        known.append(snapshot)
        gone = self._trimmed(known)
        self._forget()
        return snapshot, gone

    def restore(self, snapshots: Iterable[Snapshot]) -> None:
        """Put back what an earlier life kept, in any order, before what is known by now."""
        for one in sorted(snapshots, key=lambda one: one.since_ms):
            known = self._by_node.setdefault(one.address, [])
            place = bisect_right(known, one.since_ms, key=lambda other: other.since_ms)
            if not any(_content(other) == _content(one) for other in known[place - 1 : place + 1]):
                known.insert(place, one)
            self._trimmed(known)
        self._forget()

    def nodes(self) -> tuple[str, ...]:
        """Return the addresses of all nodes that are known."""
        return tuple(self._by_node)

    def latest(self, address: str) -> Snapshot | None:
        """Return what a node is told now, as far as is known."""
        known = self._by_node.get(address)
        return known[-1] if known else None

    def at(self, address: str, at_ms: int) -> Snapshot | None:
        """Return what a node was told at that time, None when nothing of it is known."""
        known = self._by_node.get(address, [])
        place = bisect_right(known, at_ms, key=lambda one: one.since_ms)
        return known[place - 1] if place else None

    def changes_before(self, address: str, at_ms: int, span_ms: int) -> tuple[Change, ...]:
        """Return what changed in `span_ms` before `at_ms`, both ends included, by time and name.

        What was told before the first snapshot is not known, so that one is no change.
        """
        known = self._by_node.get(address, [])
        found: list[Change] = []
        for earlier, later in pairwise(known):
            if at_ms - span_ms <= later.since_ms <= at_ms:
                found += changes_between(earlier, later)
        return tuple(found)

    def _trimmed(self, known: list[Snapshot]) -> tuple[Snapshot, ...]:
        gone = known[: max(0, len(known) - self.max_snapshots)]
        del known[: len(gone)]
        return tuple(gone)

    def _forget(self) -> None:
        """Drop the nodes beyond the limit; what is kept of them in the store stays there."""
        while len(self._by_node) > self.max_nodes:
            del self._by_node[next(iter(self._by_node))]


def _content(one: Snapshot) -> tuple[str, tuple[ConfigEntry, ...]]:
    return one.hash, one.entries


def changes_between(earlier: Snapshot, later: Snapshot) -> Iterator[Change]:
    """Yield what differs between two snapshots of a node, by name."""
    before, after = earlier.values, later.values
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Change(later.address, later.since_ms, name, before.get(name), after.get(name))


# ---- in sync ------------------------------------------------------------------------------------


def drifting(snapshots: Sequence[Snapshot]) -> Mapping[str, tuple[str, ...]]:
    """Return by address the settings in which a node differs from the most of its group.

    Where no value has a majority each node of the group differs. Names, addresses, ports and
    folders are expected to differ; a node that is alone in its group differs in nothing.
    """
    groups: dict[tuple[str, str], list[Snapshot]] = {}
    for one in snapshots:
        groups.setdefault(one.group, []).append(one)
    found: dict[str, list[str]] = {one.address: [] for one in snapshots}
    for members in groups.values():
        for difference in drift({one.address: one.entries for one in members}):
            if difference.identity:
                continue
            for value, nodes in difference.values.items():
                if not difference.has_majority or value != difference.majority:
                    for address in nodes:
                        found[address].append(difference.name)
    return {address: tuple(names) for address, names in found.items()}
