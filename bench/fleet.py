# SPDX-License-Identifier: Apache-2.0
"""The pages of a fleet: `/metrics` and `/metrics-windows`, cold and warm, by both contracts.

The one idea: a page is at best a join of what the agents sent, so its time is held against a join
of the same bytes, in pieces of the length of a line, in the same run.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from bench.figures import Figure, held_against
from bench.programs import fetch, peers, proxy

PAGE = {"agents": 100, "series": 2000}
WINDOW = {"agents": 100, "series": 200, "points": 60}
WINDOW_QUERY = "/metrics-windows?start_time=2026-11-17T00:00:00Z&end_time=2026-11-30T00:00:00Z"
PAGE_TEXT = "100 agents x 2,000 series of labels of their own, values changing, "
WINDOW_TEXT = "100 agents x 200 series x 60 samples (1.2 M points), median of 3"
GROWN = "highest resident memory less that before the first page, larger of both contracts"
PIECE_BYTES = 100
JOIN = f"a join of the same bytes, {PIECE_BYTES} at a time"


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading one page again and again has shown."""

    cold_s: float
    warm_s: float
    join_s: float
    growth_mib: float


def reading(path: str, contract: str, shape: dict[str, int], rounds: int) -> Reading:
    """Read a page that 100 agents give."""
    with (
        proxy() as (process, addresses),
        peers(addresses["grpc"], contract=contract, **shape) as agents,
    ):
        assert agents.ask(do="connect")["registered"] == shape["agents"]
        time.sleep(0.5)  # Go-like agents open their data streams after the reply
        before_mib = process.memory_mib("VmRSS")
        answers = [fetch(addresses["http"], path) for _ in range(rounds + 1)]
        growth_mib = process.memory_mib("VmHWM") - before_mib
    for answer in answers:
        assert answer.headers["X-FODC-Answered"] == str(shape["agents"]), answer.headers
    warm_s = statistics.median(answer.took_s for answer in answers[1:])
    return Reading(answers[0].took_s, warm_s, joined_s(answers[-1].body), growth_mib)


def joined_s(body: bytes) -> float:
    """Return how long a join of these bytes takes, the median of 7."""
    pieces = [body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)]
    took_s = []
    for _ in range(7):
        started = time.perf_counter()
        b"".join(pieces)
        took_s.append(time.perf_counter() - started)
    return statistics.median(took_s)


@cache
def page(contract: str) -> Reading:
    """Read Prometheus's page."""
    return reading("/metrics", contract, PAGE, 7)


@cache
def window(contract: str) -> Reading:
    """Read the windows of the whole fleet."""
    return reading(WINDOW_QUERY, contract, WINDOW, 3)


def _time(read: Callable[[], Reading], goal: float, text: str, *, cold: bool = False) -> Figure:
    found = read()
    taken_s = found.cold_s if cold else found.warm_s
    return held_against(taken_s, "s", goal, text, base=found.join_s, of=JOIN)


def _growth(read: Callable[[str], Reading], goal_mib: float) -> Figure:
    largest = max(read(contract).growth_mib for contract in ("link", "fodc"))
    return Figure(round(largest, 1), "MiB", goal_mib, GROWN)


_LINK, _FODC = partial(page, "link"), partial(page, "fodc")
_WARM, _COLD = PAGE_TEXT + "median of 7 warm scrapes", PAGE_TEXT + "the first scrape"
FIGURES: dict[str, Callable[[], Figure]] = {
    "metrics_page_link_s": lambda: _time(_LINK, 20, _WARM),
    "metrics_page_link_cold_s": lambda: _time(_LINK, 40, _COLD, cold=True),
    "metrics_page_fodc_s": lambda: _time(_FODC, 80, _WARM + ", labels in random order"),
    "metrics_page_fodc_cold_s": lambda: _time(_FODC, 160, _COLD, cold=True),
    "metrics_growth_mib": lambda: _growth(page, 150),
    "windows_page_s": lambda: _time(partial(window, "link"), 40, WINDOW_TEXT),
    "windows_page_fodc_s": lambda: _time(
        partial(window, "fodc"), 130, WINDOW_TEXT + ", Go-like agents"
    ),
    "windows_growth_mib": lambda: _growth(window, 128),
}


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the wanted names, all by default; everything takes about a minute."""
    return {name: FIGURES[name]() for name in wanted or FIGURES}
