# SPDX-License-Identifier: Apache-2.0
"""Puts the diagnostics of a proxy together, for `runtime` and for tests.

The one idea: the order of opening is a rule (store, partial bytes, then requests), so it stands in
one place.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fodc_proxy.artifacts.objects import Objects, local_objects
from fodc_proxy.artifacts.partials import Partials
from fodc_proxy.artifacts.requests import Records
from fodc_proxy.artifacts.store import ArtifactStore, Retention
from fodc_proxy.diagnostics.coordinator import Coordinator
from fodc_proxy.diagnostics.ledger import Limits
from fodc_proxy.diagnostics.ports import Link
from fodc_proxy.diagnostics.records import dump_request, load_request
from fodc_proxy.diagnostics.targeting import Ability, Candidate
from fodc_proxy.fleet.membership import Contract, Member
from fodc_proxy.fleet.naming import NodeIds

STORE_FOLDER = "store"
PARTIAL_FOLDER = "partial"
_log = logging.getLogger(__name__)


class Members(Protocol):
    """Who is registered (`fleet.registry.Registry`)."""

    def members(self) -> Iterable[Member]:
        """All members, living or not."""

    def find(self, node_id: str) -> Member | None:
        """The member with this pod name, `namespace/pod` or agent id."""


@dataclass(frozen=True, slots=True)
class RegistryFleet:
    """The registry as the coordinator sees it."""

    registry: Members

    def candidates(self) -> Sequence[Candidate]:
        """One entry per pod: the living one before the dead, the newest of equals.

        An agent that tells no namespace counts as of the same pod as one that does, unless pods of
        several namespaces have its name.
        """
        members = tuple(self.registry.members())
        ids = NodeIds(members)
        best: dict[str, Member] = {}
        for member in members:
            key = ids.of(member)
            known = best.get(key)
            if known is None or _preference(member) >= _preference(known):
                best[key] = member
        return [_candidate(member) for member in best.values()]

    def program_of(self, address: str) -> tuple[str, str]:
        """Version and incarnation of a pod's agent."""
        member = self.registry.find(address)
        return ("", "") if member is None else (member.agent_version, member.incarnation)


def _preference(member: Member) -> tuple[bool, bool, int]:
    return member.is_living, member.contract is Contract.LINK, member.registered_at_ms


def _candidate(member: Member) -> Candidate:
    return Candidate(
        pod_name=member.pod_name,
        namespace=member.namespace,
        agent_id=member.agent_id,
        role=member.role,
        tier=member.tier,
        online=member.is_living,
        captures_on_request=member.contract is Contract.LINK,
        abilities={
            one.kind: Ability(one.state, one.reason, one.message)
            for one in member.state.capabilities
        },
    )


@dataclass(frozen=True, slots=True)
class DiagnosticsSettings:
    """What can be set; `data_dir` holds partial bytes and, without another store, artifacts."""

    data_dir: Path
    limits: Limits = field(default_factory=Limits)
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """The parts that others use: give `coordinator` to the link as its listener."""

    coordinator: Coordinator
    store: ArtifactStore
    partials: Partials

    async def open(self) -> None:
        """Take over what an earlier life has left; before any agent is served.

        Raises StorageError when the store or the data folder cannot be used.
        """
        await self.partials.open()
        swept = await self.store.open()
        _log.info("%d artifacts, %d leftovers removed", swept.artifacts, swept.leftovers)
        await self.coordinator.open()

    def start(self) -> None:
        """Begin to keep time."""
        self.coordinator.start()

    async def stop(self) -> None:
        """End all work; what is open goes on at the next start."""
        await self.coordinator.stop()


def assemble(
    settings: DiagnosticsSettings,
    *,
    registry: Members,
    link: Link,
    clock_ms: Callable[[], int],
    objects: Objects | None = None,
) -> Diagnostics:
    """Build the diagnostics; `objects` is the store to use instead of the data folder.

    Raises OSError when the data folder cannot be created.
    """
    kept = local_objects(settings.data_dir / STORE_FOLDER) if objects is None else objects
    store = ArtifactStore(kept, retention=settings.retention, clock_ms=clock_ms)
    partials = Partials(settings.data_dir / PARTIAL_FOLDER)
    coordinator = Coordinator(
        fleet=RegistryFleet(registry),
        link=link,
        artifacts=store,
        partials=partials,
        records=Records(kept, dump_request, load_request),
        limits=settings.limits,
        clock_ms=clock_ms,
    )
    return Diagnostics(coordinator, store, partials)
