# SPDX-License-Identifier: Apache-2.0
"""Which nodes to write now: news at once, a refresh in turn, all of it within a rate.

The one idea: a bucket of tokens fills at the permitted rate; refreshes leave a part of it alone,
so that news never waits behind them. Time and chance are arguments; seconds on any clock.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from fodc_protocol.errors import BadRequestError

Key: TypeAlias = tuple[str, str]
"""Namespace and name of a node."""

_LONGEST_WAIT_S: Final = 60.0


class Outcome(StrEnum):
    """How the writing of one node ended."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    """Nothing had to be sent, so it cost nothing."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rules:
    """Pace of the writes; raises BadRequestError by flag name."""

    refresh_s: float = 60.0
    refreshes_per_s: float = 4.0
    """Of all nodes together: more than 240 are refreshed less often than each minute, since one
    costs the operator milliseconds and tells no more than that its node still lives."""
    writes_per_s: float = 20.0
    burst: float = 100.0
    jitter: float = 0.2
    """Share of the refresh by which it may be later; never sooner."""
    first_retry_s: float = 1.0
    longest_retry_s: float = 60.0

    def __post_init__(self) -> None:
        if self.refresh_s <= 0:
            raise BadRequestError("--status-refresh must be greater than 0")
        if self.writes_per_s <= 0:
            raise BadRequestError("--status-writes-per-s must be greater than 0")

    def refresh_of_s(self, nodes: int) -> float:
        """Return how long one of so many nodes goes without a refresh, in the mean."""
        return max(self.refresh_s, nodes / self.refreshes_per_s)

    def latest_s(self, nodes: int) -> float:
        """Return by how much the refresh of one of so many may be later than `refresh_s`.

        Many that were written together are spread, so that none of them comes with all others.
        """
        stretched_s = self.refresh_of_s(nodes) - self.refresh_s
        return self.jitter * self.refresh_s + 2 * stretched_s

    @property
    def reserve(self) -> float:
        """Tokens that only news may take."""
        return self.burst / 2


@dataclass(slots=True)
class _Node:
    """When a node is due; `at_s` infinite while nothing is planned or it is being written."""

    at_s: float
    is_news: bool = True
    in_flight: bool = False
    again: bool = False
    failures: int = 0


@dataclass(slots=True)
class Budget:
    """All nodes and the tokens; every method takes the present time."""

    rules: Rules
    chance: Callable[[], float]
    """Numbers in [0, 1)."""
    _tokens: float = field(init=False)
    _filled_s: float = 0.0
    _nodes: dict[Key, _Node] = field(default_factory=dict)
    _news: list[tuple[float, Key]] = field(default_factory=list)
    _refreshes: list[tuple[float, Key]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tokens = self.rules.burst

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def news(self) -> int:
        """How many nodes wait with news."""
        return sum(one.is_news and not one.in_flight for one in self._nodes.values())

    # ---- what is wanted -----------------------------------------------------------------------

    def note(self, key: Key, now_s: float) -> None:
        """There is news of this node: it is due now."""
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = _Node(now_s)
        elif node.in_flight:
            node.again = True
            return
        elif node.is_news:
            return
        self._plan(key, node, now_s, is_news=True)

    def keep(self, key: Key, now_s: float) -> None:
        """There is such a node and nothing to tell of it: refresh it in its turn."""
        if key not in self._nodes:
            node = self._nodes[key] = _Node(now_s)
            refresh_s = self.rules.refresh_of_s(len(self._nodes))
            self._plan(key, node, now_s + self.chance() * refresh_s, is_news=False)

    def forget(self, key: Key) -> None:
        """There is no such node any more."""
        self._nodes.pop(key, None)

    # ---- what may be done ---------------------------------------------------------------------

    def take(self, now_s: float, most: int) -> list[Key]:
        """Return up to `most` nodes to write now, news first; each must be given to `done`."""
        self._fill(now_s)
        taken = self._take_from(self._news, now_s, most, 0.0)
        return taken + self._take_from(
            self._refreshes, now_s, most - len(taken), self.rules.reserve
        )

    def done(self, key: Key, outcome: Outcome, now_s: float, *, calls: int = 1) -> None:
        """A node taken before has been written, in that many calls, or not."""
        self._tokens += 1 - (0 if outcome is Outcome.UNCHANGED else calls)
        node = self._nodes.get(key)
        if node is None:
            return
        node.in_flight = False
        if outcome is Outcome.FAILED:
            node.failures += 1
            self._plan(key, node, now_s + self._retry_s(node.failures), is_news=True)
            return
        node.failures = 0
        late_s = self.chance() * self.rules.latest_s(len(self._nodes))
        due_s = now_s if node.again else now_s + self.rules.refresh_s + late_s
        self._plan(key, node, due_s, is_news=node.again)
        node.again = False

    def wait_s(self, now_s: float) -> float:
        """Return how long nothing is to be done, unless something is noted."""
        self._fill(now_s)
        waits = [
            max(queue[0][0] - now_s, (1 + left - self._tokens) / self.rules.writes_per_s)
            for queue, left in ((self._news, 0.0), (self._refreshes, self.rules.reserve))
            if self._skip_stale(queue)
        ]
        return min(max(0.0, min(waits, default=_LONGEST_WAIT_S)), _LONGEST_WAIT_S)

    # ---- inside -------------------------------------------------------------------------------

    def _plan(self, key: Key, node: _Node, at_s: float, *, is_news: bool) -> None:
        node.at_s, node.is_news = at_s, is_news
        heapq.heappush(self._news if is_news else self._refreshes, (at_s, key))

    def _fill(self, now_s: float) -> None:
        gained = (now_s - self._filled_s) * self.rules.writes_per_s
        self._tokens = min(self.rules.burst, self._tokens + max(0.0, gained))
        self._filled_s = now_s

    def _take_from(
        self, queue: list[tuple[float, Key]], now_s: float, most: int, left: float
    ) -> list[Key]:
        taken: list[Key] = []
        while len(taken) < most and self._tokens >= 1 + left and self._skip_stale(queue):
            if queue[0][0] > now_s:
                break
            _, key = heapq.heappop(queue)
            self._nodes[key].in_flight = True
            self._tokens -= 1
            taken.append(key)
        return taken

    def _skip_stale(self, queue: list[tuple[float, Key]]) -> bool:
        """Drop entries that were planned anew or forgotten; say whether one is left."""
        is_news = queue is self._news
        while queue:
            at_s, key = queue[0]
            node = self._nodes.get(key)
            if node and not node.in_flight and (node.at_s, node.is_news) == (at_s, is_news):
                return True
            heapq.heappop(queue)
        return False

    def _retry_s(self, failures: int) -> float:
        widest = min(
            self.rules.longest_retry_s, self.rules.first_retry_s * 2.0 ** min(failures, 16)
        )
        return self.rules.first_retry_s + self.chance() * (widest - self.rules.first_retry_s)
