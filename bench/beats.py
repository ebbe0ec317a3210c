# SPDX-License-Identifier: Apache-2.0
"""Heartbeats: how late their answers come while the fleet is scraped, and what they cost.

The one idea: a latency counts from when the beat was due, a missing answer counts as the deadline,
and nobody steps aside: load, reader and proxy have the same priority.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import cache

from bench.figures import Figure, held_against
from bench.fleet import PAGE
from bench.programs import fetch, peers, proxy

CALM = 500
SECONDS = 15.0
SCRAPE_EVERY_S = 1.0
COST_SECONDS = 20.0
TEXT = (
    f"{CALM} agents of our link beating once a second with their state for {SECONDS:g} s, while "
    f"100 Go-like agents x 2,000 series are scraped every {SCRAPE_EVERY_S:g} s by Prometheus's "
    "own page; from when a beat was due, without an answer 10 s; default log, equal priorities"
)


@cache
def measured() -> tuple[dict[str, object], dict[str, object]]:
    """Return what the beats of calm agents were: alone, and beside the scrapes."""
    with (
        proxy() as (_, addresses),
        peers(addresses["grpc"], contract="fodc", **PAGE) as pages,
        peers(addresses["grpc"], contract="link", agents=CALM, series=0, prefix="calm") as calm,
    ):
        assert calm.ask(do="connect")["registered"] == CALM
        alone = calm.ask(do="beats", seconds=SECONDS, period_s=1.0)
        assert pages.ask(do="connect")["registered"] == PAGE["agents"]
        time.sleep(0.5)
        ended = threading.Event()
        reader = threading.Thread(target=_scrape, args=(addresses["http"], ended))
        reader.start()
        beside = calm.ask(do="beats", seconds=SECONDS, period_s=1.0)
        ended.set()
        reader.join()
    return alone, beside


def _scrape(address: str, ended: threading.Event) -> None:
    while not ended.is_set():
        fetch(address, "/metrics")
        ended.wait(SCRAPE_EVERY_S)


def _p99() -> Figure:
    alone, beside = measured()
    text = f"{TEXT}; {beside['sent']} sent, {beside['missing']} without an answer"
    return held_against(
        float(str(beside["p99_ms"])),
        "ms",
        10,
        text,
        base=float(str(alone["p99_ms"])),
        of="the p99 of the same beats without scrapes",
    )


def _idle_p50() -> Figure:
    alone, _ = measured()
    text = f"median round trip of a heartbeat, {CALM} agents beating once a second, nothing else"
    return Figure(round(float(str(alone["p50_ms"])), 2), "ms", 1.3, text)


def _cost() -> Figure:
    """5,000 agents of the existing contract, each beating every 10 s."""
    with (
        proxy() as (process, addresses),
        peers(addresses["grpc"], contract="fodc", agents=5000, series=0) as agents,
    ):
        assert agents.ask(do="connect")["registered"] == 5000
        time.sleep(2)
        before_s = process.cpu_s()
        agents.ask(do="silent_beats", seconds=COST_SECONDS, period_s=10.0)
        share = (process.cpu_s() - before_s) / COST_SECONDS * 100
    text = "processor time of the proxy, 5,000 agents of seven streams beating every 10 s"
    return Figure(round(share, 1), "% of a core", 8, text)


FIGURES: dict[str, Callable[[], Figure]] = {
    "heartbeat_p99_ms": _p99,
    "heartbeat_idle_p50_ms": _idle_p50,
    "beats_5000_cpu_percent": _cost,
}


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the wanted names, all by default; everything takes about a minute and a half."""
    return {name: FIGURES[name]() for name in wanted or FIGURES}
