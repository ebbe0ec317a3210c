# SPDX-License-Identifier: Apache-2.0
"""What one agent costs beside a database: memory with a full window, CPU at its usual pace.

Method. One process writes a journal of 360 rows of a page, a fifth of which moves between two
rows, 10 s apart. The agent is a process of its own (`python -m fodc_agent`), started as in its
image: bytecode compiled beforehand, none of a development install's import hooks, two settings of
malloc. It takes over the journal, so its window is full at once, and scrapes the page every 10 s. A
third process is its proxy: it holds the stream or the seven streams, asks for the latest values
every 10 s. After some seconds of settling, user and system time over 60 s give the CPU, in percent
of one core. Then the proxy asks once for the whole window, and VmRSS is read when it has come to
rest: median of twelve readings, a second apart, that differ by a page at most. While an answer of
9 MiB is made and sent, which takes long on a busy machine, it is the peak that tells (VmHWM).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h11

from bench.agent_peers import Page
from bench.figures import MALLOC, Figure
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.recorder import Recorder

ROOT = Path(__file__).resolve().parent.parent
SERIES = "3000"
ROWS = 360
CPU_SPAN_S = 60.0
SETTLE_S = 20.0
RESTING_READINGS = 12
MOST_READINGS = 240
PAGE_MIB = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Memory in MiB and CPU in percent of a core."""

    rss_mib: float
    peak_mib: float
    cpu_percent: float


# ---- processes --------------------------------------------------------------------------------


@contextmanager
def peer(*arguments: str) -> Iterator[int]:
    """Run a page or a proxy as another process; yield the port that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.agent_peers", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def site_packages() -> str:
    """Return where libraries are installed."""
    return str(Path(h11.__file__).resolve().parent.parent)


def agent_environment(cache: Path) -> dict[str, str]:
    """Return the environment of an image: no hooks, bytecode at hand."""
    sources = [str(ROOT / "proto/src"), str(ROOT / "agent/src")]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment |= MALLOC
    environment["PYTHONNODEBUGRANGES"] = "1"
    environment["PYTHONPYCACHEPREFIX"] = str(cache)
    environment["PYTHONPATH"] = os.pathsep.join([*sources, site_packages()])
    return environment


@contextmanager
def agent(directory: Path, page: int, proxy: int) -> Iterator[tuple[int, int]]:
    """Run the agent; yield its process id and port."""
    environment = agent_environment(directory / "pyc")
    flags = [
        f"--poll-metrics-ports={page}",
        f"--pprof-ports={page}",
        "--poll-metrics-interval=10s",
        "--window-target=1h",
        "--prometheus-listen-addr=127.0.0.1:0",
        f"--recorder-dir={directory / 'journal'}",
        f"--capture-dir={directory / 'captures'}",
        "--pod-name=bench-0",
        "--node-role=data",
        "--container-names=data",
        f"--proxy-addr=127.0.0.1:{proxy}",
    ]
    python = [sys.executable, "-OO", "-S"]
    # Once for nothing, so that all bytecode is there, as an image has it.
    subprocess.run([*python, "-c", "import fodc_agent.runtime"], env=environment, check=True)
    with (directory / "agent.log").open("w+") as log:
        process = subprocess.Popen(
            [*python, "-m", "fodc_agent", *flags], env=environment, stderr=log
        )
        try:
            yield process.pid, listening_port(directory / "agent.log")
        finally:
            process.terminate()
            process.wait(10)


def listening_port(log: Path) -> int:
    """Return the agent's port as its log tells it."""
    for _ in range(200):
        for word in log.read_text().split():
            if word.startswith("listen="):
                return int(word.strip('"').rpartition(":")[2])
        time.sleep(0.05)
    raise RuntimeError(f"the agent does not listen: {log.read_text()}")


def memory_mib(pid: int) -> tuple[float, float]:
    """Return VmRSS and VmHWM."""
    figures = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            figures[name] = int(rest.split()[0]) / 1024
    return figures["VmRSS"], figures["VmHWM"]


def resting_mib(pid: int) -> tuple[float, float]:
    """Return VmRSS at rest and VmHWM."""
    readings = deque[float](maxlen=RESTING_READINGS)
    for _ in range(MOST_READINGS):
        rss_mib, peak_mib = memory_mib(pid)
        readings.append(rss_mib)
        if len(readings) == RESTING_READINGS and max(readings) - min(readings) < PAGE_MIB:
            return statistics.median(readings), peak_mib
        time.sleep(1)
    raise RuntimeError(f"memory does not come to rest: {[round(one, 1) for one in readings]} MiB")


def cpu_s(pid: int) -> float:
    """Return user and system time of a process, to the nanosecond: clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def own_figure(port: int, name: str) -> float:
    """Return one of the agent's own figures."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
    return math.nan


def write_journal(directory: Path, source: str, kind: str) -> None:
    """Record an hour that has just passed."""
    page = Page(kind)
    journal = Journal(directory, max_bytes=64 << 20)
    recorder = Recorder(budget_bytes=64 << 20, interval_s=10, target_s=3_600, diary=journal)
    end_ms = int(time.time() * 1000)
    for row in range(ROWS, 0, -1):
        recorder.record_page(source, page.text(), end_ms - row * 10_000)
    journal.close()


@cache
def measured(kind: str, contract: str, cpu_span_s: float = CPU_SPAN_S) -> Measured:
    """Return what an agent beside one kind of page costs over one contract."""
    with tempfile.TemporaryDirectory() as folder, peer("page", kind) as page:
        directory = Path(folder)
        own = [sys.executable, "-m", "bench.agent_memory", "journal", str(directory / "journal")]
        subprocess.run([*own, f"metrics:{page}", kind], check=True)
        with (
            peer("proxy", contract, "10", str(SETTLE_S + cpu_span_s)) as proxy,
            agent(directory, page, proxy) as (pid, port),
        ):
            time.sleep(SETTLE_S)
            before_s, begun_s = cpu_s(pid), time.monotonic()
            time.sleep(cpu_span_s)
            spent_s = cpu_s(pid) - before_s
            percent = spent_s / (time.monotonic() - begun_s) * 100
            # The question for the whole window comes now; its memory counts, its CPU is no habit.
            time.sleep(SETTLE_S)
            rss_mib, peak_mib = resting_mib(pid)
            connected = own_figure(port, "fodc_agent_proxy_connected")
    if connected != 1:
        raise RuntimeError("the agent was not linked: the figures would mean nothing")
    return Measured(rss_mib, peak_mib, percent)


MADE = f"{SERIES} series, {ROWS} rows of 10 s, journal on, settings of agent/Dockerfile"
REAL = f"page of a real BanyanDB data node, {ROWS} rows of 10 s, every source on"
CPU = "utime+stime over 60 s"


def _mib(value: float, goal: float, method: str) -> Figure:
    return Figure(round(value, 2), "MiB", goal, method)


def _percent(value: float, goal: float, method: str) -> Figure:
    return Figure(round(value, 3), "% of a core", goal, f"{CPU}; {method}")


FIGURES: dict[str, Callable[[], Figure]] = {
    "agent_rss_mib": lambda: _mib(measured(SERIES, "link").rss_mib, 28, f"VmRSS, linked; {MADE}"),
    "agent_rss_peak_mib": lambda: _mib(
        measured(SERIES, "link").peak_mib,
        36,
        f"VmHWM, linked, one question for the whole window; {MADE}",
    ),
    "agent_cpu_percent": lambda: _percent(
        measured(SERIES, "link").cpu_percent, 0.15, f"linked; {MADE}"
    ),
    "agent_rss_fallback_mib": lambda: _mib(
        measured(SERIES, "fodc").rss_mib, 31, f"VmRSS, seven streams; {MADE}"
    ),
    "agent_rss_real_mib": lambda: _mib(
        measured("real", "link").rss_mib, 30, f"VmRSS, linked; {REAL}"
    ),
    "agent_cpu_real_percent": lambda: _percent(
        measured("real", "link").cpu_percent, 0.12, f"linked; {REAL}"
    ),
}


def run(wanted: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure the wanted names, all by default; everything takes about six minutes."""
    return {name: FIGURES[name]() for name in wanted or FIGURES}


def main() -> None:
    """Write a journal, or measure once and quickly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    journal = parts.add_parser("journal")
    journal.add_argument("directory", type=Path)
    journal.add_argument("source")
    journal.add_argument("kind")
    quick = parts.add_parser("quick")
    quick.add_argument("kind", nargs="?", default=SERIES)
    quick.add_argument("contract", nargs="?", default="link")
    arguments = parser.parse_args()
    if arguments.part == "journal":
        write_journal(arguments.directory, arguments.source, arguments.kind)
    else:
        print(measured(arguments.kind, arguments.contract, 30.0))


if __name__ == "__main__":
    main()
