# SPDX-License-Identifier: Apache-2.0
"""Who writes to and queries whom, derived from the queue metrics of the senders."""

import asyncio
import xml.etree.ElementTree as ET

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.flows import FlowKind
from fodc_protocol.link import frames
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import MetricType
from fodc_proxy.evidence.flows.reading import quantile, reading_of
from fodc_proxy.evidence.flows.readings import Readings
from fodc_proxy.evidence.flows.view import Place, Told, flows_of, nodes_of
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.http.listener import WebServer
from fodc_proxy.queries.results import Answer, Missing, RoundResult
from tests.proxy.served import app_of

NOW_MS = 1_800_000_000_000
TO_DATA = 'group="",operation="query",remote_node="data-0.banyandb:17912",remote_role="data"'
TO_SELF = 'group="sw_metric",operation="batch-write",remote_node="10.0.0.9:18912",remote_role="x"'


def block(name: str, *lines: str) -> FamilyBlock:
    text = "".join(f"{line}\n" for line in lines).encode()
    return FamilyBlock(name, MetricType.COUNTER, "", text, len(lines))


def page(*, started: float = 10, finished: float = 8, errors: float = 2, slow: float = 1):
    queue = "banyandb_queue_pub_total"
    tier = f'{TO_DATA},remote_tier="hot"'
    return (
        block(f"{queue}_started", f"{queue}_started{{{tier}}} {started}"),
        block(
            f"{queue}_finished",
            f"{queue}_finished{{{tier}}} {finished}",
            f"{queue}_finished{{{TO_SELF}}} 3",
        ),
        block(
            f"{queue}_latency",
            f'{queue}_latency_bucket{{{tier},le="0.01"}} {finished - slow}',
            f'{queue}_latency_bucket{{{tier},le="0.1"}} {finished}',
            f'{queue}_latency_bucket{{{tier},le="+Inf"}} {finished}',
        ),
        block("banyandb_liaison_grpc_total_registry_err", f"x{{}} {errors - 1}", "x 1"),
        block("process_resident_memory_bytes", "process_resident_memory_bytes 1000"),
        block("fodc_node_memory_limit_bytes", "fodc_node_memory_limit_bytes 4000"),
        block("unrelated", "unrelated 7"),
    )


LIAISON = Place("liaison-0", "ROLE_LIAISON", names=frozenset({"liaison-0", "10.0.0.9"}))
DATA = Place("data-0", "ROLE_DATA", "hot", zone="z1", names=frozenset({"data-0"}))


def test_flows_of_a_page_go_to_the_nodes_that_they_are_called_by():
    told = [Told(LIAISON, reading_of(page())), Told(DATA, reading_of(()))]

    to_itself, query = flows_of(told)

    assert (query.source, query.target, query.target_node_id) == (
        "liaison-0",
        "data-0.banyandb:17912",
        "data-0",
    )
    assert (query.kind, query.target_role, query.target_tier) == (FlowKind.QUERY, "data", "hot")
    assert (query.started_total, query.finished_total, query.in_flight) == (10, 8, 2)
    assert (query.per_second, query.errors_total) == (None, None)
    assert (to_itself.started_total, to_itself.in_flight) == (None, None)
    assert (to_itself.kind, to_itself.target_node_id, to_itself.groups) == (
        FlowKind.WRITE,
        "liaison-0",
        ("sw_metric",),
    )


def test_indicators_of_a_node_are_what_it_says_and_null_where_it_says_nothing():
    data, liaison = nodes_of([Told(LIAISON, reading_of(page())), Told(DATA, reading_of(()))])

    assert (liaison.memory_bytes, liaison.memory_limit_bytes) == (1000, 4000)
    assert (liaison.in_flight, liaison.errors_total, liaison.errors_per_second) == (2, 2, None)
    assert (data.tier, data.zone, data.machine) == ("hot", "z1", None)
    assert (data.memory_bytes, data.in_flight, data.errors_total) == (None, None, None)


def test_rates_and_latency_are_those_since_the_reading_before():
    before, now = page(finished=100, slow=90), page(started=210, finished=200, errors=12, slow=90)
    told = Told(LIAISON, reading_of(now), reading_of(before), 10.0)

    query = flows_of([told])[1]
    (node,) = nodes_of([told])

    assert query.per_second == 10.0
    assert query.p99_seconds == pytest.approx(0.0099)
    assert node.errors_per_second == 1.0


def test_a_node_that_was_started_anew_has_no_rate():
    told = Told(LIAISON, reading_of(page(finished=5)), reading_of(page(finished=100)), 10.0)

    query = flows_of([told])[1]

    assert query.per_second is None
    assert query.p99_seconds is not None


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({}, None),
        ({1.0: 0, float("inf"): 0}, None),
        ({1.0: 10, 2.0: 20, float("inf"): 20}, 1.0),
        ({1.0: 0, 2.0: 0, float("inf"): 5}, 2.0),
    ],
)
def test_a_quantile_is_linear_within_its_bucket(buckets, expected):
    assert quantile(buckets, 0.5) == expected


@given(st.binary(max_size=200), st.sampled_from(["", "banyandb_queue_pub_total_started"]))
def test_no_page_breaks_the_reading(text, prefix):
    reading_of([FamilyBlock(prefix or "process_resident_memory_bytes", 0, "", text, 1)])


def test_readings_give_the_youngest_that_is_old_enough_whoever_asks():
    readings, first, later = Readings(), reading_of(page()), reading_of(page(finished=9))

    assert readings.exchanged("a", first, NOW_MS) == (None, 0.0)
    assert readings.exchanged("a", later, NOW_MS + 1000) == (None, 0.0)
    assert readings.exchanged("a", later, NOW_MS + 6000) == (first, 6.0)
    assert readings.exchanged("a", later, NOW_MS + 7000) == (first, 7.0)
    assert readings.exchanged("a", first, NOW_MS + 12_000) == (later, 6.0)
    readings.keep_only(["b"])
    assert readings.exchanged("a", first, NOW_MS + 24_000) == (None, 0.0)


# ---- over HTTP ----------------------------------------------------------------------------------


class Fleet:
    """Two nodes; `liaison-0` tells its queue, `data-0` is silent."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.registry = Registry(clock_ms=lambda: self.now_ms)
        for pod, role in (("liaison-0", "ROLE_LIAISON"), ('data-0"><x', "ROLE_DATA")):
            identity = frames.Identity(pod, namespace="db", cluster="c", kubernetes_node="worker-1")
            told = Registration(identity, frames.NodeState(role), Contract.LINK)
            self.registry.register(told)

    async def metrics(self, _selection):
        liaison, data = self.registry.members()
        return RoundResult((Answer(liaison, page()),), (Missing(data, "Timeout", "late"),))


def asked(path: str) -> tuple[int, str, str]:
    async def run():
        fleet = Fleet()
        told = {"registry": fleet.registry, "rounds": fleet, "clock_ms": lambda: fleet.now_ms}
        server = WebServer(app_of(**told))
        await server.start("127.0.0.1", 0)
        try:
            async with (
                aiohttp.ClientSession(f"http://{server.address}") as http,
                http.get(path) as answer,
            ):
                return answer.status, answer.content_type, await answer.text()
        finally:
            await server.stop()

    return asyncio.run(run())


def test_the_answer_says_who_is_missing():
    status, content_type, body = asked("/cluster/flows")

    assert (status, content_type) == (200, "application/json")
    assert '"missing":[{"node_id":"data-0' in body
    assert '"machine":"worker-1"' in body
    assert '"over_seconds":null' in body


def test_the_digraph_names_both_ends_and_the_label():
    status, content_type, body = asked("/cluster/flows.dot")

    assert (status, content_type) == (200, "text/vnd.graphviz")
    assert '"liaison-0" -> "data-0.banyandb:17912" [label="query p99 ' in body


def test_the_drawing_is_xml_with_a_box_for_each_end_and_a_line_for_each_flow():
    status, content_type, body = asked("/cluster/flows.svg")

    assert (status, content_type) == (200, "image/svg+xml")
    root = ET.fromstring(body)
    tags = [one.tag.rpartition("}")[2] for one in root.iter()]
    assert tags.count("rect") == 3
    assert tags.count("path") == 2


def test_a_parameter_that_is_not_known_is_refused():
    assert asked("/cluster/flows?format=png")[0] == 400
