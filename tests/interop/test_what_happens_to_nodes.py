# SPDX-License-Identifier: Apache-2.0
"""What happens to a real process is told by a real agent: at once, in order, over its own kill."""

import os
import signal
from collections import deque
from contextlib import contextmanager

import pytest

from e2e.node.running import sample_node
from e2e.programs import end, running, start_agent, start_proxy
from fodc_protocol.pprof import inspect
from fodc_wire.fodc.v1 import agent_link_pb2 as pb
from tests.agent.program.test_the_process import Proxy, serving
from tests.interop.fleet import get, get_json, until


class Asking(Proxy):
    """A proxy that acknowledges what it is told and asks for what was captured."""

    def __init__(self):
        super().__init__()
        self.told = deque()

    def occurrence(self, *, acknowledged=True):
        event = self.told.popleft() if self.told else self.hear("event").event
        if acknowledged:
            ack = pb.EventAck(sequence=event.sequence, incarnation=event.incarnation)
            self.outgoing.put(pb.ProxyFrame(event_ack=ack))
        return event

    def wait_for_page(self):
        """Wait until the node has answered once: one that never did counts as starting."""
        self.hear("heartbeat")
        families = set()
        while "banyandb_system_cpu_num" not in families:
            self.outgoing.put(pb.ProxyFrame(metrics_query=pb.MetricsQuery(query_id=1)))
            families = {one.name for one in self.hear("metrics_page").metrics_page.families}

    def adopted(self, command_id, profile):
        order = pb.StartCapture(command_id=command_id, profile=profile, timeout_ms=5000)
        self.outgoing.put(pb.ProxyFrame(start_capture=order))
        while True:
            frame = self.hear("command_update", "event")
            if frame.HasField("event"):
                self.told.append(frame.event)
            elif frame.command_update.state >= pb.CommandUpdate.STATE_CAPTURED:
                return frame.command_update


@contextmanager
def agent(tmp_path, port, node, *flags):
    flags = (f"--node-pid={node.pid}", "--poll-metrics-interval=200ms", *flags)
    ports = {"metrics_port": node.metrics_port, "pprof_port": node.pprof_port}
    started = start_agent(tmp_path, *flags, pod_name="data-0", proxy=f"127.0.0.1:{port}", **ports)
    try:
        yield started
    finally:
        end(started)


def test_a_node_that_is_killed_is_told_as_gone_at_once(tmp_path):
    proxy = Asking()
    with serving(proxy) as port, sample_node() as node, agent(tmp_path, port, node):
        proxy.hear("metrics_page", "heartbeat")
        node.kill()
        event = proxy.occurrence()
    assert (event.kind, event.sequence, event.gap) == ("node-gone", 1, 0)
    assert event.fields["pid"] == str(node.pid)
    assert int(event.fields["started_at_ms"]) <= event.occurred_at_ms


def test_profiles_are_taken_before_memory_runs_out_and_wait_until_the_proxy_asks(tmp_path):
    flags = ("--node-memory-limit=20MiB", "--pressure-percent=10")
    proxy = Asking()
    with serving(proxy) as port, sample_node() as node, agent(tmp_path, port, node, *flags):
        event = proxy.occurrence()
        captures = dict(one.split("=") for one in event.fields["captures"].split(","))
        updates = {kind: proxy.adopted(id_, kind) for kind, id_ in captures.items()}
    assert event.kind == "memory-pressure"
    assert int(event.fields["limit_bytes"]) == 20 << 20
    assert set(updates) == {"heap", "goroutine"}
    for kind, update in updates.items():
        assert captures[kind].startswith("own-")
        assert update.state == pb.CommandUpdate.STATE_CAPTURED
        assert (update.artifact.profile, update.artifact.size_bytes > 0) == (kind, True)


def test_a_node_that_hangs_is_told_with_its_goroutines_asked_for_and_that_it_is_back(tmp_path):
    proxy = Asking()
    with serving(proxy) as port, sample_node() as node, agent(tmp_path, port, node):
        proxy.wait_for_page()
        node.fault("error500", for_s=60)
        event = proxy.occurrence()
        captures = dict(one.split("=") for one in event.fields["captures"].split(","))
        update = proxy.adopted(captures["goroutine"], "goroutine")
        node.fault("none")
        back = proxy.occurrence()
    assert (event.kind, event.fields["pid"]) == ("node-unreachable", str(node.pid))
    assert (set(captures), update.artifact.profile) == ({"goroutine", "window"}, "goroutine")
    assert back.kind == "node-back"


def test_what_was_told_to_nobody_is_told_by_the_next_life_of_the_agent(tmp_path):
    proxy = Asking()
    with serving(proxy) as port, sample_node() as node:
        with agent(tmp_path, port, node) as first:
            proxy.hear("heartbeat")
            node.kill()
            lost = proxy.occurrence(acknowledged=False)
            os.kill(first.pid, signal.SIGKILL)
        with agent(tmp_path, port, node):
            again = proxy.occurrence()
            proxy.hear("heartbeat")
    assert again == lost
    assert again.kind == "node-gone"


@pytest.mark.parametrize("contract", ["fodc", "link"])
def test_t_pp_11_profiles_of_short_memory_are_listed_and_fetched(contract, tmp_path):
    """By the existing contract as from a Go agent; by the link as captures that it took itself."""
    flags = ("--node-memory-limit=20MiB", "--pressure-percent=1", f"--contract={contract}")
    with running(start_proxy(tmp_path)) as proxy, sample_node() as node:
        port = proxy.grpc.rpartition(":")[2]
        with agent(tmp_path, port, node, *flags):
            url = f"{proxy.http}/pressure-profiles"
            event = until("an event with both", lambda: with_both(get_json(url)))
            assert (event["pod_name"], event["trigger_percent"]) == ("data-0", 1)
            assert event["cgroup_limit_bytes"] == 20 << 20
            sizes = {one["type"]: int(one["size_bytes"]) for one in event["profiles"]}
            assert set(sizes) == {"heap", "goroutine"}
            for kind, size_bytes in sizes.items():
                data = get(f"{url}/data-0/{event['profile_id']}/{kind}")
                assert len(data) == size_bytes
                kinds = {one.kind for one in inspect(data).value_types}
                assert ("inuse_space" in kinds) == (kind == "heap")


def with_both(events):
    """Return an event of which both profiles are there."""
    return next((one for one in events if len(one["profiles"]) == 2), None)
