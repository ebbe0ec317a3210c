# SPDX-License-Identifier: Apache-2.0
"""Gathers what happened to nodes: the shell around the rules.

The one idea: everything that is told becomes a fact and goes through one door, and is answered when
it is stored; what follows from it, captures to fetch and neighbours to name, comes after that.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fodc_api.words import IncidentCause
from fodc_protocol.errors import FodcError
from fodc_protocol.ids import is_own_command
from fodc_protocol.occurrences import OccurrenceKind
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.engine import Engine, UnknownRequestError
from fodc_proxy.captures.model import Request
from fodc_proxy.evidence.findings import (
    KeptCrash,
    KeptPressure,
    occurred_ms,
    profile_artifact_id,
)
from fodc_proxy.evidence.incidents import adopting, facts
from fodc_proxy.evidence.incidents.before import SPAN_MS, ChangesBefore, History, of_settings
from fodc_proxy.evidence.incidents.book import CAPTURED_MS, Book
from fodc_proxy.evidence.incidents.facts import Fact, PodTold
from fodc_proxy.evidence.incidents.model import Held, Incident, OwnCapture
from fodc_proxy.evidence.incidents.occurrence import Occurrence
from fodc_proxy.evidence.incidents.retention import IncidentRetention, surplus
from fodc_proxy.evidence.incidents.schema import mismatches
from fodc_proxy.evidence.incidents.writing import Writing
from fodc_proxy.evidence.keeping import LogKeeper
from fodc_proxy.evidence.lifecycle import Judged
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.storage.artifacts import ArtifactStore
from fodc_proxy.storage.errors import StorageError
from fodc_proxy.storage.records import Records

TICK_S: Final = 5.0
_log = logging.getLogger(__name__)
_STALE_MS: Final = 24 * 3600 * 1000


def _nothing(_address: str, _at_ms: int, _span_ms: int) -> tuple[()]:
    return ()


def _nobody(_agent_id: str) -> None:
    return


class Incidents:
    """All incidents; the `Inbox` of occurrences. Belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        registry: Registry,
        engine: Engine,
        store: ArtifactStore,
        records: Records[Incident],
        logs: LogKeeper,
        retention: IncidentRetention,
        clock_ms: Callable[[], int],
    ) -> None:
        self.changes_before: ChangesBefore = _nothing
        """Who knows which settings of a node changed."""
        self.crash_told: Callable[[str], None] = _nobody
        """Who asks an agent (by its id) for the crash that it says its node has written down."""
        self._registry = registry
        self._engine = engine
        self._store = store
        self._records = records
        self._logs = logs
        self._retention = retention
        self._clock_ms = clock_ms
        self._book = Book()
        self._writing = Writing(records, self._book.find)
        self._history = History()
        self._subscribers: list[Callable[[Incident, bool], None]] = []
        self._is_loaded = False
        self._opening = asyncio.Lock()
        self._adopting: set[asyncio.Task[None]] = set()
        self._timekeeper: asyncio.Task[None] | None = None
        registry.subscribe(self._history.note)
        engine.subscribe(self._request_changed)
        store.spare(self.artifact_ids)

    # ---- reading --------------------------------------------------------------------------------

    @property
    def book(self) -> Book:
        """All incidents, to be read."""
        return self._book

    @property
    def records(self) -> Records[Incident]:
        """Where they are stored; `unreadable` has what cannot be read."""
        return self._records

    @property
    def unstored(self) -> int:
        """Count of incidents that are not stored as they are."""
        return sum(map(self._writing.is_behind, self._book.all()))

    def knows(self, address: str, source: str, number: int) -> bool:
        """Whether what this source numbers so stands in an incident already, and is stored."""
        found = self._book.known(address, source)
        if found is None or found[0] < number:
            return False
        incident = self._book.find(found[1])
        return incident is None or not self._writing.is_behind(incident)

    def artifact_ids(self) -> frozenset[str]:
        """Ids of all artifacts that incidents hold: they live as long as these."""
        return frozenset[str]().union(*(one.artifact_ids for one in self._book.all()))

    def subscribe(self, callback: Callable[[Incident, bool], None]) -> Callable[[], None]:
        """Call back with each incident that changed, once it is stored.

        And with whether that is news for people: a new one, or one with a stronger cause.
        """
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    # ---- told -----------------------------------------------------------------------------------

    async def take(self, told: Occurrence) -> None:
        """Take an occurrence in; returns when it is stored, raises StorageError."""
        origin = told.origin
        member = self._registry.get(origin.agent_id) or self._registry.find(origin.address)
        machine = "" if member is None else member.identity.kubernetes_node
        await self._note(facts.of_occurrence(told, machine))
        if told.kind is OccurrenceKind.CRASH:
            self.crash_told(origin.agent_id)

    async def pod_ended(self, told: PodTold) -> None:
        """Take in how the process of a container ended; as `take`."""
        self._check_open()
        held = None
        if told.log:
            held = await self._logs.keep(told.node, told.pod_uid, told.end.restarts, told.log)
        await self._note(facts.of_pod(told, held, self._clock_ms()))

    async def judged(self, verdicts: Sequence[Judged]) -> None:
        """Take in which nodes have another schema than the registry; what fails comes again."""
        try:
            await self.open()
            for one in mismatches(verdicts):
                member = self._registry.find(one.node)
                if member is not None:
                    await self._note(facts.of_schema(member, one, self._clock_ms()))
        except FodcError as error:
            _log.warning("what differs in schema is not stored: %s", error.message)

    async def found(self, kept: KeptCrash | KeptPressure) -> None:
        """Take in what a node left behind of late, once that is stored; as `take`."""
        await self.open()
        now_ms = self._clock_ms()
        if now_ms - (occurred_ms(kept) or now_ms) > _STALE_MS:
            return
        if isinstance(kept, KeptCrash):
            await self._note(facts.of_crash(kept, now_ms))
            return
        kinds = (one.type for one in kept.event.profiles)
        profiles = {kind: profile_artifact_id(kept, kind) for kind in kinds}
        await self._note(facts.of_pressure(kept, profiles, now_ms))

    def _check_open(self) -> None:
        if not self._is_loaded:
            raise StorageError("incidents cannot be stored now; /readyz says why")

    async def _note(self, fact: Fact) -> None:
        self._check_open()
        taken = self._book.take(fact, self._clock_ms())
        if taken is None:
            return
        if taken.is_new:
            self._look_around(taken.incident)
        if taken.is_news and taken.incident.cause is IncidentCause.OOM_KILLED:
            self._recall_heap(taken.incident)
        await self._writing.written(taken.incident.id)
        if taken.is_changed:
            self._tell(taken.incident.id, is_news=taken.is_news)
            self._adopt_soon(taken.incident.id)

    def _look_around(self, incident: Incident) -> None:
        """Note what was before, who else is there, and what was captured lately."""
        at_ms, address = incident.first_at_ms, incident.address
        own = self._history.before(address, at_ms, SPAN_MS)
        settings = of_settings(self.changes_before(address, at_ms, SPAN_MS))
        self._book.surrounded(incident.id, (*own, *settings), self._neighbours_of(incident))
        for stored in self._store.select(node_id=address):
            told = stored.manifest
            if abs(told.started_at_ms - at_ms) <= CAPTURED_MS:
                held = Held(told.artifact_id, told.profile)
                self._book.captured(address, held, told.started_at_ms)

    def _recall_heap(self, incident: Incident) -> None:
        """Let the last heap that was taken because memory was short belong to the kill.

        A node that leaks slowly stays for hours between its threshold and its limit.
        """
        heaps = self._store.select(node_id=incident.address, profile=Profile.HEAP)
        for taken in (one.manifest for one in heaps if is_own_command(one.manifest.command_id)):
            if 0 <= incident.last_at_ms - taken.started_at_ms <= _STALE_MS:
                self._book.holds(incident.id, Held(taken.artifact_id, taken.profile))
                return

    def _neighbours_of(self, incident: Incident) -> tuple[str, ...]:
        machine = incident.node.machine
        if not machine:
            return ()
        members = self._registry.members()
        others = (m.address for m in members if m.identity.kubernetes_node == machine)
        return tuple(one for one in others if one != incident.address)

    def _tell(self, incident_id: str, *, is_news: bool = False) -> None:
        incident = self._book.find(incident_id)
        if incident is None:
            return
        if is_news:
            what = (incident.id, incident.address, incident.cause, incident.message)
            _log.warning("incident %s: node=%s cause=%s: %s", *what)
        for callback in tuple(self._subscribers):
            try:
                callback(incident, is_news)
            except Exception:  # noqa: BLE001 - one subscriber must not cost the others
                _log.exception("a subscriber failed on incident %s", incident_id)

    # ---- captures -------------------------------------------------------------------------------

    def _request_changed(self, request: Request) -> None:
        """Take in what was captured near an incident, or for it."""
        if request.caller == adopting.CALLER:
            self._outcome(request)
            return
        for target in request.targets:
            for result in target.results:
                if result.artifact_id:
                    held = Held(result.artifact_id, result.profile)
                    at_ms = result.started_at_ms or self._clock_ms()
                    self._save_all(self._book.captured(target.address, held, at_ms))

    def _outcome(self, request: Request) -> None:
        found = adopting.outcome(request)
        if found is not None:
            self._save_all(self._book.fetched(request.id, *found))

    def _save_all(self, changed: Iterable[Incident]) -> None:
        for one in changed:
            self._writing.soon(one.id)
            self._tell(one.id)

    def _adopt_soon(self, incident_id: str) -> None:
        incident = self._book.find(incident_id)
        if incident is None or not any(one.is_open for one in incident.captures):
            return
        task = asyncio.create_task(self._adopt(incident), name=f"fetch for {incident_id}")
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, incident: Incident) -> None:
        """Ask for what the agent has taken by itself; what cannot be asked now is tried again."""
        for capture in incident.captures:
            if capture.is_open:
                await self._adopt_one(incident, capture)

    async def _adopt_one(self, incident: Incident, capture: OwnCapture) -> None:
        wrong = adopting.obstacle(capture)
        if not wrong and self._clock_ms() - incident.heard_at_ms > _STALE_MS:
            wrong = "its agent did not come back within a day"
        if wrong:
            self._save_all(self._book.fetched(capture.command_id, "", wrong))
            return
        try:
            request = self._engine.get(capture.command_id)
        except UnknownRequestError:
            request = None
        try:
            if request is None:
                if self._registry.find(incident.address) is None:
                    return  # a proxy that was restarted waits for its agents
                spec = adopting.spec_of(incident.address, capture, incident.id)
                request, _ = await self._engine.submit(
                    spec, capture.command_id, caller=adopting.CALLER
                )
        except FodcError as error:
            _log.info("%s is not fetched yet: %s", capture.command_id, error.message)
            return
        if request.caller == adopting.CALLER:
            self._outcome(request)

    # ---- life -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read back what an earlier life has stored; raises StorageError."""
        async with self._opening:
            if self._is_loaded or not self._engine.is_open:
                return
            found = await self._records.load_all()
            self._book.restore(found)
            self._writing.restored(found)
            self._is_loaded = True

    def start(self) -> None:
        """Begin to keep time."""
        self._timekeeper = asyncio.create_task(self._keep_time(), name="incidents' clock")

    async def stop(self) -> None:
        """End all work and wait for it."""
        tasks = [one for one in (self._timekeeper, *self._adopting) if one is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writing.stop()

    async def settled(self) -> None:
        """Wait until nothing is in hand."""
        while self._adopting:
            await asyncio.wait(tuple(self._adopting))
        await self._writing.settled()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception:  # noqa: BLE001 - logged; the next turn may do better
                _log.exception("incidents could not be looked after")

    async def tick(self) -> None:
        """Close what is quiet, store what is behind, fetch what waits, end what is over."""
        await self.open()
        if not self._is_loaded:
            return
        self._save_all(self._book.quiet(self._clock_ms()))
        for incident in self._book.all():
            if self._writing.is_behind(incident):
                self._writing.soon(incident.id)
            elif not self._adopting:
                self._adopt_soon(incident.id)
        self._retain()

    def _retain(self) -> None:
        now_ms = self._clock_ms()
        for incident_id in surplus(self._book.all(), self._retention, self._bytes_of, now_ms):
            self._book.remove(incident_id)
            self._writing.soon(incident_id)
            _log.info("retention removed incident %s", incident_id)

    def _bytes_of(self, incident: Incident) -> int:
        stored = (self._store.find(one) for one in incident.artifact_ids)
        return sum(one.manifest.size_bytes for one in stored if one is not None)
