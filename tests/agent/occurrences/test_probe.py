# SPDX-License-Identifier: Apache-2.0
"""A node answers, refuses, says nothing, or hangs up."""

import asyncio
from types import SimpleNamespace

import pytest

from fodc_agent.bus.coordinator import Reading
from fodc_agent.occurrences.observing import NodeObserver, Parts
from fodc_agent.occurrences.probe import problem_of
from fodc_agent.occurrences.rules import NodeRules, Remembered
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.sources.cgroup import EVENTS
from fodc_agent.sources.readings import SourceReading
from tests.agent.bus import virtual_time


async def answering(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
    writer.close()


async def silent(reader, writer):
    await reader.read()
    writer.close()


async def leaving(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("handler", "within_s", "told"),
    [
        (answering, 5.0, ""),
        (silent, 0.2, "does not answer within 0.2 s"),
        (leaving, 5.0, "ends connections without an answer"),
    ],
)
def test_any_answer_is_one_and_silence_is_none(handler, within_s, told):
    async def play():
        over = asyncio.Event()

        async def served(reader, writer):
            await handler(reader, writer)
            await writer.wait_closed()
            over.set()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            problem = await problem_of("127.0.0.1", port, within_s)
            await over.wait()
            return problem

    problem = asyncio.run(play())
    assert told in problem
    assert bool(problem) == bool(told)


def test_a_port_that_nobody_listens_on_is_named():
    async def play():
        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return port, await problem_of("127.0.0.1", port, 2.0)

    port, problem = asyncio.run(play())
    assert problem.startswith(f"127.0.0.1:{port}: ")


def test_a_page_that_came_spares_the_question(monkeypatch):
    asked_s = []

    class Quiet:
        is_away = False

        def page_answered(self, start_s, now_s):
            return []

    async def problem_of(host, port):
        asked_s.append(asyncio.get_running_loop().time())
        return ""

    monkeypatch.setattr("fodc_agent.occurrences.probe.problem_of", problem_of)

    async def play():
        clock_s = asyncio.get_running_loop().time
        recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
        settings = SimpleNamespace(
            pressure_percent=80, pressure_cooldown_s=300.0, node_host="127.0.0.1"
        )
        parts = Parts(settings, recorder, None, "metrics:2121")
        one = NodeObserver(parts, Quiet(), None, clock_s=clock_s)
        watching = asyncio.create_task(one.watch_answers())
        for _ in range(2):
            one.page_seen("metrics:2121", "")
            await asyncio.sleep(10)
        watching.cancel()

    virtual_time.run(play())
    assert asked_s == [1003.0, 1006.0, 1009.0, 1013.0, 1016.0, 1019.0]


def test_memory_far_from_its_limit_is_judged_by_what_is_read_anyway():
    looked_s = []

    class Far:
        async def read(self, *, anew):
            looked_s.append((asyncio.get_running_loop().time(), anew))

    async def play():
        recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
        settings = SimpleNamespace(pressure_percent=80, pressure_cooldown_s=300.0)
        one = NodeObserver(Parts(settings, recorder, Far(), "metrics:2121"), None, None)
        watching = asyncio.create_task(one.watch_memory())
        for after_s in (4, 10, 10, 25):
            await asyncio.sleep(after_s)
            one.reading_taken(Reading("metrics:2121", 0, None, "down", 0, 0))
            one.reading_taken(Reading("cgroup", 0, None, "down", 0, 0))
        await asyncio.sleep(1)
        watching.cancel()

    virtual_time.run(play())
    assert [at_s for at_s, _ in looked_s] == [1004.0, 1014.0, 1024.0, 1036.0, 1048.0, 1049.0]
    assert not any(anew for _, anew in looked_s)


def test_a_kill_is_told_by_the_reading_that_counts_it():
    told = []

    class Notes:
        def post(self, happened, memory=None):
            told.extend(happened)

    def reading(kills):
        samples = [EVENTS.sample(kills, ("event", "oom_kill")), EVENTS.sample(9, ("event", "max"))]
        return Reading("cgroup", 0, SourceReading(tuple(samples)), None, 0, 0)

    settings = SimpleNamespace(pressure_percent=80, pressure_cooldown_s=300.0)
    parts = Parts(settings, None, None, "metrics:2121", object(), oom=object())
    one = NodeObserver(parts, NodeRules(Remembered(), 0.0), Notes())
    for kills in (3, 3, 4, 0, 0, 1):
        one.reading_taken(reading(kills))
        told.append(kills)
    one.reading_taken(Reading("cgroup", 0, None, "hung", 0, 0))

    kinds = [getattr(happened, "kind", happened) for happened in told]
    assert kinds == [3, 3, "oom-kill", 4, 0, 0, "oom-kill", 1]
