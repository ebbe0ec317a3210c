# SPDX-License-Identifier: Apache-2.0
"""The mirror between a real registry and an API server in memory: what ends up there, and when."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from fodc_kube.client import Cluster
from fodc_operator.mirror import writer
from fodc_operator.mirror.budget import Rules
from fodc_operator.mirror.leaving import Patience
from fodc_operator.mirror.translate import Running
from fodc_operator.mirror.writer import Mirror, MirrorSettings
from fodc_protocol.link import frames
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.registry import Registry
from tests.operator.memory_api.server import NODES, MemoryApi
from tests.operator.memory_api.store import Object
from tests.operator.mirror.fleet import NOON_MS, identity, registration, state
from tests.operator.servers import PODS, cluster, pod

NS = "banyandb"
SOON_S = 10.0
"""Long enough for a busy machine; what must be quick is asserted where it is measured."""


@dataclass
class Bench:
    """A fleet, its mirror and the server; `now_ms` is moved by the tests."""

    api: MemoryApi
    registry: Registry
    mirror: Mirror
    running: dict[str, list[Running]]
    clock: list[int]
    incidents: dict[tuple[str, str], dict[str, Any]]

    def nodes(self) -> dict[str, Object]:
        return {one["metadata"]["name"]: one for one in self.api.store(NODES).listed(NS)}

    def phases(self) -> dict[str, str]:
        return {name: one.get("status", {}).get("phase", "") for name, one in self.nodes().items()}

    async def until(self, look: Callable[[], Any]) -> Any:
        """Wait until the server has it, at most for as long as a person would."""
        async with asyncio.timeout(SOON_S):
            while not (found := look()):
                await asyncio.sleep(0.005)
        return found

    async def until_phases(self, **wanted: str) -> None:
        names = {name.replace("_", "-"): phase for name, phase in wanted.items()}
        await self.until(lambda: self.phases() == names)

    async def idle(self) -> None:
        """Wait until nothing is written any more."""
        await asyncio.sleep(0.1)

    def pass_by(self, seconds: float) -> None:
        """Let time pass for fleet and mirror."""
        self.clock[0] += round(seconds * 1000)
        self.registry.tick()


@contextlib.asynccontextmanager
async def bench(
    *,
    before: list[Object] = [],  # noqa: B006 - read only
    namespaces: tuple[str, ...] = (),
    **rules: float,
) -> AsyncIterator[Bench]:
    clock = [NOON_MS]
    async with cluster() as (api, server):
        for one in before:
            made = api.store(NODES).create(NS, one)
            if "status" in one:
                name = made["metadata"]["name"]
                api.store(NODES).patch(
                    NS,
                    name,
                    "application/merge-patch+json",
                    {"status": one["status"]},
                    subresource="status",
                )
        registry = Registry(Limits(), clock_ms=lambda: clock[0], steady_ms=lambda: clock[0])
        running: dict[str, list[Running]] = {}
        incidents: dict[tuple[str, str], dict[str, Any]] = {}
        mirror = Mirror(
            server,
            registry,
            MirrorSettings(
                "fodc-system",
                namespaces,
                Rules(**rules),
                Patience(retention_ms=3_600_000),
            ),
            running=lambda name: running.get(name, ()),
            incident=incidents.get,
            clock_ms=lambda: clock[0],
            chance=lambda: 0.0,
        )
        task = asyncio.create_task(mirror.run())
        await asyncio.sleep(0)
        try:
            yield Bench(api, registry, mirror, running, clock, incidents)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def node(name: str = "data-0", *, heard_ms: int = NOON_MS, **status: Any) -> Object:
    from fodc_protocol.times import format_rfc3339  # noqa: PLC0415 - of this helper alone

    told = {"phase": "Online", "lastHeartbeatTime": format_rfc3339(heard_ms // 1000), **status}
    return {"metadata": {"name": name}, "spec": {}, "status": told}


def test_an_agent_that_registers_is_mirrored_at_once() -> None:
    async def run() -> None:
        async with bench() as one:
            one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")
            found = one.nodes()["data-0"]

            assert found["spec"] == {}
            assert found["status"]["podRef"] == {"name": "data-0"}
            assert found["metadata"]["labels"]["fodc.banyandb.dev/role"] == "Data"
            assert "ownerReferences" not in found["metadata"]
            assert "finalizers" not in found["metadata"]
            await one.until(lambda: one.mirror.phases() == {"Online": 1})

    asyncio.run(run())


def test_a_node_belongs_to_the_stateful_set_of_its_pod_which_is_looked_up_once() -> None:
    async def run() -> None:
        async with bench() as one:
            made = one.api.store(PODS).create(NS, pod("data-0", owner="data"))
            uid = made["metadata"]["uid"]
            told = registration("data-0", identity=identity("data-0", pod_uid=uid))
            registered = one.registry.register(told)
            await one.until_phases(data_0="Online")
            one.registry.disconnected(registered.member.agent_id)
            await one.until_phases(data_0="Offline")
            found = one.nodes()["data-0"]

            assert found["metadata"]["ownerReferences"] == [
                {
                    "apiVersion": "apps/v1",
                    "kind": "StatefulSet",
                    "name": "data",
                    "uid": "uid-of-data",
                }
            ]
            assert found["status"]["podRef"]["uid"] == uid
            assert found["status"]["kubernetesNodeName"] == "worker-1"
            assert one.api.count("GET", "/pods/") == 1

    asyncio.run(run())


def test_heartbeats_and_figures_alone_write_nothing_until_the_refresh() -> None:
    async def run() -> None:
        async with bench() as one:
            agent = one.registry.register(registration("data-0")).member.agent_id
            await one.until_phases(data_0="Online")
            await one.idle()
            writes = one.api.count("PATCH")
            for second in range(30):
                one.clock[0] += 1000
                extent = frames.WindowExtent(NOON_MS, one.clock[0], 100, 4096)
                one.registry.heartbeat(agent, state(window=extent, artifact_count=second))
            await one.idle()

            assert one.api.count("PATCH") == writes

    asyncio.run(run())


def test_a_living_node_is_refreshed_and_an_unchanged_one_is_not_written() -> None:
    async def run() -> None:
        async with bench(refresh_s=0.05) as one:
            agent = one.registry.register(registration("data-0")).member.agent_id
            await one.until_phases(data_0="Online")
            await one.idle()
            writes = one.api.count("PATCH")
            await one.idle()
            assert one.api.count("PATCH") == writes

            one.clock[0] += 20_000
            one.registry.heartbeat(agent)
            await one.until(lambda: one.api.count("PATCH") == writes + 1)
            assert one.nodes()["data-0"]["status"]["lastHeartbeatTime"] == "2026-11-18T12:00:20Z"

    asyncio.run(run())


def test_a_change_of_state_is_written_at_once() -> None:
    async def run() -> None:
        async with bench() as one:
            agent = one.registry.register(registration("data-0")).member.agent_id
            await one.until_phases(data_0="Online")
            broken = frames.Condition("NodeScraped", "ScrapeFailed", "port 2121 is silent")
            one.registry.heartbeat(agent, state(conditions=(broken,)))
            await one.until_phases(data_0="Degraded")
            await one.until(lambda: one.mirror.metrics.news == 2)

            assert one.mirror.metrics.news_seconds / one.mirror.metrics.news < 2.0

    asyncio.run(run())


def test_a_field_that_is_gone_is_removed_from_the_status() -> None:
    async def run() -> None:
        async with bench() as one:
            first = registration("data-0", state=state(configuration_hash="h"))
            agent = one.registry.register(first).member.agent_id
            await one.until_phases(data_0="Online")
            assert one.nodes()["data-0"]["status"]["configHash"] == "h"
            one.registry.heartbeat(agent, state())
            await one.until(lambda: "configHash" not in one.nodes()["data-0"]["status"])

    asyncio.run(run())


def test_captures_that_run_are_told_when_they_start_and_end() -> None:
    async def run() -> None:
        async with bench() as one:
            one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")
            one.running["banyandb/data-0"] = [Running("cpu-now", "cpu", NOON_MS)]
            one.mirror.pods_changed(["banyandb/data-0", "nobody"])
            await one.until(lambda: one.nodes()["data-0"]["status"]["activeCaptures"] == 1)
            (request,) = one.nodes()["data-0"]["status"]["activeRequests"]
            assert (request["requestName"], request["captureType"]) == ("cpu-now", "CPUProfile")
            one.running.clear()
            one.mirror.pods_changed(["banyandb/data-0"])
            await one.until(lambda: one.nodes()["data-0"]["status"]["activeCaptures"] == 0)

            assert "activeRequests" not in one.nodes()["data-0"]["status"]

    asyncio.run(run())


def test_a_node_that_leaves_is_offline_then_lost_then_removed() -> None:
    async def run() -> None:
        async with bench() as one:
            agent = one.registry.register(registration("data-0")).member.agent_id
            await one.until_phases(data_0="Online")
            one.registry.disconnected(agent)
            await one.until_phases(data_0="Offline")
            one.pass_by(301)
            await one.until_phases(data_0="Lost")
            lost = one.nodes()["data-0"]["status"]
            assert (lost["role"], lost["agentID"]) == ("Data", agent)
            one.pass_by(3_600)
            await one.until(lambda: not one.nodes())
            # The mirror hears of the deletion a moment after the server has carried it out.
            await one.until(lambda: one.mirror.phases() == {})

    asyncio.run(run())


def test_a_pod_that_registers_again_keeps_its_object() -> None:
    async def run() -> None:
        async with bench() as one:
            one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")
            uid = one.nodes()["data-0"]["metadata"]["uid"]
            again = one.registry.register(registration("data-0")).member
            await one.until(lambda: one.nodes()["data-0"]["status"]["agentID"] == again.agent_id)

            assert one.nodes()["data-0"]["metadata"]["uid"] == uid
            assert one.nodes()["data-0"]["status"]["reconnects"] == 1

    asyncio.run(run())


def test_a_new_leader_takes_over_what_exists_and_waits_before_it_calls_anybody_offline() -> None:
    async def run() -> None:
        there = [
            node("data-0"),
            node("data-1", agentID="old", role="Data"),
            node("gone", phase="Lost"),
        ]
        async with bench(before=there) as one:
            one.registry.register(registration("data-0"))
            await one.until(lambda: "agentID" in one.nodes()["data-0"]["status"])
            assert one.phases() == {"data-0": "Online", "data-1": "Online", "gone": "Lost"}
            assert one.api.count("PATCH", "data-1") == 0

            one.clock[0] += 11_000
            async with asyncio.timeout(4):
                while one.phases()["data-1"] != "Pending":
                    await asyncio.sleep(0.02)
            one.clock[0] += 80_000
            async with asyncio.timeout(4):
                while one.phases()["data-1"] != "Offline":
                    await asyncio.sleep(0.02)
            assert one.nodes()["data-1"]["status"]["agentID"] == "old"

    asyncio.run(run())


def test_a_removed_object_is_made_anew_while_its_agent_lives() -> None:
    async def run() -> None:
        async with bench() as one:
            agent = one.registry.register(registration("data-0")).member.agent_id
            await one.until_phases(data_0="Online")
            one.api.store(NODES).delete(NS, "data-0")
            one.registry.heartbeat(agent, state(configuration_hash="new"))
            await one.until_phases(data_0="Online")

            assert one.nodes()["data-0"]["status"]["configHash"] == "new"

    asyncio.run(run())


def test_an_object_that_somebody_made_is_taken_over_with_its_maintenance() -> None:
    async def run() -> None:
        async with bench() as one:
            await one.idle()
            spec = {"maintenance": True}
            one.api.store(NODES).create(NS, {"metadata": {"name": "data-0"}, "spec": spec})
            one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")

            assert one.nodes()["data-0"]["spec"]["maintenance"] is True
            seen = one.mirror.observed("data-0")
            assert seen is not None
            assert seen.maintenance

    asyncio.run(run())


def test_labels_of_others_stay_and_ours_follow_the_node() -> None:
    async def run() -> None:
        there = node("data-0")
        there["metadata"]["labels"] = {"team": "a", "fodc.banyandb.dev/cluster": "old"}
        async with bench(before=[there]) as one:
            one.registry.register(registration("data-0"))
            wanted = {
                "team": "a",
                "fodc.banyandb.dev/role": "Data",
                "fodc.banyandb.dev/tier": "hot",
                "fodc.banyandb.dev/agent-version": "0.1.0",
            }
            await one.until(lambda: one.nodes()["data-0"]["metadata"]["labels"] == wanted)

    asyncio.run(run())


def test_a_server_that_is_down_is_caught_up_with_the_present_state() -> None:
    async def run() -> None:
        async with bench(first_retry_s=0.01, longest_retry_s=0.02) as one:
            one.api.fail(403, "POST", "fodcnodes", times=3)
            one.api.fail(422, "PATCH", "status", times=2)
            agent = one.registry.register(registration("data-0")).member.agent_id
            one.registry.disconnected(agent)
            await one.until_phases(data_0="Offline")

            assert one.mirror.metrics.writes["failed"] == 5

    asyncio.run(run())


def test_what_is_no_kubernetes_name_or_not_allowed_is_counted_and_left_out() -> None:
    async def run() -> None:
        async with bench(namespaces=(NS,)) as one:
            one.registry.register(registration("Data_0"))
            one.registry.register(registration("a", identity=identity("a", "elsewhere")))
            one.registry.register(registration("b", identity=identity("b", "../x")))
            one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")
            await one.idle()

            assert one.mirror.metrics.refused == {
                "name": {"banyandb/Data_0", "../x/b"},
                "namespace": {"elsewhere/a"},
            }
            assert one.api.count("POST") == 1

    asyncio.run(run())


def test_an_agent_without_a_namespace_is_mirrored_beside_the_operator() -> None:
    async def run() -> None:
        async with bench() as one:
            one.registry.register(registration("vm-7", identity=identity("vm-7", "")))
            await one.until(lambda: one.api.store(NODES).listed("fodc-system"))

    asyncio.run(run())


def test_a_thousand_agents_are_written_within_the_rate() -> None:
    async def run() -> None:
        async with bench(writes_per_s=50.0, burst=20.0) as one:
            began = asyncio.get_running_loop().time()
            for number in range(1000):
                one.registry.register(registration(f"pod-{number}"))

            def calls() -> int:
                return one.api.count("POST") + one.api.count("PATCH")

            async with asyncio.timeout(30):
                while calls() < 60:
                    await asyncio.sleep(0.01)
            took_s = asyncio.get_running_loop().time() - began

            # Each node that is begun needs its two calls, the budget knows of the second late.
            assert calls() <= 20 + 50 * took_s + 2 * 8
            assert one.mirror.waiting >= 900

    asyncio.run(run())


def test_a_node_is_written_as_soon_as_all_writes_before_it_have_ended_in_one_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A write said that it had ended while its place still counted: the next waited for a sweep."""
    monkeypatch.setattr(writer, "SWEEP_S", 10 * SOON_S)
    together, patched = asyncio.Barrier(writer.MOST_AT_A_TIME), Cluster.patch_status

    async def patch_status(*told: Any) -> Object:
        body = await patched(*told)
        if body["metadata"]["name"] != "pod-8":
            await together.wait()
        return body

    monkeypatch.setattr(Cluster, "patch_status", patch_status)

    async def run() -> None:
        async with bench() as one:
            for number in range(writer.MOST_AT_A_TIME + 1):
                one.registry.register(registration(f"pod-{number}"))
            await one.until(lambda: list(one.phases().values()) == ["Online"] * 9)

    asyncio.run(run())


# ---- others write too ---------------------------------------------------------------------------

MERGE = "application/merge-patch+json"


def test_owners_that_others_added_stay_when_ours_is_added() -> None:
    """K8: a merge patch of ownerReferences replaced those of others."""

    async def run() -> None:
        theirs = {"apiVersion": "v1", "kind": "ConfigMap", "name": "inventory", "uid": "u-9"}
        before = node()
        before["metadata"]["ownerReferences"] = [theirs]
        async with bench(before=[before]) as one:
            one.api.store(PODS).create(NS, pod("data-0", owner="data"))
            one.registry.register(registration("data-0"))

            def owners() -> list[str]:
                found = one.nodes()["data-0"]["metadata"]["ownerReferences"]
                return [str(each["name"]) for each in found]

            await one.until(lambda: len(owners()) > 1)
            assert owners() == ["inventory", "data"]

    asyncio.run(run())


def test_a_status_that_another_wrote_meanwhile_is_read_before_it_is_written_over() -> None:
    """K8: without a version an old leader won over the new one."""

    async def run() -> None:
        async with bench(first_retry_s=0.01) as one:
            one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")
            one.api.store(NODES).patch(NS, "data-0", MERGE, {"metadata": {"labels": {"x": "y"}}})
            patches = one.api.count("PATCH", "/status")
            member = one.registry.find("data-0")
            assert member is not None
            one.registry.disconnected(member.agent_id)
            one.pass_by(31)
            await one.until_phases(data_0="Offline")

            assert one.api.count("PATCH", "/status") == patches + 2
            assert one.nodes()["data-0"]["metadata"]["labels"]["x"] == "y"

    asyncio.run(run())


def test_a_node_shows_its_last_incident_whether_or_not_its_agent_lives() -> None:
    async def run() -> None:
        first, second = ({"id": f"inc-{n}", "cause": "OOMKilled"} for n in (1, 2))
        async with bench() as one:
            registered = one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")
            one.incidents[NS, "data-0"] = first
            one.mirror.incident_changed((NS, "data-0"))
            await one.until(lambda: one.nodes()["data-0"]["status"].get("lastIncident") == first)
            one.registry.unregister(registered.member.agent_id)
            await one.until(lambda: one.phases() != {"data-0": "Online"})
            one.incidents[NS, "data-0"] = second
            one.mirror.incident_changed((NS, "data-0"))
            one.mirror.incident_changed((NS, "nobody"))
            await one.until(lambda: one.nodes()["data-0"]["status"].get("lastIncident") == second)
            del one.incidents[NS, "data-0"]  # its retention has ended
            one.registry.register(registration("data-0"))
            await one.until_phases(data_0="Online")
            assert one.nodes()["data-0"]["status"]["lastIncident"] == second

    asyncio.run(run())
