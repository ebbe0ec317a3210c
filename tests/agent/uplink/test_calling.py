# SPDX-License-Identifier: Apache-2.0
"""Which address, which contract, and when to try again: on virtual time, without a network."""

import asyncio

from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.uplink.caller import Caller, Contract, LinePhase
from fodc_agent.uplink.pace import Pace
from fodc_protocol.link.effects import Hangup

A = Endpoint("a", 1)
B = Endpoint("b", 2)


class FakeChannel:
    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.closed = False

    def close(self):
        self.closed = True


class Script:
    """A caller whose dials, contracts and sleeps are written down; ends after `limit` sleeps."""

    def __init__(self, *, endpoints=(A,), contract=Contract.AUTO, dial=(), link=(), limit=3):
        self.log = []
        self.dials = iter(dial)
        self.links = iter(link)
        self.limit = limit
        self.slept = []
        self.caller = Caller(
            endpoints=endpoints,
            contract=contract,
            link=self,
            make_existing=lambda: Existing(self),
            dial=self.dial,
            pace=Pace(base_s=2.0, chance=lambda: 0.5, sleep=self.sleep),
        )

    async def dial(self, endpoint):
        self.log.append(f"dial {endpoint}")
        problem = next(self.dials, None)
        if problem is not None:
            raise problem
        return FakeChannel(endpoint)

    async def run(self, channel, stop):
        self.log.append("link")
        outcome = next(self.links, Hangup("ProxyEnded", "end"))
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "linked":
            self.caller.connected(LinePhase.LINKED, "id")
            return Hangup("ProxyEnded", "end")
        return outcome

    async def sleep(self, delay_s):
        self.slept.append(delay_s)
        if len(self.slept) >= self.limit:
            self.caller.stop.set()
        await asyncio.sleep(0)

    def run_to_the_end(self):
        asyncio.run(self.caller.run())
        return self


class Existing:
    def __init__(self, script):
        self.script = script

    async def run(self, channel, stop):
        self.script.log.append("existing")
        return Hangup("ProxyEnded", "end")


def unreachable():
    return RpcError(RpcFault.UNREACHABLE, "refused")


def unimplemented():
    return RpcError(RpcFault.UNIMPLEMENTED, "unknown service")


def test_pauses_double_and_are_scaled_by_chance_up_to_four_seconds():
    """T-PX-14: P25: the cap is respected, 4 s where upstream has 60; chance is ours (W-54)."""
    script = Script(dial=[unreachable() for _ in range(9)], limit=8).run_to_the_end()
    assert script.slept == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_pauses_start_anew_after_a_connection_that_worked():
    """T-PX-14: a success leaves nothing of earlier pauses."""
    script = Script(dial=[unreachable(), unreachable()], link=["linked"], limit=4).run_to_the_end()
    assert script.slept == [1.0, 2.0, 1.0, 2.0]


def test_the_next_address_is_tried_at_once_and_the_pause_is_between_rounds():
    dials = [unreachable() for _ in range(9)]
    script = Script(endpoints=(A, B), dial=dials, limit=2).run_to_the_end()
    assert script.log == ["dial a:1", "dial b:2", "dial a:1", "dial b:2"]
    assert script.slept == [1.0, 2.0]


def test_a_proxy_without_the_link_is_spoken_to_in_the_existing_contract():
    script = Script(link=[unimplemented()], limit=1).run_to_the_end()
    assert script.log == ["dial a:1", "link", "existing"]


def test_each_new_connection_tries_the_link_first():
    links = [unimplemented(), unimplemented()]
    script = Script(link=links, limit=2)
    # The probe of the link sleeps as well; leave it out of the count by never letting it finish.
    script.run_to_the_end()
    assert script.log[:3] == ["dial a:1", "link", "existing"]


def test_contract_link_never_falls_back():
    script = Script(contract=Contract.LINK, link=[unimplemented()], limit=1).run_to_the_end()
    assert script.log == ["dial a:1", "link"]


def test_contract_fodc_never_tries_the_link():
    script = Script(contract=Contract.FODC, limit=1).run_to_the_end()
    assert script.log == ["dial a:1", "existing"]


def test_a_refusal_is_waited_out_as_long_as_it_says():
    refusal = Hangup("ProtocolMismatch", "update the older one", 9_000)
    script = Script(link=[refusal], limit=1).run_to_the_end()
    assert script.slept == [9.0]
    assert script.caller.status.problem == "ProtocolMismatch: update the older one"


def test_a_fault_of_the_program_costs_a_pause_and_not_the_uplink():
    script = Script(link=[ValueError("bug")], limit=1).run_to_the_end()
    assert script.slept == [1.0]
    assert script.caller.status.problem == "Internal: ValueError: bug"


def test_failures_and_connections_are_counted():
    script = Script(dial=[unreachable()], link=["linked"], limit=2).run_to_the_end()
    assert (script.caller.status.connects, script.caller.status.failures) == (1, 2)
    assert script.caller.status.phase is LinePhase.IDLE


def test_a_stop_ends_a_dial_that_hangs():
    """T-PX-14: a request under way is given up when the agent stops."""

    async def scenario():
        started = asyncio.Event()

        async def dial(endpoint):
            started.set()
            await asyncio.Event().wait()

        script = Script()
        script.caller.dial = dial
        task = asyncio.create_task(script.caller.run())
        await started.wait()
        script.caller.stop.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(scenario())


def test_t_px_14_a_caller_that_was_never_run_is_idle_and_a_stopped_one_dials_nobody():
    """Upstream queues requests and has a full channel to report; here are no requests."""
    script = Script()
    assert (script.caller.status.phase, script.caller.status.up) == (LinePhase.IDLE, False)
    script.caller.stop.set()
    script.run_to_the_end()
    assert (script.log, script.slept, script.caller.status.phase) == ([], [], LinePhase.IDLE)


def test_t_px_14_16_a_stop_during_the_pause_dials_nobody_any_more():
    script = Script(dial=[unreachable() for _ in range(5)], limit=1).run_to_the_end()
    assert (script.log, script.caller.status.phase) == (["dial a:1"], LinePhase.IDLE)
