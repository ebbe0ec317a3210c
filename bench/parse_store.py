# SPDX-License-Identifier: Apache-2.0
"""Time of one warm scrape and of one answer with 3,000 series."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from node_pages import NodePages

from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.page import render_page

SERIES = 3000
WARM_UP = 40
ROUNDS = 200
METHOD = (
    f"{SERIES} series, over half of the values new on each page, median of {ROUNDS} consecutive "
    f"pages after {WARM_UP} to warm up; "
    "window on, no journal unless named, one process, perf_counter around the call"
)


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def run(names: Sequence[str] = ()) -> dict[str, dict[str, object]]:
    """Measure and return figures in milliseconds, only `names` if there are any."""
    recorder = Recorder(budget_bytes=8 << 20, interval_s=10)
    recorder.set_identity(None, (("node_role", "ROLE_DATA"), ("pod_name", "banyandb-data-hot-0")))
    source = NodePages(SERIES)
    store: list[float] = []
    latest: list[float] = []
    page: list[float] = []
    for at, body in enumerate(source.pages(WARM_UP + ROUNDS)):
        took = _milliseconds(
            lambda body=body, at=at: recorder.record_page("node", body, at * 10_000)
        )
        if at >= WARM_UP:
            store.append(took)
            latest.append(_milliseconds(recorder.latest))
            page.append(_milliseconds(lambda: render_page(recorder.latest().blocks)))
    history = _milliseconds(lambda: list(recorder.window(0, 10**13)))
    kept = _with_journal()
    first = Recorder(budget_bytes=8 << 20, interval_s=10)
    cold = _milliseconds(lambda: first.record_page("node", body, 0))
    figures = {
        "parse_store_ms": _figure(store, 1.5),
        "parse_store_journal_ms": _figure(kept, 2.5),
        "latest_blocks_ms": _figure(latest, 5.0),
        "latest_page_ms": _figure(page, 5.0),
        "first_page_ms": _figure([cold], 50.0),
        "whole_window_ms": _figure([history], 1000.0),
    }
    return {name: figures[name] for name in names or figures}


def _with_journal() -> list[float]:
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory), max_bytes=16 << 20)
        recorder = Recorder(budget_bytes=8 << 20, interval_s=10, journal=journal)
        times: list[float] = []
        for at, body in enumerate(NodePages(SERIES).pages(WARM_UP + ROUNDS)):
            times.append(
                _milliseconds(
                    lambda body=body, at=at: recorder.record_page("node", body, at * 10_000)
                )
            )
        recorder.close()
    return times[WARM_UP:]


def _figure(values: list[float], goal: float) -> dict[str, object]:
    median = round(statistics.median(values), 3)
    return {"value": median, "unit": "ms", "goal": goal, "method": METHOD}


if __name__ == "__main__":
    print(METHOD)
    for name, figure in run().items():
        print(f"{name}: {figure['value']} {figure['unit']} (goal {figure['goal']})")
