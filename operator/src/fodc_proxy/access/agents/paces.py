# SPDX-License-Identifier: Apache-2.0
"""How often agents may register, in the whole and each; pure.

The one idea: a bucket of tokens that fills by the clock. The whole has room for every agent to come
back at once; one agent has room for a restart loop, not for a flood.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pace:
    """So many at once, and so many per second in the long run."""

    at_once: float
    per_s: float


EACH: Final = Pace(30, 1)
MOST_KEPT: Final = 10_000


@dataclass(slots=True)
class Bucket:
    """Tokens as they were at a time of the steady clock."""

    tokens: float
    at_ms: int

    def take(self, pace: Pace, now_ms: int) -> int:
        """Take one token; return 0, or in how many milliseconds there is one again."""
        filled = self.tokens + max(0, now_ms - self.at_ms) * pace.per_s / 1000
        self.tokens, self.at_ms = min(pace.at_once, filled), now_ms
        if self.tokens >= 1:
            self.tokens -= 1
            return 0
        return max(1, round((1 - self.tokens) * 1000 / pace.per_s))


class Paces:
    """A bucket for all, and one for each that has a name; the longest unused are forgotten."""

    def __init__(self, whole: Pace, each: Pace = EACH) -> None:
        self.whole: Final = whole
        self.each: Final = each
        self._whole = Bucket(whole.at_once, 0)
        # Of those who have shown nothing: they use up nothing of the others.
        self._strangers = Bucket(whole.at_once, 0)
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def each_wait_ms(self, name: str, now_ms: int) -> int:
        """Take a token of one; return 0, or when to come back."""
        bucket = self._buckets.setdefault(name, Bucket(self.each.at_once, now_ms))
        self._buckets.move_to_end(name)
        if len(self._buckets) > MOST_KEPT:
            self._buckets.popitem(last=False)
        return bucket.take(self.each, now_ms)

    def whole_wait_ms(self, now_ms: int, *, is_proven: bool) -> int:
        """Take a token of all who have shown something, or of all others.

        Return 0, or when to come back.
        """
        bucket = self._whole if is_proven else self._strangers
        return bucket.take(self.whole, now_ms)
