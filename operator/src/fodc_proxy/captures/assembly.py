# SPDX-License-Identifier: Apache-2.0
"""Puts the diagnostics of a proxy together, for `runtime` and for tests.

The one idea: the order of opening is a rule (store, partial bytes, then requests), so it stands in
one place.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from fodc_protocol.errors import FodcError
from fodc_proxy.captures.engine import Engine
from fodc_proxy.captures.model import Request
from fodc_proxy.captures.ports import Link
from fodc_proxy.captures.records import dump_request, load_request
from fodc_proxy.captures.table import Limits
from fodc_proxy.captures.targeting import Ability, Candidate
from fodc_proxy.fleet.membership import Contract, Member
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.errors import HeldError, StorageError, Trouble
from fodc_proxy.storage.health import WatchedObjects
from fodc_proxy.storage.opening import objects_at, room_bytes
from fodc_proxy.storage.partials import Partials
from fodc_proxy.storage.records import Records, Unreadable
from fodc_proxy.storage.retention import Retention

PARTIAL_FOLDER: Final = "partial"
TRY_AGAIN_S: Final = 5.0
_log = logging.getLogger(__name__)


class Members(Protocol):
    """Who is registered (`fleet.registry.Registry`)."""

    def members(self) -> Iterable[Member]:
        """All members, living or not."""

    def find(self, node_id: str) -> Member | None:
        """The member with this pod name, `namespace/pod` or agent id."""


@dataclass(frozen=True, slots=True)
class RegistryFleet:
    """The registry as the engine sees it."""

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
    """What can be set; `data_dir` holds partial bytes and, without a `store_url`, artifacts."""

    data_dir: Path
    store_url: str = ""
    limits: Limits = field(default_factory=Limits)
    retention: Retention = field(default_factory=Retention)


class Diagnostics:
    """The parts that others use: give `engine` to the link as its listener."""

    def __init__(
        self,
        engine: Engine,
        store: ArtifactStore,
        partials: Partials,
        objects: WatchedObjects,
        records: Records[Request],
        *,
        reads_again: bool,
    ) -> None:
        """Read everything once after a start when `reads_again`: a bucket looks after itself."""
        self._reads_again = reads_again
        self.engine = engine
        self.store = store
        self.objects = objects
        self.partials = partials
        self.records = records
        self._elected = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What is stored and cannot be understood; it is left alone."""
        return (*self.records.unreadable, *self.store.unreadable)

    async def open(self, *, elected: bool = False) -> None:
        """Take over what an earlier life has left; before any agent is served.

        A store that cannot be used now is tried again after `start`, and captures are refused until
        then.  Raises HeldError when another proxy uses it; one that `elected` this one is waited
        for or fenced.
        """
        self._elected = elected
        try:
            await self._open(elected=elected)
        except HeldError:
            raise
        except StorageError as error:
            self.objects.note(error)
        except FodcError as error:
            self.objects.note(StorageError(error.message))

    async def _open(self, *, elected: bool) -> None:
        await self.partials.open(elected=elected)
        await self.objects.open(elected=elected)
        swept = await self.store.open()
        told = (swept.artifacts, self.objects.place, swept.damaged, swept.leftovers)
        _log.info("%d artifacts in %s, %d damaged; %d leftovers removed", *told)
        await self.engine.open()

    def start(self) -> None:
        """Begin to keep time."""
        self.engine.start()
        self._keeper = asyncio.create_task(self._look_after(), name="artifact store")

    async def _look_after(self) -> None:
        """Try a store in trouble again, and read what was not read since the start."""
        while True:
            await asyncio.sleep(TRY_AGAIN_S if self.objects.trouble is not Trouble.NONE else 1.0)
            try:
                if not self.engine.is_open:
                    await self.open(elected=self._elected)
                elif self.objects.trouble is not Trouble.NONE:
                    await self.objects.probe()
                elif self._reads_again:
                    await self.store.verify_next()
            except FodcError as error:
                self.objects.note(StorageError(error.message))
            except Exception:  # noqa: BLE001 - time goes on
                _log.exception("looking after the artifact store failed")

    async def stop(self) -> None:
        """End all work; what is open goes on at the next start."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.engine.stop()
        await self.objects.close()
        await self.partials.close()


def assemble(
    settings: DiagnosticsSettings,
    *,
    registry: Members,
    link: Link,
    clock_ms: Callable[[], int],
) -> Diagnostics:
    """Build the diagnostics.

    Raises OSError or StorageError for a store that cannot be at all, OptionError for a retention
    that does not fit there.
    """
    objects = WatchedObjects(objects_at(settings.store_url, settings.data_dir))
    room = room_bytes(settings.store_url, settings.data_dir)
    max_bytes = settings.retention.bytes_within(room)
    store = ArtifactStore(
        objects, retention=settings.retention, max_bytes=max_bytes, clock_ms=clock_ms
    )
    partials = Partials(settings.data_dir / PARTIAL_FOLDER)
    records = Records(objects, dump_request, load_request)
    engine = Engine(
        fleet=RegistryFleet(registry),
        link=link,
        artifacts=store,
        partials=partials,
        records=records,
        limits=settings.limits,
        clock_ms=clock_ms,
    )
    return Diagnostics(engine, store, partials, objects, records, reads_again=room is not None)
