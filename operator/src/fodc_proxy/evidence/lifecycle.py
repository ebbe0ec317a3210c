# SPDX-License-Identifier: Apache-2.0
"""Groups, reports and schema of all agents together, pure (upstream-proxy §9, §10).

The one idea: groups are those that any agent tells of, and the schema of each is judged over every
node that is known to tell its schema, so that a node which has nothing at all of a group is seen.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from fodc_api.lifecycle import Group, LifecycleStatus, NodeFingerprint, SchemaConsistency
from fodc_proxy.evidence import parts
from fodc_proxy.evidence.consistency import UNKNOWN, Checker, Key, NodeSchema

PROPERTY: Final = "CATALOG_PROPERTY"
# What an agent says of a group whose schema it could not read whole.
_TORN: Final = "node schema state"
_DATA_KINDS: Final = frozenset({"stream", "measure", "trace"})


@dataclass(frozen=True, slots=True)
class Told:
    """What one agent told in this round.

    `taken_ms` is a time of a steady clock after which its evidence surely was taken; `is_fresh` is
    false for what it told in an earlier round, which is shown and not judged.
    """

    address: str
    pod_name: str
    part: parts.Lifecycle
    taken_ms: int
    is_fresh: bool = True


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many nodes should have told the schema of a group, and how many have."""

    expected: int
    answered: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A group with its verdict, and how many nodes stand behind it."""

    group: Group
    coverage: Coverage


# ---- reports ------------------------------------------------------------------------------------


def statuses(told: Iterable[Told]) -> tuple[LifecycleStatus, ...]:
    """Return the reports of each pod that has some, by pod."""
    found = [LifecycleStatus(one.pod_name, one.part.reports) for one in told if one.part.reports]
    return tuple(sorted(found, key=lambda status: status.pod_name))


# ---- groups -------------------------------------------------------------------------------------


def merged(told: Sequence[Told]) -> dict[str, Group]:
    """Return groups by name: the last that tells of one counts, errors are those of all."""
    groups: dict[str, Group] = {}
    errors: dict[str, set[str]] = {}
    for one in told:
        for group in one.part.groups:
            groups[group.name] = group
            errors.setdefault(group.name, set()).update(group.errors)
    return {
        name: replace(groups[name], errors=tuple(sorted(errors[name])), schema_consistency=None)
        for name in sorted(groups)
    }


# ---- schema -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Roster:
    """The nodes that tell their schema, by the address of the agent that tells it."""

    _nodes: dict[str, frozenset[str]] = field(default_factory=dict)

    def note(self, told: Iterable[Told], registered: Iterable[str]) -> None:
        """Take in who told what; agents that are not registered any more are forgotten."""
        known = set(registered)
        self._nodes = {one: nodes for one, nodes in self._nodes.items() if one in known}
        for one in told:
            if one.is_fresh and (nodes := _nodes_of(one.part.groups)):
                self._nodes[one.address] = nodes

    def of(self, address: str) -> frozenset[str]:
        """Return the nodes of an agent."""
        return self._nodes.get(address, frozenset())

    def __len__(self) -> int:
        return len(frozenset().union(*self._nodes.values()))


def _tells(groups: Iterable[Group]) -> bool:
    """Say whether any node of these groups tells its schema."""
    schemas = (one.schema_consistency for one in groups)
    objects = (one for schema in schemas if schema is not None for one in schema.objects)
    return any(one.node_fingerprints for one in objects)


def _nodes_of(groups: Iterable[Group]) -> frozenset[str]:
    found: set[str] = set()
    for group in groups:
        if group.schema_consistency is not None:
            for one in group.schema_consistency.objects:
                found.update(fingerprint.node for fingerprint in one.node_fingerprints)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Schemas:
    """What nodes have, by group and node, of this round alone."""

    nodes: Mapping[str, Mapping[str, NodeSchema]]
    torn: frozenset[tuple[str, str]]
    """Group and node of what was not whole."""
    complete: Mapping[str, int]
    """Nodes that told their schema at all, and after which time it was taken."""

    def of(self, group: str, *, is_covered: bool) -> dict[str, NodeSchema]:
        """Return the nodes' schemas of a group; an empty one for a node that has nothing of it."""
        had = self.nodes.get(group, {})
        found = dict(had)
        if is_covered or had:
            for node, taken_ms in self.complete.items():
                found.setdefault(node, NodeSchema({}, taken_ms))
        return {node: found[node] for node in found if (group, node) not in self.torn}


def schemas_of(told: Iterable[Told], roster: Roster) -> Schemas:
    """Return what was told in this round by nodes of the roster."""
    objects: dict[str, dict[str, dict[Key, NodeFingerprint]]] = {}
    torn: set[tuple[str, str]] = set()
    complete: dict[str, int] = {}
    for one in told:
        if not one.is_fresh or not _tells(one.part.groups):
            continue
        nodes = roster.of(one.address)
        complete.update(dict.fromkeys(nodes, one.taken_ms))
        for group in one.part.groups:
            if any(_TORN in error for error in group.errors):
                torn.update((group.name, node) for node in nodes)
            for key, has in _fingerprints(group):
                objects.setdefault(group.name, {}).setdefault(has.node, {})[key] = has
    known = {
        group: {node: NodeSchema(has, complete[node]) for node, has in by_node.items()}
        for group, by_node in objects.items()
    }
    return Schemas(known, frozenset(torn), complete)


def _fingerprints(group: Group) -> Iterator[tuple[Key, NodeFingerprint]]:
    if group.schema_consistency is not None:
        for one in group.schema_consistency.objects:
            for has in one.node_fingerprints:
                yield (one.kind, one.name), has


def judged(
    groups: Mapping[str, Group],
    registry: parts.Registry,
    schemas: Schemas,
    *,
    expected: int,
    checker: Checker,
    now_ms: int,
) -> Iterator[Judged]:
    """Yield every group with its verdict, by name, groups that only the registry has included."""
    names = set(groups)
    if not registry.fatal and expected:
        names.update(name for name in registry.groups if _has_data(registry.groups[name]))
    checker.keep_only(names)
    for name in sorted(names):
        group = groups.get(name) or Group(name, "", None, (), (), None)
        truth = registry.groups.get(name)
        nodes = schemas.of(name, is_covered=_is_covered(group, truth))
        coverage = Coverage(expected, len(nodes)) if nodes else Coverage(0, 0)
        verdict: SchemaConsistency | None = None
        if nodes:
            verdict = UNKNOWN
            if truth is not None and truth.objects and not truth.error and not registry.fatal:
                verdict = checker.check(name, truth.objects, nodes, expected, now_ms)
        errors = _errors(group, truth, registry.fatal, has_verdict=verdict is not None)
        yield Judged(replace(group, errors=errors, schema_consistency=verdict), coverage)


def _has_data(group: parts.RegistryGroup) -> bool:
    return any(kind in _DATA_KINDS for kind, _ in group.objects)


def _is_covered(group: Group, truth: parts.RegistryGroup | None) -> bool:
    """Say whether nodes tell of such a group at all: of properties they do not."""
    if truth is None or not truth.objects or group.catalog == PROPERTY:
        return False
    return bool(group.catalog) or _has_data(truth)


def _errors(
    group: Group, truth: parts.RegistryGroup | None, fatal: str, *, has_verdict: bool
) -> tuple[str, ...]:
    found = set(group.errors)
    if truth is not None and truth.error:
        found.add(f"registry read failed: {truth.error}")
    if fatal and has_verdict:
        found.add(f"registry unavailable: {fatal}")
    return tuple(sorted(found))
