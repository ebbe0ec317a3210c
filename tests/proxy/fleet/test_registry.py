# SPDX-License-Identifier: Apache-2.0
"""The registry's shell: subscribers, ids, ticking."""

import asyncio
import logging

from fodc_protocol.link import frames
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.membership import Change, Contract, Registration
from fodc_proxy.fleet.registry import Registry

POD = Registration(frames.Identity("pod-0"), frames.NodeState("ROLE_DATA"), Contract.LINK)


def test_r02_each_registration_has_an_id_of_its_own():
    registry = Registry()

    ids = {registry.register(POD).member.agent_id for _ in range(5)}

    assert len(ids) == 5
    assert len(registry.members()) == 1


def test_subscriber_hears_transitions_until_it_leaves():
    registry = Registry()
    heard: list[Change] = []
    leave = registry.subscribe(lambda t: heard.append(t.change))

    agent_id = registry.register(POD).member.agent_id
    registry.disconnected(agent_id)
    leave()
    registry.unregister(agent_id)

    assert heard == [Change.REGISTERED, Change.PHASE]


def test_failing_subscriber_costs_no_other(caplog):
    registry = Registry()
    heard: list[Change] = []

    def fail(_transition):
        raise RuntimeError("no")

    registry.subscribe(fail)
    registry.subscribe(lambda t: heard.append(t.change))
    with caplog.at_level(logging.CRITICAL):
        registry.register(POD)

    assert heard == [Change.REGISTERED]


def test_r22_stop_ends_the_background_work_and_silence_is_noticed_by_it():
    now = [1_000_000]
    registry = Registry(Limits(60, 120, 10), steady_ms=lambda: now[0])

    async def scene():
        registry.start()
        agent_id = registry.register(POD).member.agent_id
        gone = asyncio.Event()
        registry.subscribe(lambda t: gone.set() if t.change is Change.REMOVED else None)
        now[0] += 121
        async with asyncio.timeout(5):
            await gone.wait()
        await registry.stop()
        await registry.stop()
        return agent_id, asyncio.all_tasks() - {asyncio.current_task()}

    agent_id, left = asyncio.run(scene())

    assert registry.get(agent_id) is None
    assert left == set()


def test_age_of_a_member_is_that_of_the_steady_clock():
    """P6: ages are true whatever the time of day does."""
    steady, wall = [50_000], [1_000_000]
    registry = Registry(clock_ms=lambda: wall[0], steady_ms=lambda: steady[0])
    member = registry.register(POD).member

    steady[0], wall[0] = 57_000, 1_000_000 - 3_600_000

    assert registry.silent_ms(member) == 7_000
    assert member.registered_at_ms == 1_000_000
