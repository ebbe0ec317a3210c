# SPDX-License-Identifier: Apache-2.0
"""Gathers what nodes left behind before anybody asks for it.

The one idea: the pod that crashed is the one that goes, so everything that an agent can tell is
asked for when its stream opens, every half minute, and at once when it says that there is a crash.
Crashes are kept by a task of their own: a list of pressure events may be waited for ten seconds,
and profiles for longer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from fodc_api.findings import PressureEvent
from fodc_proxy.evidence.asking import Agents
from fodc_proxy.evidence.crashes import Crashes
from fodc_proxy.evidence.findings import Kept, KeptCrash
from fodc_proxy.evidence.keeping import Keeper
from fodc_proxy.evidence.parts import Chunk, CrashTold, ListEnd
from fodc_proxy.evidence.pressures import Pressures
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.wire.pauses import let_others_run

EVERY_S: Final = 30.0
_AT_A_TIME: Final = 32
_log = logging.getLogger(__name__)


class Findings:
    """Crashes and pressure events, and the task that looks after them."""

    def __init__(self, registry: Registry, agents: Agents, keeper: Keeper) -> None:
        self.crashes = Crashes(registry, agents, keeper)
        self.pressures = Pressures(registry, agents, keeper)
        self._registry = registry
        self._keeper = keeper
        self._is_loaded = False
        self._woken = asyncio.Event()
        self._fresh: set[str] = set()
        self._crash_told = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def on_kept(self, callback: Callable[[Kept], Awaitable[None]]) -> None:
        """Tell `callback` of each finding once it is stored, and after a start of all of them."""
        self._keeper.on_kept = callback

    # ---- told by the streams --------------------------------------------------------------------

    def opened(self, agent_id: str) -> None:
        """A stream of this agent has opened: there may be something to fetch."""
        self._fresh.add(agent_id)
        self._woken.set()

    def crashed(self, agent_id: str) -> None:
        """An agent says that its node has written a crash down: ask for it now."""
        self.crashes.ask(agent_id)

    def crash(self, agent_id: str, told: CrashTold) -> None:
        """An agent has told of a crash."""
        self.crashes.told(agent_id, told)
        if self.crashes.unkept:
            self._crash_told.set()

    async def pressure(self, agent_id: str, told: PressureEvent | ListEnd | Chunk) -> None:
        """An agent has said something of pressure."""
        match told:
            case PressureEvent():
                self.pressures.event(agent_id, told)
            case ListEnd():
                self.pressures.list_end(agent_id, told.request_id)
            case Chunk():
                await self.pressures.chunk(agent_id, told)

    def gone(self, agent_id: str, *, pressure: bool) -> None:
        """The stream of crashes, or of pressure, has ended."""
        if pressure:
            self.pressures.gone(agent_id)
        else:
            self.crashes.gone(agent_id)

    # ---- life -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read back what an earlier life has kept, once the store is open."""
        if self._is_loaded or not self._keeper.is_open:
            return
        for kept in await self._keeper.load():
            await self._keeper.on_kept(kept)
            if isinstance(kept, KeptCrash):
                self.crashes.restore(kept)
            else:
                self.pressures.restore(kept)
        self._is_loaded = True

    def start(self) -> None:
        """Begin to gather."""
        parts = {"findings": self._gather(), "crashes": self._keep_crashes()}
        self._tasks = tuple(asyncio.create_task(part, name=name) for name, part in parts.items())

    async def stop(self) -> None:
        """End all work and wait for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_crashes(self) -> None:
        """Store crashes as they are told; what cannot be stored now is tried with each turn."""
        while True:
            await self._crash_told.wait()
            self._crash_told.clear()
            try:
                if self._is_loaded:
                    await self.crashes.keep()
            except Exception:  # noqa: BLE001 - logged; the next turn may do better
                _log.exception("crashes could not be kept")

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            try:
                async with asyncio.timeout(max(0.0, due_s - loop.time())):
                    await self._woken.wait()
            except TimeoutError:
                self._fresh.update(member.agent_id for member in self._registry.members())
                due_s = loop.time() + EVERY_S
            self._woken.clear()
            try:
                await self._turn()
            except Exception:  # noqa: BLE001 - logged; the next turn may do better
                _log.exception("what nodes left behind could not be gathered")

    async def _turn(self) -> None:
        await self.open()
        self._crash_told.set()
        fresh, self._fresh = self._fresh, set()
        members = [m for m in self._registry.members() if m.is_living and m.agent_id in fresh]
        for number, member in enumerate(members, start=1):
            self.crashes.ask(member.agent_id)
            if number % _AT_A_TIME == 0:
                await let_others_run()
        if members:
            await self.pressures.ask(members)
        if self._keeper.is_open:
            await self.pressures.keep()
