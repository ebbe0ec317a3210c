# SPDX-License-Identifier: Apache-2.0
"""When a node is looked at: its profiler, and what the kernel permits beside it."""

import asyncio
from types import SimpleNamespace

import pytest

from fodc_agent import node_watch
from fodc_agent.abilities import Facts, unread_abilities
from fodc_agent.lanes import StuckError
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


class Lane:
    """Hangs as often as it is told to, then answers."""

    def __init__(self, hangs):
        self.hangs = hangs
        self.asked_s = []

    async def run(self, _call):
        self.asked_s.append(asyncio.get_running_loop().time() - 1000.0)
        if len(self.asked_s) <= self.hangs:
            await asyncio.sleep(5.0)
            raise StuckError("self-check: no answer within 5 s")
        return Facts()


@pytest.mark.parametrize(("hangs", "asked_s"), [(0, [0]), (1, [0, 2]), (3, [0, 2, 67, 132])])
def test_a_first_look_that_hangs_is_taken_again_and_told_as_unknown_until_then(hangs, asked_s):
    async def main():
        report = SimpleNamespace(
            abilities=unread_abilities(), settings=SimpleNamespace(flavor="basic")
        )
        watch = NodeWatch(report, None, None, "http://node", None, lambda: None)
        watch._lane = lane = Lane(hangs)
        node = SimpleNamespace(find=lambda: asyncio.sleep(0))
        await watch.check_first(node)
        before = {one.reason for one in report.abilities}
        watching = asyncio.create_task(watch.check(node))
        await asyncio.sleep(600.0)
        watching.cancel()
        return lane.asked_s, before, {one.reason for one in report.abilities}

    seen_s, before, after = virtual_time.run(main())

    assert seen_s == asked_s
    assert (before == {"NotRead"}) is (hangs > 0)
    assert "NotRead" not in after
