# SPDX-License-Identifier: Apache-2.0
"""Captures that the agent begins by itself, because what they would show is gone when asked for.

The one idea: they are captures like any other - spool, quota, limits of the node - with an id that
says whose they are; the proxy asks for them by that id when it has heard of the occurrence.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.captures.orders import Captures
from fodc_agent.captures.outcomes import Captured, Failed, Order
from fodc_agent.captures.spool import Held
from fodc_agent.lanes import Lane
from fodc_agent.occurrences.keeping import PressureRecord
from fodc_agent.occurrences.retention import evicted
from fodc_protocol.errors import Reason
from fodc_protocol.ids import own_command_id
from fodc_protocol.occurrences import OccurrenceKind
from fodc_protocol.profiles import Profile

LEAST_FREE_BYTES: Final = 64 * 1024 * 1024
"""Of the disk of the captures, which others may share."""
NOTED_S: Final = 5.0
"""For how long what happened waits, before it is told, for the spool to know of its captures."""
_TIMEOUT_S: Final = 60.0
_SPAN_MS: Final = 15 * 60 * 1000
_log: Final = logging.getLogger(__name__)

TAKES: Final[Mapping[OccurrenceKind, tuple[Profile, ...]]] = {
    OccurrenceKind.MEMORY_PRESSURE: (Profile.HEAP, Profile.GOROUTINE),
    OccurrenceKind.NODE_UNREACHABLE: (Profile.GOROUTINE, Profile.WINDOW),
    OccurrenceKind.NODE_GONE: (Profile.WINDOW,),
    OccurrenceKind.NODE_RESTARTED: (Profile.WINDOW,),
    OccurrenceKind.OOM_KILL: (Profile.WINDOW,),
    OccurrenceKind.CRASH: (Profile.WINDOW,),
    OccurrenceKind.TRIGGER: (Profile.OFFCPU, Profile.GOROUTINE, Profile.WINDOW),
}
"""What is taken when something of a kind happens; a node that is gone has no profiles."""
APART_S: Final[Mapping[Profile, float]] = {
    Profile.GOROUTINE: 1.0,
    Profile.HEAP: 1.0,
    Profile.WINDOW: 60.0,
    Profile.OFFCPU: 60.0,
}
"""How long after a capture of a kind no other one is begun; what is taken for one serves both."""


class OwnCaptures:
    """Begins captures and drops what nobody asked for; `hold` and `drop` tell the link."""

    def __init__(
        self,
        captures: Captures,
        folder: Path,
        *,
        hold: Callable[[str], None],
        drop: Callable[[str], None],
        clock_s: Callable[[], float],
    ) -> None:
        self._captures = captures
        self._folder = folder
        self._hold = hold
        self._drop = drop
        self._clock_s = clock_s
        self._disk = Lane("free-space")
        self._begun_at_s: dict[Profile, float] = {}
        self.refused = 0
        """Times that there was no room to begin."""

    async def begin(
        self, kind: OccurrenceKind, incarnation: str, sequence: int
    ) -> dict[Profile, str]:
        """Begin what belongs to an occurrence; return command ids by kind of profile.

        Returns when the spool knows of them, or its disk lets that take too long: what is told
        names them, and a life that ends in between is to find what it did not finish.
        """
        wanted = list(self._due(TAKES.get(kind, ())))
        if not wanted:
            return {}
        if problem := await self._room_problem():
            self.refused += 1
            _log.warning("own_captures_refused kind=%s reason=%r", kind, problem)
            return {}
        begun: dict[Profile, str] = {}
        for profile in wanted:
            command_id = own_command_id(incarnation, sequence, profile)
            self._begun_at_s[profile] = self._clock_s()
            self._hold(command_id)
            span_ms = _SPAN_MS if profile is Profile.WINDOW else 0
            duration_s = profile.facts.default_duration_s
            order = Order(command_id, profile, duration_s, _TIMEOUT_S, span_ms=span_ms)
            self._captures.start(order)
            begun[profile] = command_id
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NOTED_S):
                for one in begun.values():
                    await self._captures.noted(one)
        return begun

    def _due(self, profiles: tuple[Profile, ...]) -> Iterator[Profile]:
        now_s = self._clock_s()
        for profile in profiles:
            begun_at_s = self._begun_at_s.get(profile)
            if begun_at_s is None or now_s - begun_at_s >= APART_S[profile]:
                yield profile

    async def _room_problem(self) -> str:
        """Say why the disk has no room for a capture, empty when it has."""
        try:
            free_bytes = await self._disk.run(partial(_free_bytes, self._folder))
        except OSError as error:
            return f"--capture-dir {self._folder}: {error.strerror or error}"
        if free_bytes < LEAST_FREE_BYTES:
            return f"--capture-dir {self._folder} has {free_bytes} bytes left"
        return ""

    async def let_go(self, command_id: str) -> None:
        """Forget what an earlier life did not finish, so that it can be taken again."""
        await self._captures.forget(command_id)

    def take_again(self, command_id: str, at_ms: int) -> None:
        """Take a window of then; what it shows is kept in a journal."""
        self._hold(command_id)
        self._captures.start(
            Order(command_id, Profile.WINDOW, 0.0, _TIMEOUT_S, end_ms=at_ms, span_ms=_SPAN_MS)
        )

    # ---- what is held ---------------------------------------------------------------------------

    def known(self, records: tuple[PressureRecord, ...]) -> tuple[PressureRecord, ...]:
        """Return those of which anything is here still."""
        here = self._ids_here()
        return tuple(one for one in records if here & set(one.captures.values()))

    def has(self, command_id: str) -> bool:
        """Say whether a capture runs or is held."""
        return command_id in self._ids_here()

    def was_cut(self, command_id: str) -> bool:
        """Say whether the agent ended while this capture ran."""
        found = (one.outcome for one in self._captures.held if one.command_id == command_id)
        return any(
            isinstance(one, Failed) and one.reason is Reason.AGENT_RESTARTED for one in found
        )

    def _ids_here(self) -> set[str]:
        here = {command_id for command_id, _ in self._captures.active()}
        return here | {held.command_id for held in self._captures.held}

    def results(self, record: PressureRecord) -> dict[str, Held]:
        """Return what was captured for a record, by kind of profile."""
        held = {one.command_id: one for one in self._captures.held}
        found = {profile: held.get(id_) for profile, id_ in record.captures.items()}
        return {
            profile: one
            for profile, one in found.items()
            if one is not None and isinstance(one.outcome, Captured)
        }

    async def kept(
        self, records: tuple[PressureRecord, ...], *, max_count: int, max_bytes: int
    ) -> tuple[PressureRecord, ...]:
        """Return the records that stay; what of the others is here is dropped."""
        known = self.known(records)
        gone = evicted(known, self._size_bytes, max_count=max_count, max_bytes=max_bytes)
        for record in gone:
            for command_id in record.captures.values():
                self._drop(command_id)
                await self._captures.forget(command_id)
        return tuple(one for one in known if one not in gone)

    def _size_bytes(self, record: PressureRecord) -> int:
        return sum(one.size_bytes for one in self.results(record).values())


def _free_bytes(folder: Path) -> int:
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize
