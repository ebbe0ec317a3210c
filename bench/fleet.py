# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the methods of a load generator are named for what they do
"""The proxy under a fleet: pages, windows, storms and memory, with the real process.

The one idea: proxy, simulated agents and the reader are three processes on one machine, so the
figures contain the contention that a small machine has. Memory is what the kernel says of the
proxy: resident, and the highest it has been.
"""

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
GUEST_NICENESS = 10
PAGE = {"agents": 100, "series": 2000}
WINDOW = {"agents": 100, "series": 200, "points": 60}
WINDOW_QUERY = "/metrics-windows?start_time=2026-11-17T00:00:00Z&end_time=2026-11-30T00:00:00Z"


class Process:
    """A child that talks in JSON lines."""

    def __init__(self, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self) -> dict[str, object]:
        return json.loads(self.child.stdout.readline())

    def ask(self, **command: object) -> dict[str, object]:
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        return self.read()

    def end(self) -> None:
        self.child.terminate()
        self.child.wait(10)

    def memory_mib(self, field: str) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024


@contextlib.contextmanager
def proxy() -> Iterator[tuple[Process, dict[str, str]]]:
    listen = ("--grpc-listen-addr=127.0.0.1:0", "--http-listen-addr=127.0.0.1:0")
    flags = ("--max-agents=20000", "--print-addresses", "--log-level=error")
    process = Process("-m", "fodc_proxy", *listen, *flags)
    try:
        yield process, process.read()
    finally:
        process.end()


@contextlib.contextmanager
def peers(address: str, **told: object) -> Iterator[Process]:
    process = Process(str(HERE / "peers.py"), json.dumps({"address": address, **told}))
    try:
        yield process
    finally:
        process.child.stdin.close()
        process.end()


def fetch(address: str, path: str) -> tuple[float, int, dict[str, str]]:
    """Return seconds, bytes and headers of one GET."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=120)
    started = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    size = 0
    while piece := response.read(1 << 20):
        size += len(piece)
    took_s = time.perf_counter() - started
    headers = dict(response.getheaders())
    connection.close()
    return took_s, size, headers


def reading(path: str, contract: str, shape: dict[str, int], rounds: int) -> dict[str, float]:
    """Median seconds and growth of a page that 100 agents give."""
    with (
        proxy() as (process, addresses),
        peers(addresses["grpc"], contract=contract, **shape) as agents,
    ):
        assert agents.ask(do="connect")["registered"] == shape["agents"]
        time.sleep(0.5)  # Go-like agents open their data streams after the reply
        before_mib = process.memory_mib("VmRSS")
        seconds: list[float] = []
        size = 0
        for _ in range(rounds):
            took_s, size, headers = fetch(addresses["http"], path)
            assert headers["X-FODC-Answered"] == str(shape["agents"]), headers
            seconds.append(took_s)
        growth_mib = process.memory_mib("VmHWM") - before_mib
    return {
        "seconds": statistics.median(seconds),
        "first_s": seconds[0],
        "mib": size / 2**20,
        "growth_mib": growth_mib,
    }


def heartbeats_during_scrapes(contract: str) -> dict[str, object]:
    """Heartbeat latency of 500 other agents while the fleet's page is read again and again."""
    with (
        proxy() as (_, addresses),
        peers(addresses["grpc"], contract=contract, **PAGE) as pages,
        peers(
            addresses["grpc"],
            contract="link",
            agents=500,
            series=0,
            role="ROLE_CALM",
            prefix="calm",
        ) as calm,
    ):
        assert pages.ask(do="connect")["registered"] == PAGE["agents"]
        assert calm.ask(do="connect")["registered"] == 500
        time.sleep(0.5)
        ended = threading.Event()

        # Page agents and reader stand for other machines: they leave the proxy and the clock that
        # times the beats the processor when all want it.
        os.setpriority(os.PRIO_PROCESS, pages.child.pid, GUEST_NICENESS)

        def scrape() -> None:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GUEST_NICENESS)
            while not ended.is_set():
                fetch(addresses["http"], "/metrics?role=ROLE_DATA")
                time.sleep(1)

        reader = threading.Thread(target=scrape)
        reader.start()
        result = calm.ask(do="beats", seconds=8, period_s=1.0)
        ended.set()
        reader.join()
    return result


def storm(contract: str, agents: int) -> dict[str, float]:
    """Agents that all register at once, and what each of them costs afterwards."""
    with (
        proxy() as (process, addresses),
        peers(addresses["grpc"], contract=contract, agents=agents, series=0) as fleet,
    ):
        before_mib = process.memory_mib("VmRSS")
        outcome = fleet.ask(do="connect")
        time.sleep(2)
        lost = agents - int(outcome["registered"]) + int(fleet.ask(do="lost")["lost"])
        per_agent_kib = (process.memory_mib("VmRSS") - before_mib) * 1024 / agents
    return {"seconds": float(outcome["seconds"]), "lost": lost, "kib": per_agent_kib}


PAGE_TEXT = "100 agents x 2,000 series, median of 7 scrapes"
WINDOW_TEXT = "100 agents x 200 series x 60 samples (1.2 M points), median of 3"
BEATS_TEXT = (
    "500 agents beating once a second while 100 Go-like agents x 2,000 series are scraped; "
    f"these and the reader run at niceness {GUEST_NICENESS}, as they stand for other machines"
)
GROWN = "highest resident memory less that before the first page, larger of both contracts"


@cache
def page(contract: str) -> dict[str, float]:
    return reading("/metrics", contract, PAGE, 7)


@cache
def window(contract: str) -> dict[str, float]:
    return reading(WINDOW_QUERY, contract, WINDOW, 3)


@cache
def beats() -> dict[str, object]:
    return heartbeats_during_scrapes("fodc")


@cache
def storms(contract: str) -> dict[str, float]:
    return storm(contract, 5000)


def larger(measure: Callable[[str], dict[str, float]], name: str) -> float:
    return max(measure(contract)[name] for contract in ("link", "fodc"))


# What is measured for each name: how, unit, goal, method.
FIGURES: dict[str, tuple[Callable[[], float], str, float, str]] = {
    "metrics_page_link_s": (lambda: page("link")["seconds"], "s", 0.15, PAGE_TEXT),
    "metrics_page_fodc_s": (
        lambda: page("fodc")["seconds"],
        "s",
        0.6,
        PAGE_TEXT + ", labels in random order",
    ),
    "metrics_growth_mib": (lambda: larger(page, "growth_mib"), "MiB", 150, GROWN),
    "windows_page_s": (lambda: window("link")["seconds"], "s", 3, WINDOW_TEXT),
    "windows_page_fodc_s": (
        lambda: window("fodc")["seconds"],
        "s",
        10,
        WINDOW_TEXT + ", Go-like agents",
    ),
    "windows_growth_mib": (lambda: larger(window, "growth_mib"), "MiB", 128, GROWN),
    "heartbeat_p99_ms": (
        lambda: float(beats()["p99_ms"] or 0),
        "ms",
        30,
        BEATS_TEXT,
    ),
    "storm_lost": (lambda: larger(storms, "lost"), "agents", 0, "5,000 at once, each contract"),
    "storm_s": (lambda: storms("fodc")["seconds"], "s", 3.5, "5,000 agents x 7 streams at once"),
    "storm_link_s": (lambda: storms("link")["seconds"], "s", 3.5, "5,000 agents x 1 stream"),
    "proxy_kib_per_agent_link": (
        lambda: storms("link")["kib"],
        "KiB",
        45,
        "resident memory per agent of 5,000",
    ),
    "proxy_kib_per_agent_fodc": (
        lambda: storms("fodc")["kib"],
        "KiB",
        190,
        "resident memory per agent of 5,000, 7 streams each",
    ),
}


def run(wanted: Sequence[str] = ()) -> dict[str, dict[str, object]]:
    """Measure the wanted names, all by default; everything takes about a minute and a half."""
    figures: dict[str, dict[str, object]] = {}
    for name in wanted or FIGURES:
        measure, unit, goal, method = FIGURES[name]
        value = round(measure(), 3)
        figures[name] = {"value": value, "unit": unit, "goal": goal, "method": method}
    return figures


if __name__ == "__main__":
    for name, told in run().items():
        print(f"{name:28} {told['value']:>10} {told['unit']:7} {told['goal']:8} {told['method']}")
