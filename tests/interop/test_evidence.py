# SPDX-License-Identifier: Apache-2.0
"""What nodes know and left behind, with our real processes, over both contracts."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from fodc_protocol.protobuf import messages, number
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from tests.agent.evidence.nodes import Node, current, node, state
from tests.agent.evidence.schemas import (
    RULE_0,
    RULE_1,
    STREAM,
    STREAM_WITH_RULES,
    binding,
    body,
    metadata,
    rule_table,
    snapshot,
    trailer,
)
from tests.interop.fleet import Fleet, get, get_json, until

PANIC = Path(__file__).parents[1] / "data" / "crash" / "panic.json"
PAGE = "up 1\n"
RULES = {"r0": RULE_0, "r1": RULE_1}


@pytest.fixture(params=["link", "fodc"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, request.param) as started:
        yield started


class Database:
    """A node of the database in a thread of its own."""

    def __init__(self, **answers: object) -> None:
        self.node = Node(**answers)
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))

    async def _run(self) -> None:
        async with self.node.served():
            self._up.set()
            await self._over.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()


def test_i13_panic_is_shown_after_the_folder_and_the_agent_have_gone(fleet: Fleet) -> None:
    """The folder appears only with the panic."""
    folder = fleet.folder / "crash"
    proxy = fleet.proxy()
    agent = fleet.agent(
        proxy.grpc, fleet.node(PAGE), "p1", "ROLE_DATA", f"--crash-source-dir={folder}"
    )
    url = f"{proxy.http}/diagnostics"
    until("the agent", lambda: get_json(f"{proxy.http}/health")["agents_online"] == 1)
    assert get_json(url) == []

    panic = folder / "20261121T070639.399691654Z-lab-test-2121-7"
    panic.mkdir(parents=True)
    shutil.copyfile(PANIC, panic / "panic.json")
    (told,) = until("the crash", lambda: get_json(url))
    shutil.rmtree(folder)
    agent.stop()
    until("the agent gone", lambda: get_json(f"{proxy.http}/health")["agents_online"] == 0)

    assert (told["pod_name"], told["artifact_dir"]) == ("p1", panic.name)
    assert told["panic_record"]["panic_value"] == "diagnostic test panic triggered via /debug/panic"
    assert [one["artifact_dir"] for one in get_json(url)] == [panic.name]


def test_i11_topology_and_lifecycle_are_those_of_the_nodes(fleet: Fleet, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "20261121_060000.json").write_text('{"report_version":"2.1"}')
    told = fodc.InspectAllResponse()
    told.groups.add(name="sw_metric", catalog="CATALOG_MEASURE").resource_opts.shard_num = 2
    answers = {
        "GetCurrentNode": current(node("node-1", roles=[2])),
        "GetClusterState": state(node("node-2", roles=[2]), evictable=["node-2"]),
        "InspectAll": told,
    }
    proxy = fleet.proxy()
    with Database(**answers) as database:
        port = database.node.port
        fleet.agent(
            proxy.grpc,
            fleet.node(PAGE),
            "p1",
            "ROLE_DATA",
            f"--cluster-state-ports={port}",
            f"--lifecycle-port={port}",
            f"--lifecycle-report-dir={reports}",
        )
        topology = until(
            "both nodes",
            lambda: len((one := get_json(f"{proxy.http}/cluster/topology"))["nodes"]) == 2 and one,
        )
        lifecycle = until(
            "the group",
            lambda: (one := get_json(f"{proxy.http}/cluster/lifecycle"))["groups"] and one,
        )

    first, second = topology["nodes"]
    assert (first["metadata"], first["roles"]) == ({"name": "node-1"}, ["ROLE_DATA"])
    assert (first["labels"]["pod_name"], first["status"]) == ("p1", "online")
    assert second["labels"] == {"liveness": "evictable"}
    assert [one["id"] for one in topology["calls"]] == ["node-1-node-2"]
    (group,) = lifecycle["groups"]
    assert (group["name"], group["resource_opts"]["shard_num"]) == ("sw_metric", 2)
    assert lifecycle["lifecycle_statuses"] == [
        {
            "pod_name": "p1",
            "reports": [
                {"filename": "20261121_060000.json", "report_json": '{"report_version":"2.1"}'}
            ],
        }
    ]
    assert lifecycle["agent_summary"]["responded"] == 1


def test_schema_of_a_liaison_is_compared_with_its_registry(fleet: Fleet) -> None:
    """Both read by our own agent: what the node has in use, and what the registry has."""
    told = fodc.InspectAllResponse()
    told.groups.add(name="g", catalog="CATALOG_STREAM")
    group = metadata("g", group="") + number(2, 1)
    answers = {
        "InspectAll": told,
        "StreamGroupSchemaState": [
            rule_table("g", RULE_0, RULE_1),
            *(snapshot("g", "indexRule", name, body(one)) for name, one in RULES.items()),
            snapshot("g", "group", "g", body(group)),
            snapshot("g", "stream", "foo", body(STREAM, 1, 0)),
            trailer("g", "liaison-1", 4),
        ],
        "GroupRegistryService": messages(1, [group]),
        "IndexRuleRegistryService": messages(1, RULES.values()),
        "IndexRuleBindingRegistryService": messages(1, [binding("foo", 1, "r0", "r1")]),
        "StreamRegistryService": messages(1, [STREAM]),
    }
    proxy = fleet.proxy()
    with Database(**answers) as database:
        port = database.node.port
        fleet.agent(
            proxy.grpc,
            fleet.node(PAGE),
            "p1",
            "ROLE_LIAISON",
            f"--lifecycle-port={port}",
            f"--schema-registry-port={port}",
        )
        (found,) = until(
            "the verdict",
            lambda: (
                (one := get_json(f"{proxy.http}/cluster/lifecycle")["groups"])
                and one[0]["schema_consistency"]
                and one
            ),
        )
        page = get(f"{proxy.http}/metrics").decode()

    assert (found["errors"], found["schema_consistency"]["issues"]) == ([], [])
    assert found["schema_consistency"]["status"] == "CONSISTENCY_STATUS_CONSISTENT"
    assert [
        (one["kind"], one["name"], one["registry_fingerprint"])
        for one in found["schema_consistency"]["objects"]
    ][-1] == ("stream", "foo", str(STREAM_WITH_RULES))
    assert 'banyandb_fodc_schema_consistency_status{group="g"} 1' in page
