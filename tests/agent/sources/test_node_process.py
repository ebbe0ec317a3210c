# SPDX-License-Identifier: Apache-2.0
"""Which process is the node, and what happens when that cannot be told."""

import asyncio

import pytest

from fodc_agent.lanes import Lane
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


UID = "0f8b3c9e-58a1-4d0b-9a53-1f6f7f2f1a11"
LOG = "21 20 254:1 /k/pods/{uid}/containers/{name}/1c3e /dev/termination-log rw - ext4 /d rw\n"


def shared_pod(proc) -> None:
    """A pod with pause, a database, the lifecycle tool and the agent (pid 40)."""
    proc.process(1, "pause", argv="/pause\0")
    proc.process(7, "banyand", argv="/banyand\0data\0--x\0")
    proc.process(20, "banyand", argv="/banyand\0standalone\0")
    proc.process(40, "fodc-agent")
    for pid, name in ((7, "data"), (20, "lifecycle"), (40, "fodc-agent")):
        proc.write(f"{pid}/cgroup", f"0::/../{name}\n" if pid != 40 else "0::/\n")
        proc.write(f"{pid}/mountinfo", LOG.format(uid=UID, name=name))


def test_in_a_shared_namespace_the_container_that_was_named_is_the_node(proc):
    shared_pod(proc)

    node = NodeProcess(proc=proc.root, own_pid=40, container="data", pod_uid=UID)

    assert found(node).pid == 7
    assert node.sees_others


def test_in_a_shared_namespace_two_databases_without_a_named_container_are_a_gap(proc):
    shared_pod(proc)

    assert found(NodeProcess(proc=proc.root, own_pid=40, pod_uid=UID)).reason is GapReason.AMBIGUOUS


@pytest.mark.parametrize(
    ("flavor", "reason"), [("basic", GapReason.FLAVOR_BASIC), ("", GapReason.NOT_SHARED)]
)
def test_a_pod_that_shares_nothing_says_which_flavor_would(proc, flavor, reason):
    proc.process(1, "fodc-agent")

    gap = found(NodeProcess(proc=proc.root, own_pid=1, pod_uid=UID, flavor=flavor))

    assert gap.reason is reason
    assert "flavor Process shares it" in gap.message


def test_a_pid_1_of_the_agents_own_container_means_that_nothing_is_shared(proc):
    proc.process(1, "tini")
    proc.write("1/cgroup", "0::/\n")
    proc.process(8, "fodc-agent")
    proc.write("8/cgroup", "0::/\n")

    assert not NodeProcess(proc=proc.root, own_pid=8).sees_others


def test_a_process_that_ended_and_was_not_yet_waited_for_is_nobody(proc):
    proc.process(12, "banyand")
    path = proc.root / "12" / "stat"
    path.write_text(path.read_text().replace(") S ", ") Z "))

    assert found(NodeProcess(proc=proc.root, own_pid=99)).reason is GapReason.NO_PROCESS


class Clock:
    """Stands still until it is told to go on."""

    now_s = 0.0


def listening(proc, clock):
    """What looks for the node that listens on its port as process 12."""
    proc.process(12, "banyand")
    proc.listener(12, 2121, inode=777)
    return NodeProcess(proc=proc.root, port=2121, own_pid=99, clock=lambda: clock.now_s)


def test_a_choice_that_holds_the_port_is_not_looked_at_beside_all_others_again(proc):
    clock = Clock()

    async def run():
        node = listening(proc, clock)
        first = await node.find()
        node._visible = None
        clock.now_s += 61
        return first.pid, (await node.find()).pid

    assert asyncio.run(run()) == (12, 12)


def test_a_choice_is_confirmed_by_its_socket_and_not_by_the_tables_of_all_sockets(proc):
    """They are as long as the node has connections, and a minute is short for reading them."""
    clock = Clock()

    async def run():
        node = listening(proc, clock)
        found = [await node.find()]
        (proc.root / "net" / "tcp").unlink()
        clock.now_s += 61
        found.append(await node.find())
        (proc.root / "12" / "fd" / "7").unlink()
        proc.process(13, "db")
        proc.listener(13, 2121, inode=778)
        found.append(await node.find())
        clock.now_s += 61
        return [one.pid for one in (*found, await node.find())]

    assert asyncio.run(run()) == [12, 12, 12, 13]


def test_a_known_process_is_read_in_one_piece_of_work_and_its_end_is_seen_in_it(proc):
    pieces = []

    class Counting(Lane):
        async def run(self, call):
            pieces.append(self.name)
            return await super().run(call)

    async def run():
        lane = Counting("reader")
        node = NodeProcess(proc=proc.root, own_pid=99)
        node._lane = Counting("search")
        proc.process(12, "banyand")
        pids = [await node.look(lane, lambda process: process.pid) for _ in range(3)]
        (proc.root / "12" / "stat").unlink()
        return pids, await node.look(lane, lambda process: process.pid)

    pids, gap = asyncio.run(run())
    assert pids == [12, 12, 12]
    assert gap.reason is GapReason.NO_PROCESS
    assert pieces == ["search", "reader", "reader", "reader", "reader", "search"]


def test_a_choice_is_looked_at_again_after_a_minute_and_told_when_it_changes(proc):
    """The first to be seen may have been a tool that ran before the database started."""
    now_s, told = 0.0, []

    async def run():
        nonlocal now_s
        node = NodeProcess(
            proc=proc.root,
            own_pid=99,
            clock=lambda: now_s,
            on_change=lambda: told.append(node.known.pid),
        )
        proc.process(12, "banyand", argv="/banyand\0version\0")
        first = await node.find()
        proc.process(13, "banyand", argv="/banyand\0data\0")
        second = await node.find()
        now_s += 61
        return first.pid, second.pid, (await node.find()).pid

    assert asyncio.run(run()) == (12, 12, 13)
    assert told == [12, 13]
