# SPDX-License-Identifier: Apache-2.0
"""From what happened to what is told: captures begun, numbered, kept, and then told.

The one idea: one thing after the other, in one task; what is noticed waits in its inbox, so that
whoever notices it never waits for a disk.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from fodc_agent.occurrences.keeping import Notes, PressureRecord
from fodc_agent.occurrences.notebook import Notebook
from fodc_agent.occurrences.own_captures import OwnCaptures
from fodc_agent.occurrences.rules import Happened, Memory, Remembered, triggered_at, with_captures
from fodc_agent.occurrences.settings import PressureSettings
from fodc_protocol.link.event_queue import EventQueue
from fodc_protocol.link.frames import Event
from fodc_protocol.occurrences import OccurrenceKind
from fodc_protocol.profiles import Profile
from fodc_protocol.times import pressure_profile_id

_MOST_WAITING: Final = 64
_log: Final = logging.getLogger(__name__)


class Occurrences:
    """What happened to one node; `open` it once, then `run` it and `post` to it."""

    def __init__(
        self,
        notebook: Notebook,
        own: OwnCaptures,
        settings: PressureSettings,
        *,
        tell: Callable[[Event], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.queue = EventQueue("")
        self.remembered: Callable[[], Remembered] = Remembered
        """Set by whoever knows the node."""
        self.pressures: tuple[PressureRecord, ...] = ()
        self.pressures_begun = 0
        self._windows: dict[str, int] = {}
        self._notebook = notebook
        self._own = own
        self._settings = settings
        self._incarnation = ""
        self._tell = tell
        self._now_ms = now_ms
        # What is written of the node is never ahead of what was told of it: a kill between would
        # lose what happened.
        self._known = Remembered()
        self._inbox: deque[tuple[Happened, int, Memory | None, Remembered | None]] = deque(
            maxlen=_MOST_WAITING
        )
        self._woken = asyncio.Event()
        self._settled = asyncio.Event()

    async def open(self, incarnation: str) -> Remembered:
        """Take over what an earlier life has left, before anything is told in this one."""
        notes = await self._notebook.open()
        self._incarnation = incarnation
        self.queue = EventQueue(incarnation, notes.events)
        self.pressures = self._own.known(notes.pressures)
        self._known = notes.remembered
        self._windows = dict(notes.windows)
        return notes.remembered

    def lost_windows(self) -> dict[str, int]:
        """Return windows that an earlier life did not finish, and when they are of (Unix ms)."""
        return {one: at_ms for one, at_ms in self._windows.items() if self._own.was_cut(one)}

    def post(self, happened: list[Happened], memory: Memory | None = None) -> None:
        """Take in what was noticed just now; `memory` belongs to memory pressure."""
        for place, one in enumerate(happened, start=1):
            known = self.remembered() if place == len(happened) else None
            self._inbox.append((one, self._now_ms(), memory, known))
        if happened:
            self._woken.set()

    def taken(self) -> None:
        """The proxy has stored some: they need not be kept any more."""
        self._woken.set()

    def memory_changed(self) -> None:
        """What is remembered of the node is another: it is to be written."""
        self._woken.set()

    async def run(self) -> None:
        """Tell what is posted, for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._inbox:
                happened, at_ms, memory, known = self._inbox.popleft()
                await self._one(happened, at_ms, memory, known)
            self._known = self.remembered()
            await self._notebook.write(self._notes)

    async def _one(
        self, happened: Happened, at_ms: int, memory: Memory | None, known: Remembered | None
    ) -> None:
        sequence = self.queue.next_sequence
        begun = await self._own.begin(happened.kind, self._incarnation, sequence)
        if happened.kind is OccurrenceKind.MEMORY_PRESSURE and memory is not None:
            await self._note_pressure(memory, at_ms, begun)
            happened = triggered_at(happened, self._settings.pressure_percent)
        if Profile.WINDOW in begun:
            self._windows[begun[Profile.WINDOW]] = at_ms
        happened = with_captures(happened, begun.items())
        event = self.queue.add(happened.kind, happened.message, happened.fields, at_ms)
        self._known = known or self._known
        _log.warning("occurrence kind=%s message=%r", happened.kind, happened.message)
        await self._notebook.write(self._notes)
        if event is not None:
            self._tell(event)

    async def _note_pressure(self, memory: Memory, at_ms: int, begun: dict[Profile, str]) -> None:
        if not begun:
            return
        self.pressures_begun += 1
        record = PressureRecord(
            pressure_profile_id(at_ms),
            at_ms,
            memory.rss_bytes,
            memory.limit_bytes,
            self._settings.pressure_percent,
            {str(profile): command_id for profile, command_id in begun.items()},
        )
        self.pressures = await self._own.kept(
            (*self.pressures, record),
            max_count=self._settings.pressure_max_count,
            max_bytes=self._settings.pressure_max_bytes,
        )

    def _notes(self) -> Notes:
        self.pressures = self._own.known(self.pressures)
        self._windows = {one: at_ms for one, at_ms in self._windows.items() if self._own.has(one)}
        return Notes(self.queue.kept(), self._known, self.pressures, self._windows)
