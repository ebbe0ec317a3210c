# SPDX-License-Identifier: Apache-2.0
"""When which source is due: pure, on whatever clock the caller passes in.

The one idea: a source ticks on a grid of its own, so a late look never moves the ticks after it.
Ticks that nobody could serve are counted and forgotten, never queued. The pace is that of the
fastest living subscriber, never below the floor of the source; without a subscriber it rests.
"""

import math
from dataclasses import dataclass, field
from enum import Enum

_NEVER = math.inf


class Tier(Enum):
    """Usual pace of a source in seconds; what a subscriber gets who asks for no interval."""

    FAST = 1.0
    NORMAL = 10.0
    SLOW = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a source declares: its usual pace, the fastest it bears, all in seconds.

    The first tick comes at once: what an agent that dies soon has not read is lost. `phase` in
    [0, 1) brings the second one forward by up to half an interval, so that not every source of
    every agent ticks in the same instant.
    """

    name: str
    tier: Tier
    floor_s: float = 0.0
    phase: float = 0.0

    def __post_init__(self) -> None:
        if self.floor_s < 0:
            raise ValueError(f"source {self.name}: floor_s must not be negative: {self.floor_s}")
        if not 0 <= self.phase < 1:
            raise ValueError(f"source {self.name}: phase must be in [0, 1): {self.phase}")


@dataclass(slots=True)
class _Entry:
    plan: Plan
    wishes: dict[int, float] = field(default_factory=dict)
    next_s: float = _NEVER
    last_s: float = -_NEVER
    skipped: int = 0
    ticked: bool = False

    @property
    def interval_s(self) -> float:
        if not self.wishes:
            return _NEVER
        return max(self.plan.floor_s, min(self.wishes.values()))


class Timetable:
    """Ticks of all sources. Times are seconds of any clock that never steps back."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._last_id = 0

    def add(self, plan: Plan) -> None:
        """Enter a source; ValueError when its name is taken."""
        if plan.name in self._entries:
            raise ValueError(f"source {plan.name} is in the timetable already")
        self._entries[plan.name] = _Entry(plan)

    def subscribe(self, name: str, interval_s: float | None, now_s: float) -> int:
        """Add a subscriber and return its id; None asks for the usual pace of the source.

        The first subscriber's first tick comes at once. KeyError for an unknown source, ValueError
        for an interval that is not above zero.
        """
        entry = self._entry(name)
        wanted = entry.plan.tier.value if interval_s is None else interval_s
        if not (wanted > 0 and math.isfinite(wanted)):
            raise ValueError(f"source {name}: interval must be above 0 s and finite, got {wanted}")
        self._last_id += 1
        entry.wishes[self._last_id] = wanted
        self._repace(entry, now_s)
        return self._last_id

    def unsubscribe(self, name: str, subscriber: int) -> None:
        """Remove a subscriber; one that is gone already is no error."""
        entry = self._entry(name)
        if entry.wishes.pop(subscriber, None) is not None and not entry.wishes:
            entry.next_s = _NEVER

    def interval_s(self, name: str) -> float | None:
        """Return the pace of a source at the moment, None while nobody subscribes."""
        interval = self._entry(name).interval_s
        return None if interval == _NEVER else interval

    def due(self, now_s: float) -> list[str]:
        """Return the sources to collect now and move each to its next tick."""
        return [name for name, entry in self._entries.items() if self._tick(entry, now_s)]

    def next_due_s(self) -> float | None:
        """Return the time of the next tick of any source, None when nobody subscribes."""
        soonest = min((entry.next_s for entry in self._entries.values()), default=_NEVER)
        return None if soonest == _NEVER else soonest

    def skip(self, name: str) -> None:
        """Count a tick that could not be used, because the last collection still ran."""
        self._entry(name).skipped += 1

    def skipped(self, name: str) -> int:
        """Return how many ticks of a source have passed unused."""
        return self._entry(name).skipped

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise KeyError(f"no source {name!r} in the timetable")
        return entry

    def _repace(self, entry: _Entry, now_s: float) -> None:
        interval = entry.interval_s
        if entry.next_s == _NEVER:
            # A source that was at rest for a moment must not beat its floor by resting.
            entry.next_s = max(now_s, entry.last_s + entry.plan.floor_s)
        else:
            entry.next_s = min(entry.next_s, max(now_s, entry.last_s + interval))

    def _tick(self, entry: _Entry, now_s: float) -> bool:
        if now_s < entry.next_s:
            return False
        interval = entry.interval_s
        passed = 0 if interval == 0 else int((now_s - entry.next_s) // interval)
        entry.skipped += passed
        entry.last_s = entry.next_s + passed * interval
        first = interval * (1 - entry.plan.phase / 2)
        entry.next_s = entry.last_s + (interval if entry.ticked else max(first, entry.plan.floor_s))
        entry.ticked = True
        return True
