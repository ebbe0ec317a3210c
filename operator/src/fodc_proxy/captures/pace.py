# SPDX-License-Identifier: Apache-2.0
"""How many captures a caller and a node have had within the last hour. No I/O, no clock.

The one idea: a refusal says which limit it is and when there is room again, and a capture counts
from when it was asked for, however it ended: it was the asking that costs.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from fodc_protocol.errors import Reason
from fodc_proxy.captures.model import Request
from fodc_proxy.captures.refusals import TooManyError

HOUR_MS: Final = 3_600_000
_MOST_KEYS: Final = 20_000


class Pace:
    """Captures by caller and by node; 0 means no limit."""

    def __init__(self, per_caller: int, per_node: int) -> None:
        self._per_caller = per_caller
        self._per_node = per_node
        self._counts: dict[str, deque[tuple[int, int]]] = {}

    def take(self, caller: str, nodes: Sequence[str], captures: int, now_ms: int) -> None:
        """Count captures on each of these nodes; raises TooManyError and counts nothing then."""
        wanted = [(f"caller {caller}", self._per_caller, captures * len(nodes))]
        wanted += [(f"node {node}", self._per_node, captures) for node in nodes]
        for key, most, number in wanted:
            if most:
                self._check(key, most, number, now_ms)
        for key, _, number in wanted:
            self._note(key, number, now_ms)

    def restore(self, requests: Sequence[Request], now_ms: int) -> None:
        """Count what an earlier life has taken in, the oldest first."""
        for request in requests:
            if now_ms - request.created_at_ms < HOUR_MS:
                captures, nodes = len(request.spec.captures), request.targets
                self._note(f"caller {request.caller}", captures * len(nodes), request.created_at_ms)
                for target in nodes:
                    self._note(f"node {target.node_id}", captures, request.created_at_ms)

    def _check(self, key: str, most: int, number: int, now_ms: int) -> None:
        times = self._within_hour(key, now_ms)
        taken = sum(count for _, count in times)
        over = taken + number - most
        if over <= 0:
            return
        free_at_ms = now_ms + HOUR_MS
        for time_ms, count in times:
            over -= count
            if over <= 0:
                free_at_ms = time_ms + HOUR_MS
                break
        retry_after_s = max(1, -(-(free_at_ms - now_ms) // 1000))
        raise TooManyError(
            f"{key} has had {taken} captures within an hour, and {number} more are beyond the "
            f"limit of {most}; there is room in {retry_after_s} s",
            reason=Reason.THROTTLED,
            retry_after_s=retry_after_s,
        )

    def _within_hour(self, key: str, now_ms: int) -> Sequence[tuple[int, int]]:
        times = self._counts.get(key)
        if times is None:
            return ()
        while times and now_ms - times[0][0] >= HOUR_MS:
            times.popleft()
        return times

    def _note(self, key: str, number: int, now_ms: int) -> None:
        if key not in self._counts and len(self._counts) >= _MOST_KEYS:
            self._counts = {
                one: at for one, at in self._counts.items() if self._is_recent(at, now_ms)
            }
        self._counts.setdefault(key, deque()).append((now_ms, number))

    @staticmethod
    def _is_recent(times: Sequence[tuple[int, int]], now_ms: int) -> bool:
        return bool(times) and now_ms - times[-1][0] < HOUR_MS
