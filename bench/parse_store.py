# SPDX-License-Identifier: Apache-2.0
"""Time of one warm scrape with 3,000 series, beside prometheus_client's parser on the same page."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.figures import Figure
from bench.node_pages import NodePages
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.page import render_page

SERIES = 3000
WARM_UP = 40
ROUNDS = 200
IDENTITY = (("node_role", "ROLE_DATA"), ("pod_name", "banyandb-data-hot-0"))
METHOD = (
    f"{SERIES} series, over half of the values new on each page, median of {ROUNDS} consecutive "
    f"pages after {WARM_UP} to warm up; "
    "window on, no journal unless named, one process, perf_counter around the call"
)


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def run(names: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure and return figures, only `names` if there are any."""
    theirs = statistics.median(_milliseconds(_their_parse) for _ in range(7))
    plain, stamped = _stored(), _stored(is_stamped=True)
    figures = {
        "parse_store_ms": _faster(plain, theirs, 40, METHOD),
        "parse_store_stamped_ms": _faster(
            stamped, theirs, 20, f"every line with the time of its scrape; {METHOD}"
        ),
        "parse_store_journal_ms": _faster(_with_journal(), theirs, 30, f"with a journal; {METHOD}"),
        **_answers(),
    }
    return {name: figures[name] for name in names or figures}


def _their_parse() -> None:
    (body,) = NodePages(SERIES).pages(1)
    for _ in text_string_to_metric_families(body.decode()):
        pass


def _stored(*, is_stamped: bool = False) -> list[float]:
    """Milliseconds of each warm page; stamped ones carry another time on each."""
    recorder = Recorder(budget_bytes=8 << 20, interval_s=10)
    recorder.set_identity(None, IDENTITY)
    took: list[float] = []
    for at, plain in enumerate(NodePages(SERIES).pages(WARM_UP + ROUNDS)):
        body = _stamped(plain, 1_795_000_000_000 + at * 10_000) if is_stamped else plain
        took.append(
            _milliseconds(lambda body=body, at=at: recorder.record_page("node", body, at * 10_000))
        )
    return took[WARM_UP:]


def _stamped(page: bytes, time_ms: int) -> bytes:
    end = b" %d" % time_ms
    lines = page.splitlines()
    return b"\n".join(line if line.startswith(b"#") else line + end for line in lines) + b"\n"


def _answers() -> dict[str, Figure]:
    """What is asked of a full recorder."""
    recorder = Recorder(budget_bytes=8 << 20, interval_s=10)
    recorder.set_identity(None, IDENTITY)
    latest: list[float] = []
    page: list[float] = []
    first: list[float] = []
    for at, body in enumerate(NodePages(SERIES).pages(WARM_UP)):
        took = _milliseconds(
            lambda body=body, at=at: recorder.record_page("node", body, at * 10_000)
        )
        first = first or [took]
        latest.append(_milliseconds(recorder.latest))
        page.append(_milliseconds(lambda: render_page(recorder.latest().blocks)))
    history = _milliseconds(lambda: list(recorder.window(0, 10**13)))
    return {
        "latest_blocks_ms": _figure(latest, 5.0),
        "latest_page_ms": _figure(page, 5.0),
        "first_page_ms": _figure(first, 50.0),
        "whole_window_ms": _figure([history], 1000.0),
    }


def _with_journal() -> list[float]:
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory), max_bytes=16 << 20)
        recorder = Recorder(budget_bytes=8 << 20, interval_s=10, diary=journal)
        times: list[float] = []
        for at, body in enumerate(NodePages(SERIES).pages(WARM_UP + ROUNDS)):
            times.append(
                _milliseconds(
                    lambda body=body, at=at: recorder.record_page("node", body, at * 10_000)
                )
            )
        journal.close()
    return times[WARM_UP:]


def _faster(values: list[float], theirs: float, goal: float, method: str) -> Figure:
    median = statistics.median(values)
    of = f"the speed of prometheus_client's parser on such a page ({theirs:.1f} ms)"
    return Figure(
        round(median, 3), "ms", goal, method, round(theirs / median, 1), of, at_least=True
    )


def _figure(values: list[float], goal: float) -> Figure:
    return Figure(round(statistics.median(values), 3), "ms", goal, METHOD)


if __name__ == "__main__":
    for name, figure in run().items():
        print(name, figure.told())
