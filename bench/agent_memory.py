# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN001, ANN202, D102, PLC0415
"""What one agent costs beside a database: memory with a full window, CPU at its usual pace.

Method. One process writes a journal of 360 rows of 3,000 series, a fifth of which moves between
two rows, 10 s apart. The agent is a process of its own (`python -m fodc_agent`), started as in its
image: bytecode compiled beforehand, none of a development install's import hooks, two settings of
malloc. It takes over the journal, so its window is full at once, and scrapes a page of the same
series every 10 s. A third process is its proxy: it holds the link, asks for the latest values
every 10 s. After some seconds of settling, user and system time over 60 s give the CPU, in percent
of one core; then the proxy asks once for the whole window, and VmRSS and VmHWM are read.
"""

from __future__ import annotations

import argparse
import asyncio
import http.server
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure

ROOT = Path(__file__).resolve().parent.parent
SERIES = 3_000
ROWS = 360
PARTS = ("run", "quick", "page", "proxy", "journal")
CPU_SPAN_S = 60.0
SETTLE_S = 20.0
GOAL_RSS_MIB = 28.0
GOAL_PEAK_MIB = 36.0
GOAL_CPU_PERCENT = 0.15
MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_MMAP_THRESHOLD_": "65536",
}


# ---- the page ---------------------------------------------------------------------------------


class Page:
    """A node's page: counters and histograms, a fifth of them moving."""

    def __init__(self, series: int) -> None:
        self._names = [
            f'banyandb_measure_total_written{{group="sw_metric_{place % 37}",'
            f'shard="{place % 5}",seg="2026{place:05d}",method="write"}}'
            for place in range(series)
        ]
        self._values = [float(place * 997 % 100_003) for place in range(series)]
        self._scrapes = 0

    def text(self) -> bytes:
        self._scrapes += 1
        for place in range(self._scrapes % 5, len(self._values), 5):
            self._values[place] += (place * self._scrapes) % 17 + 0.25
        lines = [
            "# HELP banyandb_measure_total_written Written.",
            "# TYPE banyandb_measure_total_written counter",
        ]
        lines += [
            f"{name} {value:g}" for name, value in zip(self._names, self._values, strict=True)
        ]
        return ("\n".join(lines) + "\n").encode()


def serve_page(series: int) -> None:
    page = Page(series)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = page.text() if self.path == "/metrics" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


# ---- the proxy --------------------------------------------------------------------------------


async def serve_proxy(every_s: float, window_after_s: float) -> None:
    import grpc
    import grpc.aio

    from fodc_wire.fodc.v1 import agent_link_pb2 as pb

    async def ask(context: grpc.aio.ServicerContext) -> None:
        asked = 0
        begun_s = time.monotonic()
        window_asked = window_after_s <= 0
        while True:
            await asyncio.sleep(every_s)
            asked += 1
            query = pb.ProxyFrame(metrics_query=pb.MetricsQuery(query_id=asked))
            if not window_asked and time.monotonic() - begun_s > window_after_s:
                window_asked = True
                query = pb.ProxyFrame(
                    window_query=pb.WindowQuery(query_id=asked, end_ms=int(time.time() * 2000))
                )
            await context.write(query)

    # grpc.aio gives its handlers no types that a checker could hold.
    async def connect(frames, context):  # type: ignore[no-untyped-def]
        asking = None
        async for frame in frames:
            kind = frame.WhichOneof("frame")
            if kind == "hello":
                welcome = pb.Welcome(protocol=1, agent_id="bench", heartbeat_interval_ms=10_000)
                await context.write(pb.ProxyFrame(welcome=welcome))
                asking = asyncio.create_task(ask(context))
            elif kind == "heartbeat":
                ack = pb.HeartbeatAck(sequence=frame.heartbeat.sequence)
                await context.write(pb.ProxyFrame(heartbeat_ack=ack))
        if asking is not None:
            asking.cancel()

    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        connect, pb.AgentFrame.FromString, pb.ProxyFrame.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("fodc.v1.AgentLink", {"Connect": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


# ---- processes --------------------------------------------------------------------------------


@contextmanager
def helper(*arguments: str) -> Iterator[int]:
    """Run this file as another process; yield the port that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.agent_memory", *arguments],
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
    import h2

    return str(Path(h2.__file__).resolve().parent.parent)


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
def agent(
    directory: Path, page: int, proxy: int, interval: str, target: str, *, optimized: bool
) -> Iterator[tuple[int, int]]:
    """Run the agent; yield its process id and port."""
    environment = agent_environment(directory / "pyc")
    flags = [
        f"--poll-metrics-ports={page}",
        f"--pprof-ports={page}",
        f"--poll-metrics-interval={interval}",
        f"--window-target={target}",
        "--prometheus-listen-addr=127.0.0.1:0",
        f"--recorder-dir={directory / 'journal'}",
        f"--capture-dir={directory / 'captures'}",
        "--pod-name=bench-0",
        "--node-role=data",
        "--container-names=data",
        f"--proxy-addr=127.0.0.1:{proxy}",
    ]
    python = [sys.executable, *(["-OO"] if optimized else []), "-S"]
    # Once for nothing, so that all bytecode is there, as an image has it.
    subprocess.run([*python, "-c", "import fodc_agent.runtime"], env=environment, check=True)
    log = (directory / "agent.log").open("w+")
    process = subprocess.Popen([*python, "-m", "fodc_agent", *flags], env=environment, stderr=log)
    try:
        yield process.pid, listening_port(directory / "agent.log")
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def listening_port(log: Path) -> int:
    for _ in range(200):
        for word in log.read_text().split():
            if word.startswith("listen="):
                return int(word.rpartition(":")[2])
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


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_figure(port: int, name: str) -> float:
    """Return one of the agent's own figures."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
    return math.nan


def write_journal(directory: Path, source: str) -> None:
    """Record an hour that has just passed."""
    from fodc_agent.recorder.journal import Journal
    from fodc_agent.recorder.recorder import Recorder

    page = Page(SERIES)
    journal = Journal(directory, max_bytes=64 << 20)
    recorder = Recorder(budget_bytes=64 << 20, interval_s=10, target_s=3_600, diary=journal)
    end_ms = int(time.time() * 1000)
    for row in range(ROWS, 0, -1):
        recorder.record_page(source, page.text(), end_ms - row * 10_000)
    journal.close()


def measure(*, cpu_span_s: float = CPU_SPAN_S, optimized: bool = False) -> dict[str, float]:
    """Return memory in MiB and CPU in percent of a core."""
    with tempfile.TemporaryDirectory() as folder, helper("page", str(SERIES)) as page:
        directory = Path(folder)
        own = [sys.executable, "-m", "bench.agent_memory", "journal", str(page)]
        subprocess.run([*own, "--directory", str(directory / "journal")], check=True)
        with (
            helper("proxy", "10", str(SETTLE_S + cpu_span_s)) as proxy,
            agent(directory, page, proxy, "10s", "1h", optimized=optimized) as (pid, port),
        ):
            time.sleep(SETTLE_S)
            before_s, begun_s = cpu_s(pid), time.monotonic()
            time.sleep(cpu_span_s)
            spent_s = cpu_s(pid) - before_s
            percent = spent_s / (time.monotonic() - begun_s) * 100
            # The question for the whole window comes now; its memory counts, its CPU is no habit.
            time.sleep(SETTLE_S)
            rss_mib, peak_mib = memory_mib(pid)
            connected = own_figure(port, "fodc_agent_proxy_connected")
        if connected != 1:
            raise RuntimeError("the agent was not linked: the figures would mean nothing")
        return {"rss": rss_mib, "peak": peak_mib, "cpu": percent}


def run(_names: Sequence[str] = ()) -> dict[str, Figure]:
    """Return the figures by name, with unit, goal and method."""
    figures = measure(optimized=True)
    how = f"{SERIES} series, {ROWS} rows of 10 s, linked, journal on, settings of agent/Dockerfile"
    return {
        "agent_rss_mib": entry(figures["rss"], "MiB", GOAL_RSS_MIB, f"VmRSS; {how}"),
        "agent_rss_peak_mib": entry(
            figures["peak"],
            "MiB",
            GOAL_PEAK_MIB,
            f"VmHWM, one question for the whole window; {how}",
        ),
        "agent_cpu_percent": entry(
            figures["cpu"], "% of a core", GOAL_CPU_PERCENT, f"utime+stime over 60 s; {how}"
        ),
    }


def entry(value: float, unit: str, goal: float, method: str) -> Figure:
    return Figure(round(value, 2), unit, goal, method)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", default="run", choices=PARTS)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--optimized", action="store_true")
    parser.add_argument("numbers", nargs="*", type=float)
    arguments = parser.parse_args()
    match arguments.part:
        case "page":
            serve_page(int(arguments.numbers[0]))
        case "proxy":
            asyncio.run(serve_proxy(*arguments.numbers))
        case "journal":
            write_journal(arguments.directory, f"metrics:{arguments.numbers[0]:.0f}")
        case "quick":
            figures = measure(cpu_span_s=30.0, optimized=arguments.optimized)
            print(json.dumps(figures, indent=2))
        case _:
            for name, told in run().items():
                print(name, told.told())


if __name__ == "__main__":
    main()
