# SPDX-License-Identifier: Apache-2.0
"""T-WD of the existing agent where it is about the whole way: bus, scrape, recorder, crew.

What is one watchdog with one loop there is here a bus with a task per source, so each case is
restated as what a user sees; virtual time, no network. The role gate and the identity labels are
proved with the real process in `test_the_process`.
"""

import asyncio
import importlib.util
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from fodc_agent.bus.breaker import BreakerState
from fodc_agent.bus.coordinator import Coordinator
from fodc_agent.crew import Crew
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.recording import Recording
from fodc_agent.scraping.client import Response
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_agent.self_metrics import recording_samples, source_samples
from fodc_agent.settings import load
from fodc_agent.sources.banyandb import MetricsSource
from fodc_protocol.errors import OptionError
from fodc_protocol.metrics.samples import MetricType

_spec = importlib.util.spec_from_file_location(
    "virtual_time_of_the_bus", Path(__file__).parents[1] / "bus" / "virtual_time.py"
)
virtual_time = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(virtual_time)


class Node:
    """Stands for the HTTP client: what each port answers now, and who asked when (seconds)."""

    def __init__(self, **pages: bytes | FetchError) -> None:
        self.pages = {int(port.removeprefix("port_")): page for port, page in pages.items()}
        self.asked: list[tuple[int, float]] = []

    async def get(self, url, *, timeout_s, max_bytes, cut=False):
        port = int(url.rpartition(":")[2].removesuffix("/metrics"))
        self.asked.append((port, asyncio.get_running_loop().time() - 1000.0))
        answer = self.pages[port]
        if isinstance(answer, FetchError):
            raise answer
        return Response(200, {}, answer, len(answer))


@dataclass
class Program:
    coordinator: Coordinator
    recorder: Recorder
    recording: Recording
    crew: Crew
    told: list[str] = field(default_factory=list)


def made(recorder: Recorder | None = None) -> Program:
    loop = asyncio.get_running_loop()
    coordinator = Coordinator(loop.time, lambda: int(loop.time() * 1000), 0.0)
    recorder = recorder or Recorder(budget_bytes=1 << 20, interval_s=10)
    told: list[str] = []
    recording = Recording(
        coordinator,
        recorder,
        on_change=lambda: told.append("changed"),
    )
    return Program(coordinator, recorder, recording, Crew(clock=loop.time), told)


def start(one: Program, node: Node) -> None:
    loop = asyncio.get_running_loop()
    for port in node.pages:
        source = MetricsSource(node, port, clock=loop.time)
        one.coordinator.add(source)
        one.crew.start(f"record {port}", partial(one.recording.record, source.name, 10.0))


async def stop(one: Program) -> None:
    await one.coordinator.aclose()
    await one.crew.stop(0.5)


@asynccontextmanager
async def running(node: Node, recorder: Recorder | None = None):
    one = made(recorder)
    start(one, node)
    try:
        yield one
    finally:
        await stop(one)


UP_AND_SAMPLES = ("fodc_agent_scrape_up", "fodc_agent_scrape_samples")


def history(one: Recorder, name: str) -> list[tuple[int, float]]:
    pieces = one.window(0, 10**15, frozenset({name}))
    return [pair for p in pieces for pair in zip(p.timestamps_ms, p.values, strict=True)]


# ---- start and stop -----------------------------------------------------------------------------


def test_t_wd_14_scraping_begins_with_the_start_and_ends_with_the_stop():
    node = Node(port_1=b"a 1\n")

    async def main():
        async with running(node) as one:
            await asyncio.sleep(25)
        left = [task.get_name() for task in asyncio.all_tasks() if task != asyncio.current_task()]
        await asyncio.sleep(100)
        return left, history(one.recorder, "a"), one.crew.crashes

    left, rows, crashes = virtual_time.run(main())
    assert node.asked == [(1, 0.0), (1, 10.0), (1, 20.0)]
    assert rows == [(1_000_000, 1.0), (1_010_000, 1.0), (1_020_000, 1.0)]
    assert (left, dict(crashes)) == ([], {})


def test_t_wd_16_a_second_start_scrapes_nothing_twice():
    """Upstream gives the second caller a closed channel; here it is told why."""
    node = Node(port_1=b"a 1\n")

    async def main():
        async with running(node) as one:
            await asyncio.sleep(1)
            with pytest.raises(ValueError, match="collected already"):
                await one.recording.record("metrics:1", 10.0)
            await asyncio.sleep(24)
        async with asyncio.timeout(0.1):
            await one.recording.record("metrics:1", 10.0)
        return one.coordinator.statistics()["metrics:1"], history(one.recorder, "a")

    statistics, rows = virtual_time.run(main())
    assert node.asked == [(1, 0.0), (1, 10.0), (1, 20.0)]
    assert (statistics.collections_made, len(rows)) == (3, 3)


def test_t_wd_17_a_stop_without_a_start_is_harmless():
    async def main():
        one = made()
        one.coordinator.add(MetricsSource(Node(port_1=b"a 1\n"), 1))
        async with asyncio.timeout(0.1):
            await stop(one)
            await stop(one)
            await one.recording.record("metrics:1", 10.0)
        return (await one.coordinator.demand("metrics:1")).error

    assert virtual_time.run(main()) == "the agent is stopping"


# ---- who takes what was scraped -----------------------------------------------------------------


def test_t_wd_09_a_scrape_that_nobody_records_is_harmless():
    """Upstream's watchdog without a recorder: the bus answers demands and keeps no history."""
    node = Node(port_1=b"a 1\n")

    async def main():
        one = made()
        one.coordinator.add(MetricsSource(node, 1))
        reading = await one.coordinator.demand("metrics:1")
        await asyncio.sleep(60)
        await stop(one)
        return reading.payload.body, one.recorder.extent().rows, dict(one.crew.crashes)

    assert virtual_time.run(main()) == (b"a 1\n", 0, {})
    assert node.asked == [(1, 0.0)]


class Broken(Recorder):
    """A recorder that fails for one source as long as `fault` is set."""

    def __init__(self, source: str, fault: Exception) -> None:
        super().__init__(budget_bytes=1 << 20, interval_s=10)
        self.source = source
        self.fault: Exception | None = fault

    def page_steps(self, source, body, at_ms, arrived_ms=None):
        if source == self.source and self.fault is not None:
            raise self.fault
        return super().page_steps(source, body, at_ms, arrived_ms)


def test_t_wd_10_a_failing_recorder_is_named_until_it_works_again():
    """Upstream's text is "failed to forward metrics to recorder"; it reaches its log alone."""
    recorder = Broken("metrics:1", ValueError("no room"))

    async def main():
        async with running(Node(port_1=b"a 1\n"), recorder) as one:
            await asyncio.sleep(15)
            during = dict(one.recording.problems), set(one.recording.answered), list(one.told)
            recorder.fault = None
            await asyncio.sleep(10)
            return during, dict(one.recording.problems), one.recording.answered, one.told

    during, after, answered, told = virtual_time.run(main())
    text = "failed to forward metrics to the recorder: ValueError: no room"
    assert during == ({"metrics:1": text}, set(), ["changed"])
    assert (after, answered, told) == ({}, {"metrics:1"}, ["changed", "changed"])


def test_t_wd_11_a_failing_poll_is_named_until_it_works_again():
    """Upstream's text is "failed to poll metrics"; here it says how often and why."""
    node = Node(port_1=FetchError(Fault.STATUS, "HTTP 503: busy", status=503))

    async def main():
        async with running(node) as one:
            await asyncio.sleep(5)
            during = dict(one.recording.problems), list(one.told)
            up = one.recorder.value("fodc_agent_scrape_up", {"port": "1"})
            node.pages[1] = b"a 1\n"
            await asyncio.sleep(10)
            return during, up, dict(one.recording.problems), one.recorder.value("a")

    during, up, after, value = virtual_time.run(main())
    text = "failed after 3 attempts: HTTP 503: busy"
    assert during == ({"metrics:1": text}, ["changed"])
    assert (up, after, value) == (0.0, {}, 1.0)


def test_t_wd_18_a_recorder_that_breaks_ends_neither_the_agent_nor_other_sources():
    """Upstream ends with exit code 0 (W-04) and leaves an artifact directory; that part differs.

    Here the other source is recorded as ever, the broken one is tried with every scrape, counted
    and named, and nothing has to be restarted when it works again.
    """
    recorder = Broken("metrics:1", RuntimeError("a bug"))

    async def main():
        async with running(Node(port_1=b"a 1\n", port_2=b"b 2\n"), recorder) as one:
            await asyncio.sleep(295)
            during = dict(one.recording.failures), one.crew.failed.is_set()
            recorder.fault = None
            await asyncio.sleep(10)
            return (
                during,
                dict(one.recording.failures),
                recorder.value("a"),
                len(history(recorder, "b")),
            )

    during, after, value, rows = virtual_time.run(main())
    assert during == ({"metrics:1": 30}, False)
    assert (after, value, rows) == ({"metrics:1": 30}, 1.0, 31)


def test_t_wd_18_lost_readings_are_a_series_of_the_agent_itself():
    (sample,) = recording_samples({"metrics:1": 30})
    assert (sample.series.name, sample.series.labels, sample.series.type, sample.value) == (
        "fodc_agent_recording_failures_total",
        (("source", "metrics:1"),),
        MetricType.COUNTER,
        30.0,
    )


def test_t_wd_18_a_task_that_breaks_is_started_again_and_counted_beside_the_others():
    async def main():
        crew = Crew(clock=asyncio.get_running_loop().time)
        runs: list[float] = []
        ticks: list[float] = []

        async def fragile():
            runs.append(asyncio.get_running_loop().time() - 1000.0)
            if len(runs) < 4:
                raise ValueError("a bug")
            await asyncio.Event().wait()

        async def steady():
            while True:
                ticks.append(asyncio.get_running_loop().time() - 1000.0)
                await asyncio.sleep(1)

        crew.start("fragile", fragile)
        crew.start("steady", steady)
        await asyncio.sleep(9.5)
        await crew.stop(0.5)
        return runs, ticks, dict(crew.crashes), crew.failed.is_set()

    runs, ticks, crashes, failed = virtual_time.run(main())
    assert runs == [0.0, 0.5, 1.5, 3.5]
    assert ticks == [float(at) for at in range(10)]
    assert (crashes, failed) == ({"fragile": 3}, False)


def test_t_wd_18_a_task_that_breaks_again_and_again_gives_up_with_a_failure():
    """W-04: upstream then exits 0, as if all were well; here the exit code is 1."""

    async def main():
        crew = Crew(clock=asyncio.get_running_loop().time)

        async def hopeless():
            raise ValueError("a bug")

        crew.start("hopeless", hopeless)
        async with asyncio.timeout(20):
            await crew.failed.wait()
        await crew.stop(0.5)
        return dict(crew.crashes), asyncio.get_running_loop().time() - 1000.0

    assert virtual_time.run(main()) == ({"hopeless": 5}, 7.5)


# ---- ports --------------------------------------------------------------------------------------


def test_t_wd_25_no_port_at_all_is_an_error_before_the_start():
    """Upstream says "no metrics endpoints configured" with every poll; here the start says it."""
    with pytest.raises(OptionError, match=r"^poll-metrics-ports cannot be empty"):
        load(["--poll-metrics-ports="], {})


def test_t_wd_25_ports_that_all_fail_are_each_named():
    refused = FetchError(Fault.REFUSED, "refused")

    async def main():
        async with running(Node(port_1=refused, port_2=refused)) as one:
            await asyncio.sleep(5)
            told = {name: [s.value for s in one.recorder.values(name)] for name in UP_AND_SAMPLES}
            return dict(one.recording.problems), told

    problems, told = virtual_time.run(main())
    text = "failed after 3 attempts: refused"
    assert problems == {"metrics:1": text, "metrics:2": text}
    assert told == {"fodc_agent_scrape_up": [0.0, 0.0], "fodc_agent_scrape_samples": [0.0, 0.0]}


# ---- a failed scrape is a failure of its source -------------------------------------------------


def test_a5_refused_scrapes_show_in_the_figures_and_the_breaker_of_their_source():
    refused = FetchError(Fault.REFUSED, "refused")

    async def main():
        async with running(Node(port_1=refused)) as one:
            await asyncio.sleep(45)
            statistics = one.coordinator.statistics()
            told = {s.series.name: s.value for s in source_samples(statistics)}
            attempts = one.recorder.value("fodc_agent_scrape_attempts", {"port": "1"})
            return told, statistics["metrics:1"].breaker, attempts

    told, breaker, attempts = virtual_time.run(main())
    assert told == {
        "fodc_agent_source_up": 0.0,
        "fodc_agent_source_collections_total": 5.0,
        "fodc_agent_source_failures_total": 5.0,
        "fodc_agent_source_left_alone": 0.0,
    }
    assert (breaker is BreakerState.CLOSED, attempts) == (False, 3.0)
