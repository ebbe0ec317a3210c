# SPDX-License-Identifier: Apache-2.0
"""Asks nodes what they were told, when somebody asks and when an agent says that it changed.

The one idea: agents tell a hash of the configuration with their state, so only a node whose hash is
not the known one is asked, and the answer is kept before anybody needs it: the node that is told
something wrong is the one that goes.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fodc_protocol.configuration import ConfigEntry, Source
from fodc_protocol.errors import FodcError
from fodc_protocol.link import frames
from fodc_proxy.evidence.configurations.history import Change, History, Snapshot, drifting
from fodc_proxy.evidence.configurations.keeping import SnapshotStore
from fodc_proxy.fleet.membership import Contract, Member, Transition
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.queries.pages.configuration import KnownConfiguration, LastKnown
from fodc_proxy.queries.results import RoundResult, Selection

EVERY_S: Final = 30.0
AGAIN_S: Final = 5.0
"""Shortest time between two turns, whatever agents say."""
_MOST_UNKEPT: Final = 4096
_JUDGED_MS: Final = 5_000
"""How long a comparison of all nodes is good for: each node's status asks for it."""
_log = logging.getLogger(__name__)


class Configurations:
    """What all nodes are and were told; belongs to the event loop."""

    def __init__(
        self,
        registry: Registry,
        rounds: Rounds,
        store: SnapshotStore,
        *,
        is_open: Callable[[], bool],
        clock_ms: Callable[[], int],
    ) -> None:
        self.last_known = LastKnown()
        self.history = History()
        self._registry = registry
        self._rounds = rounds
        self._store = store
        self._is_open = is_open
        self._clock_ms = clock_ms
        self._unkept: dict[Snapshot, None] = {}
        self._surplus: dict[Snapshot, None] = {}
        self.changed = 0
        """Snapshots that differed from the one before them."""
        self._is_loaded = False
        self._judged: tuple[int, dict[str, tuple[str, ...]]] | None = None
        self._woken = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        registry.subscribe(self._changed)

    # ---- asked by others ------------------------------------------------------------------------

    async def ask(self, selection: Selection) -> RoundResult[frames.Configuration]:
        """Ask the nodes now, and remember what they say."""
        result = await self._rounds.configuration(selection)
        now_ms = self._clock_ms()
        self.last_known.note(result, now_ms)
        for answer in result.answers:
            known = self.last_known.of(answer.member.address)
            if known is not None:
                self._note(snapshot_of(answer.member, known))
        return result

    def changes_before(self, node: str, at_ms: int, span_ms: int) -> tuple[Change, ...]:
        """Return what changed on a node in `span_ms` before `at_ms`, by time and name.

        `node` is an address (`namespace/pod`, or the pod's name where there is no namespace).
        """
        return self.history.changes_before(node, at_ms, span_ms)

    def in_sync(self, address: str) -> tuple[str, ...] | None:
        """Return in what a node differs from its peers; None where that is not known.

        It may be some seconds old.
        """
        now_ms = self._clock_ms()
        if self._judged is None or abs(now_ms - self._judged[0]) > _JUDGED_MS:
            self._judged = now_ms, self.drifting()
        return self._judged[1].get(address)

    def drifting(self) -> dict[str, tuple[str, ...]]:
        """Return by address of each registered node in what it differs from its peers."""
        latest = (self.history.latest(member.address) for member in self._registry.members())
        return dict(drifting([one for one in latest if one is not None]))

    @property
    def unkept(self) -> int:
        """Snapshots that are not stored yet."""
        return len(self._unkept)

    # ---- life ----------------------------------------

    async def open(self) -> None:
        """Read back what an earlier life has kept, once the store is open."""
        if not self._is_loaded and self._is_open():
            self.history.restore(await self._store.load())
            self._is_loaded = True

    def start(self) -> None:
        """Begin to watch."""
        self._watching = asyncio.create_task(self._watch(), name="configurations")

    async def stop(self) -> None:
        """End the work and wait for it."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self.turn()
            except Exception:  # noqa: BLE001 - logged; the next turn may do better
                _log.exception("configurations could not be watched")
            await asyncio.sleep(AGAIN_S)
            try:
                async with asyncio.timeout(EVERY_S - AGAIN_S):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()

    async def turn(self) -> None:
        """Ask whom there is to ask, and store what is not stored."""
        await self.open()
        due = [one for one in self._registry.members() if self._is_due(one)]
        if due:
            # One round of all costs less than many of one.
            await self.ask(Selection(pod_name=due[0].address if len(due) == 1 else ""))
        if self._is_open():
            await self._keep()

    # ---- inside ----------------------------------------

    def _changed(self, transition: Transition) -> None:
        if self._is_due(transition.member):
            self._woken.set()

    def _is_due(self, member: Member) -> bool:
        told = member.state.configuration_hash
        if not told or not member.is_living or member.contract is not Contract.LINK:
            return False
        known = self.history.latest(member.address)
        return known is None or known.hash != told

    def _note(self, snapshot: Snapshot) -> None:
        is_first = self.history.latest(snapshot.address) is None
        fresh, gone = self.history.note(snapshot)
        self.changed += fresh is not None and not is_first
        if fresh is not None and len(self._unkept) < _MOST_UNKEPT:
            self._unkept[fresh] = None
        for one in gone:
            if one in self._unkept:
                del self._unkept[one]
            else:
                self._surplus[one] = None

    async def _keep(self) -> None:
        """Store what is not stored, and remove what a node has too many of."""
        for one in list(self._unkept):
            try:
                await self._store.keep(one)
            except FodcError as error:
                _log.warning("the configuration of %s is not stored: %s", one.address, error)
                return
            self._unkept.pop(one, None)
        for one in list(self._surplus):
            del self._surplus[one]
            try:
                await self._store.drop(one)
            except FodcError as error:  # Retention ends it later.
                _log.info("an old configuration of %s stays: %s", one.address, error)


def snapshot_of(member: Member, known: KnownConfiguration) -> Snapshot:
    """Return what a reading says, secrets masked, from the time at which it was read."""
    told = known.configuration
    entries = sorted(told.entries, key=lambda entry: entry.name)
    return Snapshot(
        member.address,
        member.role,
        member.tier,
        told.hash,
        known.read_at_ms,
        tuple(_entry(one) for one in entries),
        tuple(one.message for one in told.conditions),
    )


def _entry(one: ConfigEntry) -> ConfigEntry:
    """Return the entry with a source that is known, whatever a newer agent says."""
    known = Source(one.source) if one.source in list(Source) else Source.DEFAULT
    return replace(one, source=known)
