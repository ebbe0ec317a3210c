# SPDX-License-Identifier: Apache-2.0
"""The proxy under a fleet: pages, windows, storms and memory, with the real process.

The one idea: proxy, simulated agents and the reader are three processes on one machine, so the
figures contain the contention that a small machine has. Memory is what the kernel says of the
proxy: resident, and the highest it has been.
"""

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
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

        def scrape() -> None:
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


def figure(value: float, unit: str, goal: str, method: str) -> dict[str, object]:
    return {"value": round(value, 3), "unit": unit, "goal": goal, "method": method}


def run() -> dict[str, dict[str, object]]:
    """Measure everything; about a minute and a half."""
    link_page = reading("/metrics", "link", PAGE, 7)
    fodc_page = reading("/metrics", "fodc", PAGE, 7)
    link_window = reading(WINDOW_QUERY, "link", WINDOW, 3)
    fodc_window = reading(WINDOW_QUERY, "fodc", WINDOW, 3)
    beats = heartbeats_during_scrapes("fodc")
    link_storm = storm("link", 5000)
    fodc_storm = storm("fodc", 5000)
    page = "100 agents x 2,000 series, median of 7 scrapes"
    window = "100 agents x 200 series x 60 samples (1.2 M points), median of 3"
    grown = "highest resident memory less that before the first page"
    return {
        "metrics_page_link_s": figure(link_page["seconds"], "s", "<= 0.15", page),
        "metrics_page_fodc_s": figure(
            fodc_page["seconds"], "s", "<= 0.6", page + ", labels in random order"
        ),
        "metrics_growth_mib": figure(
            max(link_page["growth_mib"], fodc_page["growth_mib"]), "MiB", "<= 150", grown
        ),
        "windows_page_s": figure(link_window["seconds"], "s", "<= 3", window),
        "windows_page_fodc_s": figure(fodc_window["seconds"], "s", "", window),
        "windows_growth_mib": figure(link_window["growth_mib"], "MiB", "<= 128", grown),
        "windows_growth_fodc_mib": figure(fodc_window["growth_mib"], "MiB", "", grown),
        "heartbeat_p99_ms": figure(
            float(beats["p99_ms"] or 0),
            "ms",
            "<= 30",
            "500 agents beating once a second while 100 Go-like agents are scraped",
        ),
        "storm_lost": figure(
            link_storm["lost"] + fodc_storm["lost"], "agents", "0", "5,000 at once, per contract"
        ),
        "storm_s": figure(fodc_storm["seconds"], "s", "", "5,000 agents x 7 streams"),
        "storm_link_s": figure(link_storm["seconds"], "s", "", "5,000 agents x 1 stream"),
        "proxy_kib_per_agent_link": figure(
            link_storm["kib"], "KiB", "<= 45", "resident memory per agent of 5,000"
        ),
        "proxy_kib_per_agent_fodc": figure(
            fodc_storm["kib"], "KiB", "<= 190", "resident memory per agent of 5,000, 7 streams"
        ),
    }


if __name__ == "__main__":
    for name, told in run().items():
        print(f"{name:28} {told['value']:>10} {told['unit']:7} {told['goal']:8} {told['method']}")
