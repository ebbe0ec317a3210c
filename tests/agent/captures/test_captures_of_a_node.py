# SPDX-License-Identifier: Apache-2.0
"""Captures from the sample node: a real Go-like pprof port under load."""

import asyncio

from fodc_agent.captures.orders import Captures, Origin
from fodc_agent.captures.outcomes import Captured, Order
from fodc_agent.captures.pprof import PprofPort
from fodc_agent.captures.quota import Quota
from fodc_agent.captures.spool import Spool
from fodc_agent.lanes import Lane
from fodc_agent.scraping.client import HttpClient
from fodc_protocol import pprof
from fodc_protocol.errors import Reason
from fodc_protocol.link.frames import CancelMode
from fodc_protocol.profiles import Profile

ORIGIN = Origin("data-0", "data-0", "ROLE_DATA", "0.1.0", "inc-1")


def ends_of(node, directory, orders: list[Order]) -> dict[str, object]:
    """Give all orders at once and return their ends."""

    async def run():
        client = HttpClient()
        ends: dict[str, object] = {}
        all_ended = asyncio.Event()

        def report(command_id, outcome):
            ends[command_id] = outcome
            if len(ends) == len(orders):
                all_ended.set()

        captures = Captures(
            PprofPort(client, f"http://127.0.0.1:{node.pprof_port}", Lane("inspection")),
            Spool(directory),
            Quota(max_bytes=1 << 30, max_count=20),
            origin=lambda: ORIGIN,
            report=report,
            max_running=8,
        )
        await captures.recover()
        for wanted in orders:
            captures.start(wanted)
        await asyncio.wait_for(all_ended.wait(), 40)
        await captures.aclose()
        await client.aclose()
        return ends

    return asyncio.run(run())


def test_a_loaded_node_gives_cpu_heap_and_goroutine_profiles(sample_nodes, tmp_path):
    with sample_nodes.sample_node(load=5) as node:
        ends = ends_of(
            node,
            tmp_path,
            [
                Order("cpu", Profile.CPU, 1.0, 20.0),
                Order("heap", Profile.HEAP, 0.0, 20.0, gc=True),
                Order("goroutine", Profile.GOROUTINE, 0.0, 20.0),
                Order("trace", Profile.TRACE, 1.0, 20.0),
                Order("block", Profile.BLOCK, 1.0, 20.0),
            ],
        )

    if node.variant == "go":
        assert isinstance(ends["trace"], Captured), ends["trace"]
        assert ends["block"].reason is Reason.EMPTY_PROFILE
    else:
        assert {ends["trace"].reason, ends["block"].reason} == {Reason.UNSUPPORTED}
    for name in ("cpu", "heap", "goroutine"):
        assert isinstance(ends[name], Captured), ends[name]
    cpu = (tmp_path / "cpu.fodc.pb.gz").read_bytes()
    assert pprof.hottest(cpu, count=1)[0].flat > 0
    assert ends["cpu"].manifest.samples == pprof.inspect(cpu).nonzero_samples


def test_two_cpu_profiles_of_one_node_follow_each_other(sample_nodes, tmp_path):
    """Failure 15: within one agent the second never meets the node's 500."""
    with sample_nodes.sample_node(load=5) as node:
        ends = ends_of(
            node, tmp_path, [Order(name, Profile.CPU, 1.0, 20.0) for name in ("one", "two")]
        )

    assert all(isinstance(end, Captured) for end in ends.values()), ends
    assert any("waited" in text for end in ends.values() for text in end.manifest.warnings)


def test_a_cpu_profile_waits_for_a_stranger_who_profiles_the_node(sample_nodes, tmp_path):
    """Failure 15: the node says 500 with X-Go-Pprof, we ask again until it is free."""

    async def run(node):
        client, stranger = HttpClient(), HttpClient()
        foreign = asyncio.create_task(
            stranger.get(node.pprof_url + "/profile?seconds=3", timeout_s=20, max_bytes=1 << 24)
        )
        await asyncio.sleep(1.0)  # the stranger's request has to be under way
        spool = Spool(tmp_path)
        spool.recover(0)
        wanted = Order("cmd-1", Profile.CPU, 1.0, 20.0)
        part = spool.part_of(wanted)
        part.open()
        taken = await PprofPort(
            client, f"http://127.0.0.1:{node.pprof_port}", Lane("inspection")
        ).take(wanted, part)
        part.close()
        await foreign
        await client.aclose()
        await stranger.aclose()
        return taken

    with sample_nodes.sample_node(load=5) as node:
        taken = asyncio.run(run(node))

    assert taken.warnings[0].startswith("somebody else profiled the node"), taken


def test_an_aborted_cpu_profile_frees_the_profiler_of_the_node(sample_nodes, tmp_path):
    """Closing the request ends the profile in the node: the next one need not wait 30 s for it."""

    async def run(node):
        client = HttpClient()
        ends: asyncio.Queue = asyncio.Queue()
        captures = Captures(
            PprofPort(client, f"http://127.0.0.1:{node.pprof_port}", Lane("inspection")),
            Spool(tmp_path),
            Quota(max_bytes=1 << 30, max_count=20),
            origin=lambda: ORIGIN,
            report=lambda command_id, outcome: ends.put_nowait((command_id, outcome)),
        )
        await captures.recover()
        captures.start(Order("long", Profile.CPU, 30.0, 60.0))
        await asyncio.sleep(0.3)  # the profile has to be under way in the node
        captures.cancel("long", CancelMode.ABORT)
        aborted = await asyncio.wait_for(ends.get(), 5)
        captures.start(Order("next", Profile.CPU, 1.0, 10.0))
        taken = await asyncio.wait_for(ends.get(), 15)
        await client.aclose()
        return aborted, taken

    with sample_nodes.sample_node(load=5) as node:
        aborted, taken = asyncio.run(run(node))

    assert (aborted[0], aborted[1].reason) == ("long", Reason.ABORTED)
    assert isinstance(taken[1], Captured), taken
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "long.fodc-state",
        "next.fodc-state",
        "next.fodc.pb.gz",
    ]


def test_a_node_that_dies_during_a_profile_is_a_failure_with_its_reason(sample_nodes, tmp_path):
    with sample_nodes.sample_node() as node:

        async def run():
            client = HttpClient()
            ended = asyncio.get_running_loop().create_future()
            captures = Captures(
                PprofPort(client, f"http://127.0.0.1:{node.pprof_port}", Lane("inspection")),
                Spool(tmp_path),
                Quota(max_bytes=1 << 30, max_count=20),
                origin=lambda: ORIGIN,
                report=lambda _, outcome: ended.set_result(outcome),
            )
            await captures.recover()
            captures.start(Order("cpu", Profile.CPU, 30.0, 60.0))
            await asyncio.sleep(0.3)  # the profile has to be under way in the node
            node.kill()
            outcome = await asyncio.wait_for(ended, 10)
            await client.aclose()
            return outcome

        outcome = asyncio.run(run())

    assert outcome.reason in (Reason.NODE_UNREACHABLE, Reason.CORRUPT_PROFILE), outcome
