# SPDX-License-Identifier: Apache-2.0
"""Pages as a busy BanyanDB node serves them, for the measurements of the recorder.

Composition as in perf-feasibility §1: 45 % histogram components, about 120 bytes per line, 53 % of
the values change from one scrape to the next and 46 % never do, which is worse than a real node.
"""

import random
from collections.abc import Iterator

_BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")


class NodePages:
    """An endless run of scrapes of one node with `series` series."""

    def __init__(self, series: int, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._lines: list[tuple[str, bool]] = []
        self._values: list[float] = []
        self._kinds: list[str] = []
        self._build(series)

    def pages(self, count: int) -> Iterator[bytes]:
        """Yield `count` consecutive pages."""
        for _ in range(count):
            yield self._page()
            self._step()

    def _build(self, series: int) -> None:
        histogram_left = int(series * 0.45)
        family = 0
        while len(self._values) < series:
            if histogram_left >= 14:
                histogram_left -= 14 * min(4, histogram_left // 14)
                self._histogram(family, min(4, max(1, histogram_left // 14 + 1)))
            else:
                self._plain(family, min(22, series - len(self._values)))
            family += 1
        del self._values[series:]

    def _histogram(self, family: int, groups: int) -> None:
        name = f"banyandb_measure_query_latency_{family:03}"
        self._comments(name, "histogram")
        for group in range(groups):
            labels = f'group="sw_metric_{group}",method="query",service="measure"'
            busy = self._random.random() < 0.55
            for bound in _BOUNDS:
                self._series(f'{name}_bucket{{{labels},le="{bound}"}}', "count" if busy else "")
            self._series(f"{name}_sum{{{labels}}}", "real" if busy else "")
            self._series(f"{name}_count{{{labels}}}", "count" if busy else "")

    def _plain(self, family: int, size: int) -> None:
        name = f"banyandb_storage_inverted_index_{family:03}_total"
        self._comments(name, "gauge" if family % 3 else "counter")
        for shard in range(size):
            draw = self._random.random()
            kind = "count" if draw < 0.33 else "real" if draw < 0.53 else ""
            labels = f'group="sw_metric",seg="2026112{shard % 3}",shard="shard-{shard}",kind="hot"'
            self._series(f"{name}{{{labels}}}", kind)

    def _comments(self, name: str, kind: str) -> None:
        self._lines.append((f"# HELP {name} What {name} counts in this node.", False))
        self._lines.append((f"# TYPE {name} {kind}", False))

    def _series(self, prefix: str, kind: str) -> None:
        self._lines.append((prefix, True))
        self._kinds.append(kind)
        self._values.append(self._random.choice([0.0, float(self._random.randrange(10**6)), 0.25]))

    def _page(self) -> bytes:
        values = iter(self._values)
        lines: list[str] = []
        for text, is_sample in self._lines:
            if not is_sample:
                lines.append(text)
            elif (value := next(values, None)) is not None:
                lines.append(f"{text} {value:.17g}")
        return ("\n".join(lines) + "\n").encode()

    def _step(self) -> None:
        for at, kind in enumerate(self._kinds[: len(self._values)]):
            if kind == "count":
                self._values[at] += self._random.randrange(1, 400)
            elif kind == "real":
                self._values[at] += self._random.random()
