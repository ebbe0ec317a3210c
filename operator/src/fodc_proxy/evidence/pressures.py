# SPDX-License-Identifier: Apache-2.0
"""Pressure events of all nodes, and their profiles (upstream-proxy §12).

The one idea: the profile of an OOM kill is worth most after the pod has gone, so it is fetched when
it is first heard of, and whoever downloads it gets it from the store: whole, with its length and
its checksum.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from msgspec.structs import replace as with_fields

from fodc_api.findings import PressureEvent, PressureProfile
from fodc_protocol.errors import FodcError, Reason
from fodc_proxy.evidence.asking import Agents, Whole, covers, living, origin_of
from fodc_proxy.evidence.findings import TYPES, KeptPressure, ListRound
from fodc_proxy.evidence.index import Index
from fodc_proxy.evidence.keeping import Keeper, Receiving
from fodc_proxy.evidence.parts import Chunk
from fodc_proxy.fleet.membership import Member
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.results import Selection
from fodc_proxy.storage.artifacts import Stored

LIST_S: Final = 10.0
CHUNK_S: Final = 30.0
COMMIT_S: Final = 300.0
_MOST_ROUNDS: Final = 64
_log = logging.getLogger(__name__)


class UnavailableError(FodcError):
    """A profile that cannot be had; the texts are the existing proxy's."""

    default_reason = Reason.NOT_FOUND


class _Fetch:
    """One profile on its way; each piece must come within 30 s of the one before."""

    def __init__(self, receiving: Receiving, agent_id: str) -> None:
        self.receiving, self.agent_id = receiving, agent_id
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._limit: asyncio.Timeout | None = None

    def heard(self, within_s: float) -> None:
        """Wait for the next piece, or for the end, anew."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + within_s)

    def fail(self, message: str) -> None:
        """End it."""
        if not self.done.done():
            self.done.set_exception(UnavailableError(message))

    async def whole(self) -> None:
        """Wait until the profile is stored; raises UnavailableError."""
        try:
            async with asyncio.timeout(CHUNK_S) as self._limit:
                await asyncio.shield(self.done)
        except TimeoutError:
            words = f"timed out waiting for profile chunk from agent ID: {self.agent_id}"
            raise UnavailableError(words) from None


@dataclass(slots=True)
class _Turn:
    """Who fetches from one agent, and how many wait for that."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Pressures:
    """All pressure events that are known; belongs to the event loop's thread."""

    def __init__(self, registry: Registry, agents: Agents, keeper: Keeper) -> None:
        self._registry = registry
        self._agents = agents
        self._keeper = keeper
        self._index: Index[KeptPressure] = Index()
        self._rounds: dict[str, ListRound] = {}
        self._acknowledged = asyncio.Event()
        self._fetches: dict[str, _Fetch] = {}
        self._turns: dict[str, _Turn] = {}

    # ---- told -----------------------------------------------------------------------------------

    def event(self, agent_id: str, event: PressureEvent) -> None:
        """An agent has told of an event; it counts when the list is complete."""
        waiting = [one for one in self._rounds.values() if agent_id in one.waiting]
        for one in waiting:
            told = one.told.setdefault(agent_id, [])
            if len(told) < self._index.most_of_a_node:
                told.append(event)

    def list_end(self, agent_id: str, request_id: str) -> None:
        """An agent has told all of its events; those that it has no more are forgotten."""
        known = self._rounds.get(request_id)
        if known is None or not known.acknowledge(agent_id):
            return
        member = self._registry.get(agent_id)
        if member is not None:
            self._replace(member, known.told.pop(agent_id, []))
        self._acknowledged.set()

    def _replace(self, member: Member, told: list[PressureEvent]) -> None:
        """Take an agent's whole list: of what it has no more, that which is stored stays."""
        origin = origin_of(member)
        names = {event.profile_id for event in told}
        self._index.remove(
            origin.address, lambda kept: kept.name not in names and not self._is_stored(kept)
        )
        for kept in self._index.of(origin.address):
            if kept.name not in names:
                self._index.put(replace(kept, is_live=False))
        for event in told:
            whose = with_fields(
                event, agent_id=member.agent_id, pod_name=member.pod_name, role=member.role
            )
            self._index.put(KeptPressure(origin, whose))

    def _is_stored(self, kept: KeptPressure) -> bool:
        return any(self._keeper.profile(kept, type_) is not None for type_ in TYPES)

    async def chunk(self, agent_id: str, chunk: Chunk) -> None:
        """A piece of a profile has come; one that nobody waits for is dropped."""
        fetch = self._fetches.get(chunk.request_id)
        if fetch is None or fetch.agent_id != agent_id or fetch.done.done():
            return
        fetch.heard(COMMIT_S if chunk.last else CHUNK_S)
        if chunk.error:
            fetch.fail(f"agent failed to serve profile: {chunk.error}")
            return
        try:
            await fetch.receiving.append(chunk.data)
            if chunk.last:
                await fetch.receiving.commit(self._keeper.store)
        except FodcError as error:
            fetch.fail(error.message)
            return
        if chunk.last and not fetch.done.done():
            fetch.done.set_result(None)

    def gone(self, agent_id: str) -> None:
        """The agent's stream has ended: it is waited for no more, and what is unstored is lost."""
        for one in self._rounds.values():
            one.acknowledge(agent_id)
            one.told.pop(agent_id, None)
        self._acknowledged.set()
        for fetch in self._fetches.values():
            if fetch.agent_id == agent_id:
                fetch.fail(f"agent {agent_id} disconnected during profile fetch")
        for kept in tuple(self._index.all()):
            if kept.origin.agent_id == agent_id and kept.is_live:
                self._index.put(replace(kept, is_live=False))
                self._index.remove(kept.address, self._is_lost)

    def _is_lost(self, kept: KeptPressure) -> bool:
        return not kept.is_live and not self._is_stored(kept)

    def restore(self, kept: KeptPressure) -> None:
        """Take in what an earlier life has kept."""
        if self._is_stored(kept):
            self._index.put(kept)

    # ---- asked ----------------------------------------------------------------------------------

    async def listed(self, selection: Selection) -> tuple[tuple[PressureEvent, ...], Whole]:
        """Ask who is meant, and return what is known of them and of those that are gone."""
        whole = await self.refresh(selection)
        return self.known(selection), whole

    def known(self, selection: Selection) -> tuple[PressureEvent, ...]:
        """Return what is known without asking anybody."""
        found = (kept for kept in self._index.all() if covers(selection, kept.origin))
        return tuple(kept.event for kept in found if kept.is_live or self._is_stored(kept))

    async def refresh(self, selection: Selection) -> Whole:
        """Ask who is meant for all events; each has ten seconds."""
        wanted, dead = living(self._registry.members(), selection)
        missing = [member.pod_name for member in (*dead, *await self.ask(wanted))]
        return Whole(len(wanted) + len(dead), tuple(missing))

    async def ask(self, wanted: Sequence[Member]) -> list[Member]:
        """Ask these agents for all events; return who cannot be asked or did not answer."""
        if len(self._rounds) >= _MOST_ROUNDS:
            return list(wanted)
        missing: list[Member] = []
        request_id = secrets.token_hex(8)
        running = self._rounds[request_id] = ListRound({member.agent_id for member in wanted})
        try:
            for member in wanted:
                if self._agents.ask_events(member.agent_id, request_id):
                    running.acknowledge(member.agent_id)
                    missing.append(member)
            await self._until_done(running)
        finally:
            del self._rounds[request_id]
        return missing + [member for member in wanted if member.agent_id in running.waiting]

    async def _until_done(self, running: ListRound) -> None:
        try:
            async with asyncio.timeout(LIST_S):
                while not running.is_done:
                    waiting = self._acknowledged
                    await waiting.wait()
                    if self._acknowledged is waiting:
                        self._acknowledged = asyncio.Event()
        except TimeoutError:
            return

    async def profile(
        self, pod_name: str, profile_id: str, type_: str
    ) -> tuple[KeptPressure, Stored]:
        """Return a profile from the store, fetched first when it is not there.

        Raises UnavailableError that says why it cannot be had.
        """
        kept = self._find(pod_name, profile_id)
        if kept is None:
            await self.refresh(Selection(pod_name=pod_name))
            kept = self._find(pod_name, profile_id)
        told = None if kept is None else _told(kept, type_)
        if kept is None or told is None:
            raise UnavailableError("Profile not found")
        stored = self._keeper.profile(kept, type_)
        if stored is None:
            try:
                stored = await self._fetched(kept, told)
            except FodcError as error:
                raise UnavailableError(f"Profile not available: {error.message}") from error
        return kept, stored

    def _find(self, pod_name: str, profile_id: str) -> KeptPressure | None:
        """Return an event of a pod; one whose agent has it now before one that is stored only."""
        wanted = Selection(pod_name=pod_name)
        found = [
            kept
            for kept in self._index.all()
            if kept.name == profile_id and covers(wanted, kept.origin)
        ]
        return max(found, key=lambda kept: kept.is_live, default=None)

    @property
    def fetching(self) -> int:
        """Count of those who wait for a profile."""
        return sum(turn.users for turn in self._turns.values())

    # ---- kept -----------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Fetch and store what agents have and the store has not."""
        for kept in tuple(self._index.all()):
            for told in kept.event.profiles:
                if kept.is_live and self._keeper.profile(kept, told.type) is None:
                    try:
                        await self._fetched(kept, told)
                    except FodcError as error:
                        words = (told.type, kept.name, kept.address, error.message)
                        _log.warning("%s profile %s of %s is not stored: %s", *words)

    async def _fetched(self, kept: KeptPressure, told: PressureProfile) -> Stored:
        """Fetch a profile unless it is there by now; one at a time of each agent."""
        turn = self._turns.setdefault(kept.address, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                stored = self._keeper.profile(kept, told.type)
                if stored is None:
                    await self._fetch(kept, told)
                    stored = self._keeper.profile(kept, told.type)
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[kept.address]
        if stored is None:
            raise UnavailableError("the profile could not be stored")
        return stored

    async def _fetch(self, kept: KeptPressure, told: PressureProfile) -> None:
        if not self._keeper.is_open:
            raise UnavailableError("the artifact store is not open")
        if not self._keeper.has(kept):
            await self._keeper.keep(kept)
        agent_id, request_id = kept.origin.agent_id, secrets.token_hex(8)
        receiving = self._keeper.receive(kept, told.type, told.size_bytes)
        fetch = self._fetches[request_id] = _Fetch(receiving, agent_id)
        try:
            problem = self._agents.ask_profile(agent_id, request_id, kept.name, told)
            if problem:
                fetch.fail(problem)
            await fetch.whole()
        finally:
            del self._fetches[request_id]
            if self._keeper.profile(kept, told.type) is None:
                await receiving.drop()


def _told(kept: KeptPressure, type_: str) -> PressureProfile | None:
    return next((one for one in kept.event.profiles if one.type == type_), None)
