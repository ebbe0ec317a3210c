# SPDX-License-Identifier: Apache-2.0
"""Occurrences: at least once, in order, acknowledged after they are stored; gaps are told.

The world below is both programs reduced to lists: a wire that loses what is on it, a spool that is
as old as its last write, and an inbox that lives longer than the proxy.
"""

import asyncio
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fodc_protocol.link import effects, frames
from fodc_protocol.link.agent_side import AgentSession, Phase
from fodc_protocol.link.event_queue import EventQueue
from fodc_protocol.occurrences import OccurrenceKind
from fodc_proxy.storage.errors import StorageError
from fodc_wire.fodc.v1 import agent_link_pb2 as link

from ..live import LinkAgent, fetch, running, until  # noqa: TID252 - one folder's tests

ROOM = 4


class World:
    """An agent with its spool, a wire, and a proxy whose inbox is durable."""

    def __init__(self) -> None:
        self.lives = 0
        self.spool = None
        self.to_proxy: deque[frames.AgentFrame] = deque()
        self.to_agent: deque[frames.ProxyFrame] = deque()
        self.stored: list[tuple[str, int]] = []
        self.acknowledged: set[tuple[str, int]] = set()
        self.gapped = 0
        self.start_agent()

    def start_agent(self) -> None:
        self.lives += 1
        life = f"life-{self.lives}"
        self.queue = EventQueue(life, self.spool, max_events=ROOM)
        self.session = AgentSession(
            identity=frames.Identity("pod-0"),
            state=frames.NodeState("ROLE_DATA"),
            agent_version="1",
            incarnation=life,
            heartbeat_interval_ms=1000,
            events=self.queue,
        )

    def act(self, asked: list[effects.AgentEffect]) -> None:
        for effect in asked:
            if isinstance(effect, effects.SendAgentFrame):
                self.to_proxy.append(effect.frame)

    def happen(self) -> None:
        event = self.queue.add("node-gone", "it ended", {}, 1)
        self.spool = self.queue.kept()
        if event is not None:
            self.act(self.session.happened(event))

    def cut(self) -> None:
        self.to_proxy.clear()
        self.to_agent.clear()
        self.session.cut()

    def deliver_to_proxy(self) -> None:
        frame = self.to_proxy.popleft()
        if isinstance(frame, frames.Hello):
            self.to_agent.append(frames.Welcome(1, "id", 1000, "1", "p", 7))
        if isinstance(frame, frames.Event):
            key = (frame.incarnation, frame.sequence)
            if key not in self.stored:  # what the inbox promises
                self.stored.append(key)
                self.gapped += frame.gap
            self.to_agent.append(frames.EventAck(frame.sequence, frame.incarnation))

    def deliver_to_agent(self) -> None:
        frame = self.to_agent.popleft()
        before = {(one.incarnation, one.sequence) for one in self.queue.waiting}
        self.act(self.session.received(frame, 0))
        after = {(one.incarnation, one.sequence) for one in self.queue.waiting}
        self.acknowledged |= before - after

    def settle(self) -> None:
        if self.session.phase is Phase.CUT:
            self.act(self.session.opened(0))
        while self.to_proxy or self.to_agent:
            if self.to_proxy:
                self.deliver_to_proxy()
            else:
                self.deliver_to_agent()


class Cuts(RuleBasedStateMachine):
    """Any order of occurrences, cuts and restarts of both."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(count=st.integers(1, 3))
    def happen(self, count: int) -> None:
        for _ in range(count):
            self.world.happen()

    @precondition(lambda self: self.world.session.phase is Phase.CUT)
    @rule()
    def connect(self) -> None:
        self.world.act(self.world.session.opened(0))

    @rule()
    def cut(self) -> None:
        self.world.cut()

    @precondition(lambda self: self.world.to_proxy)
    @rule()
    def deliver_to_proxy(self) -> None:
        self.world.deliver_to_proxy()

    @precondition(lambda self: self.world.to_agent)
    @rule(is_written=st.booleans())
    def deliver_to_agent(self, is_written: bool) -> None:
        self.world.deliver_to_agent()
        if is_written:
            self.world.spool = self.world.queue.kept()

    @rule()
    def kill_the_agent(self) -> None:
        self.world.cut()
        self.world.start_agent()

    @invariant()
    def what_was_produced_is_delivered_waits_or_is_a_gap(self) -> None:
        queue = self.world.queue
        assert queue.produced == queue.delivered + len(queue.waiting) + queue.gapped

    @invariant()
    def nothing_that_was_acknowledged_is_lost(self) -> None:
        assert self.world.acknowledged <= set(self.world.stored)

    @invariant()
    def each_life_is_stored_in_its_order(self) -> None:
        for life in range(1, self.world.lives + 1):
            numbers = [n for name, n in self.world.stored if name == f"life-{life}"]
            assert numbers == sorted(numbers)

    def teardown(self) -> None:
        world = self.world
        world.happen()  # after a gap something has to happen for it to be told
        world.settle()
        world.happen()
        world.settle()
        assert world.queue.waiting == ()
        assert len(world.stored) == world.queue.delivered
        assert world.gapped == world.queue.gapped
        assert len(world.stored) + world.gapped == world.queue.produced


Cuts.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestCuts = Cuts.TestCase


# ---- over a real socket -------------------------------------------------------------------------


class FlakyInbox:
    """Stores nothing while it is told to fail."""

    def __init__(self) -> None:
        self.taken = []
        self.fails = 0
        self.asked = 0

    async def take(self, told) -> None:
        self.asked += 1
        if self.fails:
            self.fails -= 1
            raise StorageError("the disk is full")
        self.taken.append(told)


def scene(tmp_path, play):
    async def run():
        async with running(tmp_path) as proxy:
            proxy.link.occurrences.inbox = inbox = FlakyInbox()
            return await play(proxy, inbox)

    return asyncio.run(run())


def gone(sequence, **more):
    return link.Event(
        sequence=sequence,
        occurred_at_ms=1000 + sequence,
        incarnation="life-1",
        **{"kind": "node-gone", "message": "it ended", **more},
    )


def test_an_occurrence_is_acknowledged_when_it_is_stored_and_not_before(tmp_path, monkeypatch):
    monkeypatch.setattr("fodc_proxy.wire.occurrences.FIRST_PAUSE_S", 0.01)

    async def play(proxy, inbox):
        inbox.fails = 2
        async with LinkAgent(proxy, "pod-0") as agent:
            await agent.say(event=gone(1, fields={"pid": "7"}))
            await agent.say(event=gone(2, kind="something-new", message=""))
            await until(lambda: inbox.asked == 1)
            assert "event_ack" not in agent.heard
            await until(lambda: agent.heard.count("event_ack") == 2)
            return inbox.taken, agent.last.event_ack

    taken, ack = scene(tmp_path, play)

    assert [(one.sequence, one.kind, one.message) for one in taken] == [
        (1, OccurrenceKind.NODE_GONE, "it ended"),
        (2, OccurrenceKind.OTHER, "something-new"),
    ]
    first = taken[0]
    assert (first.origin.address, first.incarnation) == ("banyandb/pod-0", "life-1")
    assert (first.occurred_at_ms, dict(first.fields)) == (1001, {"pid": "7"})
    assert (ack.sequence, ack.incarnation) == (2, "life-1")


def test_an_occurrence_that_is_told_again_is_stored_once_and_acknowledged_again(tmp_path):
    async def play(proxy):
        for _ in range(2):
            async with LinkAgent(proxy, "pod-0") as agent:
                await agent.say(event=gone(1))
                await agent.say(event=gone(5, gap=3))
                await until(lambda agent=agent: agent.heard.count("event_ack") == 2)
        return (await fetch(proxy, "/metrics")).text

    async def run():
        async with running(tmp_path) as proxy:
            return await play(proxy)

    page = asyncio.run(run())
    assert "fodc_proxy_occurrences_produced_total 5.0" in page
    assert "fodc_proxy_occurrences_delivered_total 2.0" in page
    assert "fodc_proxy_occurrences_gapped_total 3.0" in page


def test_an_agent_that_tells_more_than_it_may_hold_is_cut_off(tmp_path):
    async def play(proxy, inbox):
        inbox.fails = 1_000_000
        async with LinkAgent(proxy, "pod-0") as agent:
            for number in range(1, 514):
                await agent.say(event=gone(number))
            await until(agent.stream.done)
            return await agent.stream.details(), proxy.link.occurrences.waiting

    details, waiting = scene(tmp_path, play)

    assert "512 events wait to be stored" in details
    assert waiting == 0
