# SPDX-License-Identifier: Apache-2.0
"""What somebody else says about callers, remembered for a while; pure.

The one idea: a yes is told on for as long as it is fresh, and longer only while nobody can be
asked; a no, and "nobody can be asked", are told on for moments. What is remembered is bounded, and
a flood of strangers pushes out strangers, never those who are known.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from fodc_proxy.fleet.moment import Moment

T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Denied:
    """The answer is no; `reason` is a sentence for the caller without anything secret."""

    reason: str


@dataclass(frozen=True, slots=True)
class Away:
    """Nobody could be asked; `reason` says who is away and how."""

    reason: str


Answer: TypeAlias = T | Denied | Away
"""A yes is a value of its own type."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How long answers are told on, in milliseconds, and how many are kept."""

    fresh_ms: int = 10_000
    stale_ms: int = 300_000
    """How long a yes holds while nobody can be asked."""
    denied_ms: int = 5_000
    away_ms: int = 2_000
    """After so long whoever was away is asked again."""
    most_known: int = 10_000
    most_strangers: int = 1_000


@dataclass(slots=True)
class _Known(Generic[T]):
    """A yes, and until when it is told on by the steady clock."""

    value: T
    since_ms: int
    until_ms: int


def _never(_: object) -> int:
    return 0


class Remembered(Generic[T]):
    """Answers by a key that tells nothing of the question, such as its hash."""

    def __init__(
        self, memory: Memory | None = None, *, ends_ms: Callable[[T], int] = _never
    ) -> None:
        """`ends_ms` gives the Unix time after which a yes does not hold, 0 for none."""
        self.memory: Final = memory or Memory()
        self._ends_ms = ends_ms
        self._known: OrderedDict[bytes, _Known[T]] = OrderedDict()
        self._strangers: OrderedDict[bytes, tuple[Denied | Away, int]] = OrderedDict()

    def look(self, key: bytes, now: Moment) -> Answer[T] | None:
        """Return the answer that still holds, None when somebody has to be asked."""
        known = self._known.get(key)
        if known is not None:
            holds = now.steady_ms < known.until_ms and not self._is_over(known.value, now)
            return known.value if holds else None
        no, until_ms = self._strangers.get(key, (None, 0))
        return no if now.steady_ms < until_ms else None

    def learn(self, key: bytes, answer: Answer[T], now: Moment) -> Answer[T]:
        """Keep an answer; return what to tell, which is the last yes while nobody is there."""
        match answer:
            case Denied():
                self._known.pop(key, None)
                self._keep_stranger(key, answer, now.steady_ms + self.memory.denied_ms)
                return answer
            case Away():
                return self._while_away(key, answer, now)
            case _:
                self._strangers.pop(key, None)
                until_ms = now.steady_ms + self.memory.fresh_ms
                self._known[key] = _Known(answer, now.steady_ms, until_ms)
                self._known.move_to_end(key)
                _shorten(self._known, self.memory.most_known)
                return answer

    def _while_away(self, key: bytes, away: Away, now: Moment) -> Answer[T]:
        again_ms = now.steady_ms + self.memory.away_ms
        known = self._known.get(key)
        if known is not None:
            is_stale = now.steady_ms - known.since_ms > self.memory.stale_ms
            if not is_stale and not self._is_over(known.value, now):
                known.until_ms = again_ms
                return known.value
            del self._known[key]
        self._keep_stranger(key, away, again_ms)
        return away

    def _keep_stranger(self, key: bytes, answer: Denied | Away, until_ms: int) -> None:
        self._strangers[key] = answer, until_ms
        self._strangers.move_to_end(key)
        _shorten(self._strangers, self.memory.most_strangers)

    def _is_over(self, value: T, now: Moment) -> bool:
        return 0 < self._ends_ms(value) <= now.unix_ms


def _shorten(kept: OrderedDict[bytes, V], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
