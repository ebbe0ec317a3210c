# SPDX-License-Identifier: Apache-2.0
"""How soon it is seen that a node is about to be killed."""

import asyncio
import os
import sys
from types import SimpleNamespace

from fodc_agent.bus.coordinator import Reading
from fodc_agent.occurrences.memory import NodeMemory
from fodc_agent.occurrences.observing import NodeObserver, Parts
from fodc_agent.occurrences.rules import Memory
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.sources.cgroup import LIMIT
from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.readings import SourceReading
from fodc_protocol.occurrences import OccurrenceKind
from tests.agent.bus import virtual_time

SETTINGS = SimpleNamespace(
    pressure_percent=80, pressure_cooldown_s=300.0, node_memory_limit_bytes=0
)
MIB = 1024 * 1024


class Sources:
    """The cgroup, as it is read now."""

    def __init__(self, limit_bytes):
        self.limit_bytes = limit_bytes
        self.asked = []

    async def demand(self, name, max_age_s):
        self.asked.append(name)
        samples = () if self.limit_bytes is None else (LIMIT.sample(self.limit_bytes),)
        return Reading(name, 0, SourceReading(samples, ()), None, 0.0, 0.0)


def memory_of(node, sources):
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    return NodeMemory(SETTINGS, recorder, sources, "metrics:2121", node)


def test_the_memory_of_a_process_is_read_from_it_and_its_limit_before_it_is_recorded():
    async def play():
        text = "held = bytearray(64 << 20); print(flush=True); input()"
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-c", text)
        child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        await child.stdout.readline()
        node, sources = NodeProcess(pid=child.pid), Sources(256 * MIB)
        memory = memory_of(node, sources)
        assert isinstance(await node.find(), Process)
        unknown = await memory.read(anew=True)
        await memory.begins()
        known = await memory.read(anew=True)
        child.kill()
        await child.wait()
        return unknown, known, await memory.read(anew=True), sources.asked

    unknown, known, ended, asked = asyncio.run(play())

    assert (unknown, ended) == (None, None)
    assert known.limit_bytes == 256 * MIB
    assert 64 * MIB < known.rss_bytes < 128 * MIB
    assert asked == ["cgroup"]


def test_a_process_of_the_same_number_in_another_life_is_not_read():
    node = NodeProcess(pid=os.getpid())

    assert node.resident_bytes(Process(os.getpid(), 1, "other")) is None


class Rising:
    """Memory that grows from nothing to its limit in ten seconds."""

    def __init__(self):
        self.read_at_s = []

    async def begins(self):
        self.began_s = asyncio.get_running_loop().time()

    async def read(self, *, anew):
        now_s = asyncio.get_running_loop().time()
        self.read_at_s.append(now_s - self.began_s)
        return Memory(round(10 * MIB * (now_s - self.began_s)), 100 * MIB)


def test_a_node_that_eats_its_memory_in_ten_seconds_is_profiled_before_it_ends():
    fired_at_s = []

    async def play():
        clock_s = asyncio.get_running_loop().time
        rising = Rising()
        await rising.begins()

        class Told:
            def post(self, happened, memory=None):
                assert [one.kind for one in happened] == [OccurrenceKind.MEMORY_PRESSURE]
                fired_at_s.append(clock_s() - rising.began_s)

        recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
        parts = Parts(SETTINGS, recorder, rising, "metrics:2121")
        observer = NodeObserver(parts, None, Told(), clock_s=clock_s)
        watching = asyncio.create_task(observer.watch_memory())
        observer._memory_is_due.ring()
        await asyncio.sleep(10)
        watching.cancel()

    virtual_time.run(play())

    assert 8 <= fired_at_s[0] <= 9
