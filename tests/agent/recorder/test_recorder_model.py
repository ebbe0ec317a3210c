# SPDX-License-Identifier: Apache-2.0
"""The recorder against a model that keeps everything, under clock steps, gaps, churn and eviction.

What the recorder shows must be a subset of what went in, each value with its own time; what it
leaves out must be old; what is newest must be exact.
"""

import math
from array import array

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.samples import is_absent

NAMES = [f"s{n}" for n in range(8)]
SOURCES = ["node", "sidecar"]
values = st.sampled_from([0.0, 1.0, -2.5, 1e300, math.inf, math.nan])
pages = st.dictionaries(st.sampled_from(NAMES), values, max_size=8)


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


class Model(RuleBasedStateMachine):
    """A recorder with a small budget beside a list of everything it was told."""

    @initialize(
        budget=st.sampled_from([0, 3_000, 16_000, 1 << 20]),
        target_s=st.sampled_from([40, 200, 3600]),
        max_series=st.sampled_from([3, 100]),
    )
    def begin(self, budget: int, target_s: int, max_series: int) -> None:
        self.recorder = Recorder(
            budget_bytes=budget, interval_s=10, target_s=target_s, max_series=max_series
        )
        self.now_ms = 10**9
        self.passed_ms = 77_000
        self.rows: dict[str, list[tuple[int, dict[str, float]]]] = {name: [] for name in SOURCES}
        self.last: dict[str, dict[str, tuple[int, float]]] = {name: {} for name in SOURCES}
        self.ticks = dict.fromkeys(SOURCES, 0)
        self.exact = max_series == 100 and budget >= 1 << 20

    @rule(source=st.sampled_from(SOURCES), page=pages)
    def scrape(self, source: str, page: dict[str, float]) -> None:
        body = "".join(f"{name} {value!r}\n" for name, value in page.items()).encode()
        report = self.recorder.record_page(source, body, self.now_ms, self.passed_ms)
        assert report.series + report.dropped == len(page)
        self.ticks[source] += 1
        self.rows[source].append((self.now_ms, page))
        for name, value in page.items():
            self.last[source][name] = (self.ticks[source], value)

    @rule(source=st.sampled_from(SOURCES))
    def fail(self, source: str) -> None:
        self.recorder.scrape_failed(source)
        self.ticks[source] += 1

    @rule(step_s=st.sampled_from([1, 10, 10, 10, 60, 5_000, -3, -100_000]))
    def turn_clock(self, step_s: int) -> None:
        """Let wall and steady clock go on; the first may be set to another time."""
        self.now_ms += step_s * 1000
        self.passed_ms += abs(step_s) * 1000 if abs(step_s) <= 60 else 10_000

    @invariant()
    def budget_holds(self) -> None:
        extent = self.recorder.extent()
        assert extent.bytes <= extent.budget_bytes
        assert extent.rows <= sum(len(rows) for rows in self.rows.values())

    @invariant()
    def latest_is_exact(self) -> None:
        living = sorted(
            (name, value)
            for source in SOURCES
            for name, (tick, value) in self.last[source].items()
            if self.ticks[source] - tick < 3
        )
        shown = sorted((one.series.name, one.value) for one in self.recorder.latest_samples())
        if self.exact:
            assert [name for name, _ in shown] == [name for name, _ in living]
            assert all(
                any(same(value, other) for other_name, other in living if other_name == name)
                for name, value in shown
            )
        blocks = self.recorder.latest().blocks
        assert {block.name for block in blocks} == {name for name, _ in shown}

    @invariant()
    def history_is_true(self) -> None:
        for piece in self.recorder.window(-(10**15), 10**15):
            times = piece.timestamps_ms
            assert list(times) == sorted(times)
            for at, series in enumerate(piece.series):
                cells = piece.values[at * len(times) : (at + 1) * len(times)]
                self._check(piece.source, series.name, times, cells)

    def _check(self, source: str, name: str, times: "array[int]", cells: "array[float]") -> None:
        told = [(at, page[name]) for at, page in self.rows[source] if name in page]
        for at, value in zip(times, cells, strict=True):
            if not is_absent(value):
                assert any(at == time and same(value, was) for time, was in told)

    @invariant()
    def history_is_whole_where_the_budget_is_ample(self) -> None:
        extent = self.recorder.extent()
        if extent.budget_bytes < 1 << 20 or extent.target_s < 3600 or not self.exact:
            return
        kept = sum(1 for rows in self.rows.values() for _, page in rows if page)
        if kept and kept <= 40:  # 40 steps of at most 80 s are within the hour
            assert extent.rows == kept


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestModel = Model.TestCase
