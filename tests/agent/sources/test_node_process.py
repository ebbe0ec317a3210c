# SPDX-License-Identifier: Apache-2.0
"""Which process is the node, and what happens when that cannot be told."""

import asyncio

from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.readings import Gap, GapReason


def found(node: NodeProcess) -> Process | Gap:
    return asyncio.run(node.find())


def test_the_node_is_found_by_the_beginning_of_its_name(proc):
    proc.process(1, "pause")
    proc.process(12, "banyand")

    assert found(NodeProcess(proc=proc.root, own_pid=99)) == Process(12, 5000, "banyand")


def test_the_node_is_found_by_its_program_when_the_name_differs(proc):
    proc.process(12, "main", argv="/usr/bin/banyand-server\0data\0")

    assert found(NodeProcess(proc=proc.root, own_pid=99)).pid == 12


def test_the_node_is_found_by_who_listens_on_its_port(proc):
    proc.process(12, "banyand")
    proc.process(13, "banyand")
    proc.listener(13, 2121, inode=777)

    assert found(NodeProcess(proc=proc.root, port=2121, own_pid=99)).pid == 13


def test_a_renamed_node_is_found_by_its_port(proc):
    proc.process(12, "db")
    proc.listener(12, 2121, inode=777)

    assert found(NodeProcess(proc=proc.root, port=2121, own_pid=99)).pid == 12


def test_a_given_pid_is_taken_without_a_search(proc):
    proc.process(12, "anything")

    assert found(NodeProcess(proc=proc.root, pid=12)).pid == 12


def test_a_given_pid_that_does_not_exist_is_a_gap_that_names_the_flag(proc):
    gap = found(NodeProcess(proc=proc.root, pid=12))

    assert gap.reason is GapReason.NO_PROCESS
    assert "--node-pid" in gap.message


def test_pid_1_is_never_taken_for_the_node_only_because_it_is_there(proc):
    proc.process(1, "systemd")

    assert found(NodeProcess(proc=proc.root, own_pid=99)).reason is GapReason.NO_PROCESS


def test_nobody_visible_says_how_to_share_the_process_namespace(proc):
    gap = found(NodeProcess(proc=proc.root, port=2121, own_pid=99))

    assert "shareProcessNamespace: true" in gap.message
    assert "port 2121" in gap.message


def test_two_nodes_that_cannot_be_told_apart_are_a_gap_and_no_guess(proc):
    """W-26: the wrong process would be worse than none."""
    proc.process(12, "banyand")
    proc.process(13, "banyand")

    gap = found(NodeProcess(proc=proc.root, port=2121, own_pid=99))

    assert gap.reason is GapReason.AMBIGUOUS
    assert "pids 12, 13" in gap.message or "pids 13, 12" in gap.message


def test_the_agent_itself_is_not_the_node(proc):
    proc.process(12, "banyand-agent")

    assert found(NodeProcess(proc=proc.root, own_pid=12)).reason is GapReason.NO_PROCESS


def test_a_restarted_node_is_found_again(proc):
    """W-27: resolved once and for all is wrong after the first restart."""

    async def run():
        node = NodeProcess(proc=proc.root, own_pid=99)
        proc.process(12, "banyand", start=5000)
        first = await node.find()
        proc.process(12, "banyand", start=9000)
        return first, await node.find()

    assert [process.start_ticks for process in asyncio.run(run())] == [5000, 9000]


def test_a_node_that_appears_later_is_found_after_the_pause(proc):
    now_s = 100.0

    async def run():
        nonlocal now_s
        node = NodeProcess(proc=proc.root, own_pid=99, clock=lambda: now_s)
        first = await node.find()
        proc.process(12, "banyand")
        second = await node.find()
        now_s += 6
        return first, second, await node.find()

    first, second, third = asyncio.run(run())

    assert first == second
    assert third.pid == 12
