# SPDX-License-Identifier: Apache-2.0
"""What a benchmark gives: a figure, how it was measured, and what it is held against.

The one idea: machines differ and a busy one differs from itself, so speed is held against
something measured in the same run, and its absolute value stands beside it; memory and counts are
held against a number.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

MALLOC: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
"""Of the C library, as the images set it: memory is measured as it is in a container."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; the goal is for `times` where there is one, else for `value`."""

    value: float
    unit: str
    goal: float
    method: str
    times: float | None = None
    """How many times `of`, or how many times faster than it."""
    of: str = ""
    at_least: bool = False

    @property
    def judged(self) -> float:
        """What the goal is held against."""
        return self.value if self.times is None else self.times

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached."""
        return self.judged >= self.goal if self.at_least else self.judged <= self.goal

    def told(self) -> str:
        """Return value, ratio and goal on one line."""
        sign, word = "≥" if self.at_least else "≤", "met" if self.is_met else "MISSED"
        ratio = "" if self.times is None else f" = {self.times:.3g} × {self.of}"
        return f"{self.value:>10.3f} {self.unit}{ratio}, goal {sign} {self.goal:g} {word}"

    def as_json(self) -> dict[str, Any]:
        """Return the fields for build/bench.json."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def held_against(
    value: float, unit: str, goal: float, method: str, *, base: float, of: str
) -> Figure:
    """Return a figure that may be at most `goal` times a base measured in the same run."""
    words = f"{of} ({base:.4g} {unit})"
    return Figure(round(value, 4), unit, goal, method, round(value / base, 2), words)
