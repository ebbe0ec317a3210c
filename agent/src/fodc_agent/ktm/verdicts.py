# SPDX-License-Identifier: Apache-2.0
"""What the figures of the kernel mean for the node: the five patterns W1 to W5. Pure.

The one idea: only reads that became slow are harm. Whether the page cache turns over, or memory is
taken back, explains it where there is harm, and is a benign pattern where there is none (W1, W2):
such a one is shown and never a reason to capture anything (upstream-agent.md §9.7).
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from fodc_agent.ktm.families import VERDICT
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Sample

LEAST_SLOW: Final = 10
LEAST_SHARE: Final = 0.01
"""Reads are slow when so many were, and such a share of all."""
LEAST_CHURN_PAGES_S: Final = 256
"""From so many pages that come into the cache in a second on, it turns over: 1 MiB of them."""
LEAST_REFILLS: Final = 64
"""So many pages have to be read anew for what was given up to be missed."""
JUDGE_S: Final = 5.0
"""Shorter stretches than this are judged together."""
COOLDOWN_S: Final = 300.0

_READS: Final = ("ktm_sys_read_latency_seconds", "ktm_sys_pread_latency_seconds")
_COUNTERS: Final = {
    "ktm_fadvise_dontneed_total": "given_up",
    "ktm_cache_fills_total": "fills",
    "ktm_cache_deletes_total": "deletes",
    "ktm_memory_direct_reclaim_begin_total": "reclaims",
    "ktm_memory_memcg_reclaim_begin_total": "reclaims",
    "ktm_memory_direct_reclaim_pages_total": "reclaimed",
    "ktm_memory_memcg_reclaim_pages_total": "reclaimed",
}


class Pattern(StrEnum):
    """What the node goes through; the names are those of the existing guide."""

    BENIGN_SCAN = "W1"
    PRESSURE = "W2"
    POLICY_EVICTION = "W3"
    IO_CONTENTION = "W4"
    OS_PRESSURE = "W5"

    @property
    def is_harm(self) -> bool:
        """Whether reads were slow."""
        return self not in (Pattern.BENIGN_SCAN, Pattern.PRESSURE)


ABOUT: Final = {
    Pattern.BENIGN_SCAN: "the page cache turns over and no read is slow: a scan",
    Pattern.PRESSURE: "memory is taken back and no read is slow",
    Pattern.POLICY_EVICTION: "reads are slow, for pages that the node itself had given up",
    Pattern.IO_CONTENTION: "reads are slow and memory is not taken back: the disk, or cold pages",
    Pattern.OS_PRESSURE: "reads are slow while memory is taken back",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted: reads of files by latency, and pages; since the load, or in a stretch.

    `buckets` are how many reads were at most so long, by upper edge in seconds.
    """

    buckets: tuple[tuple[float, int], ...] = ()
    given_up: int = 0
    fills: int = 0
    deletes: int = 0
    reclaims: int = 0
    reclaimed: int = 0

    def since(self, before: "Figures") -> "Figures":
        """Return what came after `before`."""
        then = dict(before.buckets)
        buckets = ((edge, count - then.get(edge, 0)) for edge, count in self.buckets)
        return Figures(
            tuple(buckets),
            self.given_up - before.given_up,
            self.fills - before.fills,
            self.deletes - before.deletes,
            self.reclaims - before.reclaims,
            self.reclaimed - before.reclaimed,
        )

    @property
    def reads(self) -> int:
        """How many reads of files ended well."""
        return self.buckets[-1][1] if self.buckets else 0

    def slow(self, slow_s: float) -> int:
        """How many of them surely took so long or longer."""
        fast = (count for edge, count in self.buckets if edge >= slow_s)
        return self.reads - next(fast, self.reads)

    def within_s(self, share: float) -> float:
        """Return the edge below which that share of the reads is, 0 without any."""
        edges = (edge for edge, count in self.buckets if count >= share * self.reads)
        return next(edges, 0.0) if self.reads else 0.0


def figures_of(samples: Iterable[Sample]) -> Figures | None:
    """Return the figures among some samples, None where one that a verdict needs is missing."""
    buckets: dict[float, int] = {}
    counters: dict[str, int] = {}
    seen: set[str] = set()
    for sample in samples:
        name = sample.series.name
        if field := _COUNTERS.get(name):
            counters[field] = counters.get(field, 0) + int(sample.value)
            seen.add(name)
        elif name.removesuffix("_bucket") in _READS:
            edge = float(dict(sample.series.labels)["le"])
            buckets[edge] = buckets.get(edge, 0) + int(sample.value)
    if len(seen) < len(_COUNTERS) or not buckets:
        return None
    return Figures(tuple(sorted(buckets.items())), **counters)


def pattern_of(figures: Figures, duration_s: float, slow_s: float) -> Pattern | None:
    """Return what the figures of a stretch mean, None when there is nothing to say."""
    slow = figures.slow(slow_s)
    if slow >= LEAST_SLOW and slow >= LEAST_SHARE * figures.reads:
        return _why_slow(figures)
    if figures.reclaims:
        return Pattern.PRESSURE
    if figures.fills >= LEAST_CHURN_PAGES_S * duration_s:
        return Pattern.BENIGN_SCAN
    return None


def _why_slow(figures: Figures) -> Pattern:
    # What memory takes back goes from the cache as well; the rest the node has given up itself.
    by_policy = figures.deletes - figures.reclaimed
    is_missed = figures.given_up > 0 and figures.fills >= LEAST_REFILLS
    if is_missed and by_policy >= max(figures.reclaimed, LEAST_REFILLS):
        return Pattern.POLICY_EVICTION
    return Pattern.OS_PRESSURE if figures.reclaims else Pattern.IO_CONTENTION


def sentence(pattern: Pattern, figures: Figures, duration_s: float, slow_s: float) -> str:
    """Return the verdict with the figures that it rests on."""
    return (
        f"{pattern}: {ABOUT[pattern]}. In {duration_s:.0f} s {figures.slow(slow_s)} of "
        f"{figures.reads} reads took {1e3 * slow_s:g} ms or longer, 99 % of them at most "
        f"{1e3 * figures.within_s(0.99):g} ms; {figures.fills} pages came into the page cache and "
        f"{figures.deletes} went, {figures.given_up} times the node gave pages up, "
        f"{figures.reclaims} times memory was taken back, {figures.reclaimed} pages"
    )


class Judge:
    """Judges one node, reading after reading; `now_s` is of a clock that never steps back."""

    def __init__(self, slow_s: float, cooldown_s: float = COOLDOWN_S) -> None:
        """Take from how many seconds on a read is slow."""
        self.pattern: Pattern | None = None
        """What is so now."""
        self._slow_s = slow_s
        self._cooldown_s = cooldown_s
        self._before: tuple[Figures, float] | None = None
        self._fired_at_s: float | None = None

    def seen(self, samples: Iterable[Sample], now_s: float) -> tuple[list[Sample], str]:
        """Take in a reading; return what to show of it, and a sentence when harm has begun."""
        figures = figures_of(samples)
        if figures is None:
            self._before, self.pattern = None, None
            return [], ""
        text = self._judged(figures, now_s)
        return list(self._shown()), text

    def _judged(self, figures: Figures, now_s: float) -> str:
        before, began_s = self._before or (figures, now_s)
        if self._before is not None and now_s - began_s < JUDGE_S:
            return ""
        self._before = figures, now_s
        if now_s <= began_s:
            return ""
        was, stretch, lasted_s = self.pattern, figures.since(before), now_s - began_s
        self.pattern = pattern = pattern_of(stretch, lasted_s, self._slow_s)
        if pattern is None or not self._fires(was, pattern, now_s):
            return ""
        return sentence(pattern, stretch, lasted_s, self._slow_s)

    def _fires(self, was: Pattern | None, pattern: Pattern, now_s: float) -> bool:
        """Whether harm has begun now, and not lately before."""
        if not pattern.is_harm or (was is not None and was.is_harm):
            return False
        if self._fired_at_s is not None and now_s - self._fired_at_s < self._cooldown_s:
            return False
        self._fired_at_s = now_s
        return True

    def _shown(self) -> Iterator[Sample]:
        for pattern in Pattern:
            yield VERDICT.sample(pattern is self.pattern, ("pattern", pattern.value))
