# SPDX-License-Identifier: Apache-2.0
"""Crashes of all nodes: asked for, kept, shown whatever became of the node (upstream-proxy §11).

The one idea: an agent tells its newest crashes again and again, so what is known costs nothing, and
what is new is kept before anybody asks.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from fodc_api.findings import Crash
from fodc_protocol.errors import FodcError
from fodc_proxy.evidence.asking import Agents, Whole, covers, living, origin_of
from fodc_proxy.evidence.findings import KeptCrash
from fodc_proxy.evidence.index import Index
from fodc_proxy.evidence.keeping import Keeper
from fodc_proxy.evidence.parts import CrashTold
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.results import Selection

# The stream has no end of its answers: this long is waited for silence, and for the first word.
QUIET_S: Final = 0.25
LONGEST_S: Final = 2.0
MOST_TOLD: Final = 64
"""How many crashes one question may bring: agents tell their newest five."""
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Listening:
    """One caller who waits for agents to have told all."""

    silent: set[str]
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_quiet(self) -> None:
        """Wait until every agent has spoken and all have been quiet, or for two seconds."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + LONGEST_S
        while (left_s := deadline_s - loop.time()) > 0:
            self.heard.clear()
            try:
                async with asyncio.timeout(left_s if self.silent else min(left_s, QUIET_S)):
                    await self.heard.wait()
            except TimeoutError:
                return


class Crashes:
    """All crashes that are known; belongs to the event loop's thread."""

    def __init__(self, registry: Registry, agents: Agents, keeper: Keeper) -> None:
        self.dropped = 0
        self._registry = registry
        self._agents = agents
        self._keeper = keeper
        self._index: Index[KeptCrash] = Index()
        self._unkept: dict[tuple[str, str], KeptCrash] = {}
        self._budget: dict[str, int] = {}
        self._listening: set[_Listening] = set()

    # ---- told -----------------------------------------------------------------------------------

    def told(self, agent_id: str, told: CrashTold) -> None:
        """An agent has told of a crash; more than it was asked for is dropped."""
        member = self._registry.get(agent_id)
        left = self._budget.get(agent_id, 0)
        if member is None or left <= 0:
            self.dropped += 1
            return
        self._budget[agent_id] = left - 1
        crash = Crash(
            fetched_at=told.fetched_at,
            panic_record=told.panic_record,
            agent_id=agent_id,
            pod_name=member.pod_name,
            role=member.role,
            source_endpoint=told.source_endpoint,
            artifact_dir=told.artifact_dir,
            files=told.files,
        )
        self._take(KeptCrash(origin_of(member), crash))
        self._heard(agent_id)

    def _heard(self, agent_id: str) -> None:
        for one in self._listening:
            one.silent.discard(agent_id)
            one.heard.set()

    def _take(self, kept: KeptCrash) -> None:
        known = self._index.get(kept.address, kept.name)
        if known is None or known.content != kept.content:
            self._unkept[kept.address, kept.name] = kept
        for gone in self._index.put(kept):
            self._unkept.pop((gone.address, gone.name), None)

    def gone(self, agent_id: str) -> None:
        """The agent's stream has ended: nobody waits for it any more."""
        self._budget.pop(agent_id, None)
        self._heard(agent_id)

    def restore(self, kept: KeptCrash) -> None:
        """Take in what an earlier life has kept."""
        self._index.put(kept)

    # ---- asked ----------------------------------------------------------------------------------

    async def listed(self, selection: Selection) -> tuple[tuple[Crash, ...], Whole]:
        """Ask who is meant, and return what is known of them and of those that are gone."""
        wanted, dead = living(self._registry.members(), selection)
        missing = [member.pod_name for member in dead]
        listening = _Listening(set())
        for member in wanted:
            if self.ask(member.agent_id):
                missing.append(member.pod_name)
            else:
                listening.silent.add(member.agent_id)
        if listening.silent:
            self._listening.add(listening)
            try:
                await listening.until_quiet()
            finally:
                self._listening.discard(listening)
        return self.known(selection), Whole(len(wanted) + len(dead), tuple(missing))

    def known(self, selection: Selection) -> tuple[Crash, ...]:
        """Return what is known without asking anybody."""
        found = (kept for kept in self._index.all() if covers(selection, kept.origin))
        return tuple(kept.crash for kept in found if self._is_there(kept))

    def _is_there(self, kept: KeptCrash) -> bool:
        """Say whether nobody has removed it, and no retention."""
        return (kept.address, kept.name) in self._unkept or self._keeper.has(kept)

    def ask(self, agent_id: str) -> str:
        """Ask an agent for its crashes; return "" or why it cannot be asked."""
        problem = self._agents.ask_crashes(agent_id)
        if not problem:
            self._budget[agent_id] = MOST_TOLD
        return problem

    # ---- kept -----------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Store what is new; what cannot be stored now is tried again."""
        for key, kept in tuple(self._unkept.items()):
            try:
                await self._keeper.keep(kept)
            except FodcError as error:
                _log.warning("a crash of %s is not stored: %s", kept.address, error.message)
                return
            if self._unkept.get(key) is kept:
                del self._unkept[key]

    @property
    def unkept(self) -> int:
        """Count of crashes that are not stored yet."""
        return len(self._unkept)
