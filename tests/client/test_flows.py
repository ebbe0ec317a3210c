# SPDX-License-Identifier: Apache-2.0
"""`fodc flows`: who writes to and queries whom, and how the nodes do."""

import json

import msgspec

from fodc_api.flows import Flow, FlowKind, FlowNode, Flows
from fodc_api.values import time_of
from fodc_client.commands.flows import flows_table, nodes_table, summary_of

NODE = FlowNode(
    node_id="data-0",
    role="ROLE_DATA",
    tier="hot",
    namespace=None,
    cluster=None,
    zone=None,
    machine="machine-1",
    memory_bytes=float(1 << 30),
    memory_limit_bytes=None,
    in_flight=2.0,
    errors_total=7.0,
    errors_per_second=None,
)
FLOW = Flow(
    source="liaison-0",
    target="data-0.banyandb:17912",
    target_node_id="data-0",
    target_role="data",
    target_tier="hot",
    kind=FlowKind.QUERY,
    operation="query",
    groups=("sw_metric", "sw_records"),
    started_total=10.0,
    finished_total=8.0,
    in_flight=2.0,
    per_second=27.5,
    p99_seconds=0.25,
    errors_total=None,
)


def flows(*, over: float | None = 10.0) -> Flows:
    now = time_of(1_800_000_000_000)
    nothing = {"target_node_id": None, "per_second": None, "p99_seconds": None}
    unknown = msgspec.structs.replace(FLOW, target="10.0.0.9:18912", **nothing)
    return Flows(now, 2, 2, (), over, (NODE,), (FLOW, unknown))


def test_a_flow_is_told_by_its_ends_and_what_is_not_known_is_no_zero() -> None:
    rows = flows_table(flows()).rows

    assert [(row[0], row[1], row[3], row[4], row[6]) for row in rows] == [
        ("liaison-0", "10.0.0.9:18912", "query", "-", "-"),
        ("liaison-0", "data-0", "query", "27.5/s", "-"),
    ]


def test_a_node_is_told_with_its_memory() -> None:
    (row,) = nodes_table(flows()).rows

    assert row == ("data-0", "data", "hot", "1 GiB", "-", "2", "7", "machine-1")


def test_over_which_time_rates_are_is_told() -> None:
    assert summary_of(flows()) == "2 flows between 1 node; rates over 10s"
    assert summary_of(flows(over=None)).endswith("rates are known from the next look on")


def test_flows_are_the_proxys_document(fodc, stage) -> None:
    stage.agent("data-0")

    document = json.loads(fodc("flows", "-o", "json").out)
    table = fodc("flows", "--nodes")

    assert [one["node_id"] for one in document["nodes"]] == ["data-0"]
    assert table.out.splitlines()[1].split()[:2] == ["data-0", "data"]
    assert "0 flows between 1 node" in table.err
