# SPDX-License-Identifier: Apache-2.0
"""When the node's profiler is looked at: soon after a beginning, seldom where there is none."""

import asyncio
from types import SimpleNamespace

from fodc_agent import node_watch
from fodc_agent.node_state import ProfilerFacts
from fodc_agent.node_watch import NodeWatch
from tests.agent.bus import virtual_time


def looks_s(monkeypatch, problem, *, again_after_s=0.0, over_s=300.0):
    """Return when it is looked at, in seconds from the start."""
    seen = []

    async def look(*_):
        seen.append(asyncio.get_running_loop().time() - 1000.0)
        return ProfilerFacts(asked=True, problem=problem)

    monkeypatch.setattr(node_watch, "look_at_profiler", look)

    async def main():
        report = SimpleNamespace(profiler=None)
        watch = NodeWatch(report, None, None, "http://node", None, lambda: None)
        watching = asyncio.create_task(watch.watch_profiler())
        if again_after_s:
            await asyncio.sleep(again_after_s)
            watch.look_again()
        await asyncio.sleep(over_s)
        watching.cancel()

    virtual_time.run(main())
    return seen


def test_a_port_without_one_is_looked_at_soon_and_then_less_often(monkeypatch):
    assert looks_s(monkeypatch, "HTTP 404") == [0.0, 15.0, 45.0, 105.0, 165.0, 225.0, 285.0]


def test_a_node_that_begins_anew_is_looked_at_at_once_and_soon_again(monkeypatch):
    seen = looks_s(monkeypatch, "HTTP 404", again_after_s=200.0, over_s=50.0)

    assert seen[-3:] == [200.0, 215.0, 245.0]


def test_what_was_found_is_looked_at_every_five_minutes_and_when_the_node_begins_anew(monkeypatch):
    assert looks_s(monkeypatch, "", again_after_s=310.0, over_s=310.0) == [0.0, 300.0, 310.0, 610.0]
