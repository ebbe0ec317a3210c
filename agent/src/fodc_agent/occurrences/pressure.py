# SPDX-License-Identifier: Apache-2.0
"""When memory is short enough that the node's profiles are worth taking. Pure.

The one idea: the profile that explains an OOM kill is the last one before it. So the first time
above the threshold counts, each clear new high counts again even within the cool-down, and a node
that stays where it is, or comes back to where it was, costs nothing more.
"""

from collections import deque
from enum import StrEnum
from typing import Final

from fodc_agent.occurrences.rules import Memory
from fodc_protocol.lean import dataclass

HIGHER_PERCENT: Final = 5.0
"""How far above the highest so far memory has to be to count within the cool-down."""
REARM_PERCENT: Final = 5.0
"""How far below the threshold it has to fall for the next time above it to count."""
RISE_PERCENT: Final = 40.0
"""A rise above the average of the last readings by this share counts before the threshold."""
LEAST_PERCENT: Final = 50.0
"""Below this nothing counts, however fast it rises."""
_READINGS: Final = 10
STEEP_PERCENT: Final = 10.0
"""How much of its limit a node may come to need in a second and is still caught before the end."""
_SLOW_S: Final = 10.0
_FAST_S: Final = 1.0


class Verdict(StrEnum):
    """What a reading means."""

    CALM = "calm"
    FIRES = "fires"
    COOLING = "cooling"
    """It is above the threshold, within the cool-down and no new high."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When to fire; `percent` 0 never does."""

    percent: int = 80
    cooldown_s: float = 300.0


class PressureRule:
    """Judges readings of one node, the oldest first."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._recent: deque[float] = deque(maxlen=_READINGS)
        self._fired_at_s: float | None = None
        self._highest = 0.0
        self._is_armed = True

    def judge(self, memory: Memory, now_s: float) -> Verdict:
        """Return what this reading means."""
        percent, told = memory.percent, self._thresholds
        rises = self._rises(percent)
        self._recent.append(percent)
        if percent < told.percent - REARM_PERCENT:
            self._is_armed = True
        if not told.percent or not (percent >= told.percent or rises):
            return Verdict.CALM
        cools = self._fired_at_s is not None and now_s - self._fired_at_s < told.cooldown_s
        is_high = percent >= self._highest + HIGHER_PERCENT
        if not is_high and (cools or not self._is_armed):
            return Verdict.COOLING if cools else Verdict.CALM
        self._fired_at_s, self._is_armed = now_s, False
        self._highest = max(self._highest, percent)
        return Verdict.FIRES

    def _rises(self, percent: float) -> bool:
        if len(self._recent) < _READINGS or percent < LEAST_PERCENT:
            return False
        average = sum(self._recent) / len(self._recent)
        return percent >= average * (1 + RISE_PERCENT / 100)

    def pace_s(self) -> float:
        """Return when to look again: when a steep rise from here has reached the threshold."""
        wanted = self._thresholds.percent
        if not wanted or not self._recent:
            return _SLOW_S
        return min(max((wanted - self._recent[-1]) / STEEP_PERCENT, _FAST_S), _SLOW_S)
