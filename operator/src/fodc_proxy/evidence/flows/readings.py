# SPDX-License-Identifier: Apache-2.0
"""The readings that rates are counted from, pure."""

from collections.abc import Iterable
from typing import Final

from fodc_proxy.evidence.flows.reading import Reading

LEAST_S: Final = 5.0
"""A reading that is younger gives no rate: nodes are scraped every ten seconds or so."""
MOST_S: Final = 900.0
_MOST_KEPT: Final = 3


class Readings:
    """The last few readings of each node, some seconds apart; times in Unix milliseconds."""

    def __init__(self) -> None:
        self._by_node: dict[str, list[tuple[int, Reading]]] = {}

    def exchanged(self, address: str, now: Reading, now_ms: int) -> tuple[Reading | None, float]:
        """Remember this reading; return the one to count from and its age in seconds.

        That is the youngest that is old enough, so who asks often takes the rates from nobody.
        """
        known = self._by_node.setdefault(address, [])
        known[:] = [one for one in known if 0 <= now_ms - one[0] <= MOST_S * 1000]
        old = [one for one in known if now_ms - one[0] >= LEAST_S * 1000]
        if len(old) == len(known):
            known.append((now_ms, now))
            del known[:-_MOST_KEPT]
        return (old[-1][1], (now_ms - old[-1][0]) / 1000) if old else (None, 0.0)

    def keep_only(self, addresses: Iterable[str]) -> None:
        """Forget the nodes that are not there any more."""
        wanted = set(addresses)
        self._by_node = {name: one for name, one in self._by_node.items() if name in wanted}
