# SPDX-License-Identifier: Apache-2.0
"""The existing routes over HTTP with real agents: upstream-proxy §6, H05 to H15, M and I cases."""

import asyncio
import json
import time

import pytest

from fodc_proxy import runtime
from fodc_proxy.queries.results import Selection
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from fodc_wire.fodc.v1 import agent_link_pb2 as link

from ..live import GoAgent, LinkAgent, fetch, running, until  # noqa: TID252 - one folder's tests


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def get(tmp_path, *paths, method="GET"):
    async def play(proxy):
        return [await fetch(proxy, path, method) for path in paths]

    return scene(tmp_path, play)


# ---- common rules -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/metrics", "/metrics-windows", "/health"])
def test_h05_h06_h07_other_methods_are_refused_as_by_the_existing_proxy(tmp_path, path, method):
    (reply,) = get(tmp_path, path, method=method)

    assert (reply.status, reply.headers["Content-Length"]) == (405, "19")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.text == ("" if method == "HEAD" else "Method not allowed\n")


@pytest.mark.parametrize("path", ["/", "/nosuch", "/metrics/", "/debug/pprof/"])
def test_unknown_paths_are_plain_text_404(tmp_path, path):
    (reply,) = get(tmp_path, path)

    assert (reply.status, reply.text) == (404, "404 page not found\n")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_h07_health_counts_and_is_written_as_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_unix_ms", lambda: 1_800_000_000_000)

    async def play(proxy):
        async with GoAgent(proxy, "a"), LinkAgent(proxy, "b"):
            return await fetch(proxy, "/health")

    reply = scene(tmp_path, play)

    assert reply.headers["Content-Type"] == "application/json"
    assert reply.text == (
        '{"agents_online":2,"agents_total":2,"status":"healthy","uptime_seconds":0}\n'
    )


def test_probes_and_version_answer(tmp_path):
    alive, ready, version = get(tmp_path, "/healthz", "/readyz", "/version")

    assert json.loads(alive.text) == {"alive": True}
    checks = [check["name"] for check in json.loads(ready.text)["checks"]]
    assert checks == ["grpc", "callers", "audit", "artifacts"]
    assert set(json.loads(version.text)) == {"version", "incarnation"}


# ---- the page -----------------------------------------------------------------------------------


def test_h05_page_of_both_contracts_is_one_family(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), GoAgent(proxy, "pod-1", "ROLE_LIAISON") as go:
            await go.attached(proxy)
            paths = ("/metrics", "/metrics?role=ROLE_LIAISON", "/metrics?address=x")
            return [await fetch(proxy, path) for path in paths]

    whole, liaison, ignored = scene(tmp_path, play)

    assert whole.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert whole.text.count("# TYPE up gauge") == 1
    identity = 'namespace="banyandb",node_role="ROLE_DATA",node_type="hot",pod_name="pod-0"'
    assert f"up{{{identity}}} 1\n" in whole.text
    assert (whole.headers["X-FODC-Asked"], whole.headers["X-FODC-Answered"]) == ("2", "2")
    assert "fodc_proxy_agents" in whole.text
    assert liaison.text == (
        "# HELP up h\n# TYPE up gauge\n"
        'up{container_name="data",node_role="ROLE_LIAISON",node_type="hot",pod_name="pod-1"} 42.5\n'
    )
    assert ignored.status == 200


def test_i04_i05_three_roles_of_one_pod_name_are_three_agents(tmp_path):
    async def play(proxy):
        async with (
            GoAgent(proxy, "demo", "datanode-hot") as one,
            GoAgent(proxy, "demo", "datanode-warm") as two,
            GoAgent(proxy, "demo", "liaison") as three,
        ):
            for agent in (one, two, three):
                await agent.attached(proxy)
            page = (await fetch(proxy, "/metrics")).text
            return page, {one.agent_id, two.agent_id, three.agent_id}

    page, ids = scene(tmp_path, play)

    assert len(ids) == 3
    assert all(f'node_role="{role}"' in page for role in ("datanode-hot", "liaison"))


def test_h05_pod_in_another_case_selects_and_then_shows_nothing(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent:
            reply = await fetch(proxy, "/metrics?pod_name=POD-0")
            return reply, len(agent.queries)

    reply, asked = scene(tmp_path, play)

    assert (reply.status, reply.text, asked) == (200, "", 1)
    assert reply.headers["Content-Length"] == "0"


def test_h05_page_without_agents_has_only_the_proxys_families(tmp_path):
    """Upstream's page is empty then; it has no families of its own."""
    whole, filtered = get(tmp_path, "/metrics", "/metrics?role=ROLE_DATA")

    assert all(
        line.split()[2].startswith("fodc_proxy_")
        for line in whole.text.splitlines()
        if line.startswith("# TYPE")
    )
    assert filtered.text == ""


def test_m13_w3_hung_agent_costs_the_deadline_once_and_the_page_names_it(tmp_path):
    """Upstream answers nothing at all for five minutes when one agent hangs."""

    async def play(proxy):
        async with (
            LinkAgent(proxy, "pod-0"),
            LinkAgent(proxy, "pod-1") as hung,
            GoAgent(proxy, "pod-2") as hung_go,
        ):
            hung.hung = hung_go.hung = True
            await hung_go.attached(proxy)
            times, pages = [], []
            for _ in range(2):
                started = time.monotonic()
                pages.append(await fetch(proxy, "/metrics"))
                times.append(time.monotonic() - started)
            await hung_go.answer()
            await hung.answer(hung.queries[0])
            hung.hung = hung_go.hung = False
            await until(lambda: proxy.rounds.late_answers == 2)
            return times, pages, await fetch(proxy, "/metrics")

    times, pages, healed = scene(tmp_path, play, collection_timeout_s=3.0)

    assert times[0] >= 3.0
    assert times[1] < 2.5
    for page in pages:
        assert 'pod_name="pod-0"} 1' in page.text
        assert page.headers["X-FODC-Missing"] == "pod-1,pod-2"
        assert (
            'fodc_proxy_agent_missing{namespace="banyandb",node_role="ROLE_DATA",node_type="hot",'
            'pod_name="pod-1",reason="DeadlineExceeded"} 1' in page.text
        )
    assert healed.headers["X-FODC-Answered"] == "3"
    assert 'pod_name="pod-2"} 42.5' in healed.text


def test_scrape_ends_within_the_time_that_prometheus_has_told(tmp_path):
    """P19: the first hung agent cost eight seconds, and Prometheus lost the whole page."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), LinkAgent(proxy, "pod-1") as hung:
            hung.hung = True
            started = time.monotonic()
            page = await fetch(proxy, "/metrics", X_Prometheus_Scrape_Timeout_Seconds="4")
            took_s = time.monotonic() - started
            hung.hung = False
            await hung.answer(hung.queries[0])
            return page, took_s

    page, took_s = scene(tmp_path, play, collection_timeout_s=30.0)

    assert 'pod_name="pod-0"} 1' in page.text
    assert page.headers["X-FODC-Missing"] == "pod-1"
    assert took_s < 4


def test_w2_overlapping_scrapes_all_succeed(tmp_path):
    """Upstream loses one of two that start within half a second."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent, GoAgent(proxy, "pod-1") as go:
            await go.attached(proxy)
            paths = ["/metrics"] * 10 + ["/metrics?role=ROLE_DATA", "/metrics-windows"] * 3
            replies = await asyncio.gather(*(fetch(proxy, path) for path in paths))
            await until(lambda: proxy.rounds.active == 0)
            return replies, len(agent.queries), len(go.commands), proxy.rounds.unasked_answers

    replies, asked, asked_go, unasked = scene(tmp_path, play)

    assert {reply.status for reply in replies} == {200}
    assert {reply.headers["X-FODC-Answered"] for reply in replies} == {"2"}
    assert asked < 16
    assert asked_go < 16
    assert unasked == 0


def test_m06_caller_that_goes_away_does_not_end_the_round(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent:
            agent.hung = True
            first = asyncio.create_task(proxy.rounds.metrics(Selection()))
            second = asyncio.create_task(proxy.rounds.metrics(Selection()))
            await until(lambda: agent.queries)
            first.cancel()
            await agent.answer(agent.queries[0])
            result = await second
            return first.cancelled(), len(result.answers), proxy.rounds.active

    assert scene(tmp_path, play) == (True, 1, 0)


def test_m09_m16_unknown_pod_selects_nobody_and_a_known_one_in_any_case(tmp_path):
    """Upstream filters by agent ids inside; here a selection names role and pod only."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"):
            known = await proxy.rounds.metrics(Selection(pod_name="POD-0"))
            return known, await proxy.rounds.metrics(Selection(pod_name="nobody"))

    known, unknown = scene(tmp_path, play)

    assert [answer.member.pod_name for answer in known.answers] == ["pod-0"]
    assert (unknown.answers, unknown.missing) == ((), ())


def test_m01_m02_answer_nobody_asked_for_is_dropped(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as agent:
            await agent.attached(proxy)
            await agent.answer()
            await until(lambda: proxy.rounds.unasked_answers == 1)
            return await fetch(proxy, "/metrics")

    assert scene(tmp_path, play).headers["X-FODC-Answered"] == "1"


def test_i03_i08_offline_agents_are_missing_and_their_metrics_gone(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"):
            async with LinkAgent(proxy, "pod-1"):
                pass
            await until(lambda: not proxy.registry.find("pod-1").is_living)
            return await fetch(proxy, "/metrics")

    page = scene(tmp_path, play)

    assert page.headers["X-FODC-Missing"] == "pod-1"
    assert 'pod_name="pod-1",reason="Offline"} 1' in page.text
    assert 'up{node_role="ROLE_DATA",pod_name="pod-1"}' not in page.text


def test_metrics_garbage_of_one_agent_costs_only_its_part(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), GoAgent(proxy, "pod-1") as go:
            await go.attached(proxy)

            async def garbage():
                await go.metrics.write(b"\xff\xff\xff")

            go.answer = garbage
            return await fetch(proxy, "/metrics")

    page = scene(tmp_path, play)

    assert page.headers["X-FODC-Missing"] == "pod-1"
    assert 'reason="ProtocolError"} 1' in page.text


# ---- windows ------------------------------------------------------------------------------------


def test_h06_i01_windows_of_both_contracts(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as own, GoAgent(proxy, "pod-1") as go:
            await go.attached(proxy)

            async def window():
                message = fodc.StreamMetricsRequest()
                for second, value in ((30, 3.0), (20, 2.0)):
                    sample = go.sample()
                    sample.value = value
                    sample.timestamp.FromSeconds(second)
                    message.metrics.append(sample)
                await go.metrics.write(message.SerializeToString())

            go.answer = window
            path = "/metrics-windows?start_time=1970-01-01T00:00:00Z&end_time=1970-01-01T00:01:00Z"
            reply = await fetch(proxy, path)
            return reply, own.agent_id, go.commands[0], own.queries[0]

    reply, own_id, command, query = scene(tmp_path, play)

    first, second = json.loads(reply.text)
    assert reply.headers["Content-Type"] == "application/json"
    assert first == {
        "agent_id": own_id,
        "data": [
            {"timestamp": "1970-01-01T00:00:01Z", "value": "NaN"},
            {"timestamp": "1970-01-01T00:00:02Z", "value": 20},
        ],
        "description": "",
        "labels": {
            "namespace": "banyandb",
            "node_role": "ROLE_DATA",
            "node_type": "hot",
            "pod_name": "pod-0",
        },
        "name": "up",
        "pod_name": "pod-0",
    }
    assert [point["value"] for point in second["data"]] == [2, 3]
    assert second["labels"]["node_type"] == "hot"
    assert command.end_time.seconds == 60
    assert (query.window_query.start_ms, query.window_query.end_ms) == (0, 60_000)


def test_windows_are_open_on_the_side_that_has_no_time(tmp_path):
    """P18: without both times only the newest value of each series came (upstream H06)."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as own, GoAgent(proxy, "pod-1") as go:
            await go.attached(proxy)
            for query in ("", "?end_time=2026-11-21T07:07:59Z", "?start_time=2026-11-21T07:07:59Z"):
                reply = await fetch(proxy, f"/metrics-windows{query}")
                assert [one["pod_name"] for one in json.loads(reply.text)] == ["pod-0", "pod-1"]
            asked = [one.window_query for one in own.queries]
            return asked, go.commands[0]

    asked, command = scene(tmp_path, play)

    whole, until_then, since_then = [(one.start_ms, one.end_ms) for one in asked]
    assert whole == (0, 253_402_300_799_999)
    assert until_then == (0, 1_795_244_879_000)
    assert since_then == (1_795_244_879_000, 253_402_300_799_999)
    assert command.HasField("start_time")
    assert command.HasField("end_time")


LAYOUT = "2006-01-02T15:04:05Z07:00"
Y = "2006"
BLANK = "2026-11-21T07:05:59 00:00"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (
            "start_time=x&end_time=y",
            f'Invalid start_time format: parsing time "x" as "{LAYOUT}": cannot parse "x" as "{Y}"',
        ),
        (
            "start_time=2026-11-21T07:05:59Z&end_time=12345",
            f'Invalid end_time format: parsing time "12345" as "{LAYOUT}": cannot parse "5" as "-"',
        ),
        (
            "start_time=2026-11-21T07:05:59+00:00&end_time=2026-11-21T07:07:59Z",
            f'Invalid start_time format: parsing time "{BLANK}" as "{LAYOUT}": '  # noqa: ISC004 - one text
            'cannot parse " 00:00" as "Z07:00"',
        ),
    ],
)
def test_h06_wrong_times_are_told_in_the_recorded_words(tmp_path, query, text):
    (reply,) = get(tmp_path, f"/metrics-windows?{query}")

    assert (reply.status, reply.text) == (400, text + "\n")


def test_h06_reversed_window_and_fleet_without_agents_are_empty_arrays(tmp_path):
    replies = get(
        tmp_path,
        "/metrics-windows?start_time=2026-11-21T07:07:59Z&end_time=2026-11-21T07:05:59Z",
        "/metrics-windows?start_time=2026-11-21T07:05:59.5Z&end_time=2026-11-21T07:07:59Z",
        "/metrics-windows",
    )

    assert [(reply.status, reply.text) for reply in replies] == [(200, "[]\n")] * 3


# ---- the fleet ----------------------------------------------------------------------------------


def test_cluster_shows_each_node_with_its_contract(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as own, GoAgent(proxy, "pod-1", "ROLE_LIAISON"):
            state = link.NodeState(
                node_role="ROLE_DATA",
                capabilities=[link.Capability(kind="cpu", state="Supported")],
                window=link.WindowExtent(oldest_ms=1000, newest_ms=2500, series=3, bytes=4),
                conditions=[link.Condition(type="Kernel", reason="NoBTF", message="m")],
            )
            await own.say(heartbeat=link.Heartbeat(sequence=1, state=state))
            await until(lambda: own.last is not None)
            paths = ("/cluster", "/cluster?role=ROLE_LIAISON", "/cluster?node_id=pod-0")
            return [json.loads((await fetch(proxy, path)).text) for path in paths]

    whole, liaison, one = scene(tmp_path, play)

    assert whole["summary"] == {
        "total": 2,
        "online": 1,
        "degraded": 1,
        "offline": 0,
        "by_role": {"ROLE_DATA": 1, "ROLE_LIAISON": 1},
    }
    node, other = whole["nodes"]
    assert (node["node_id"], node["contract"], node["phase"]) == ("pod-0", "link", "Degraded")
    assert node["window"] == {
        "oldest": "1970-01-01T00:00:01.000Z",
        "newest": "1970-01-01T00:00:02.500Z",
        "series": 3,
        "bytes": 4,
    }
    assert node["conditions"] == [{"type": "Kernel", "reason": "NoBTF", "message": "m"}]
    assert node["capabilities"][0]["kind"] == "cpu"
    assert (other["contract"], other["tier"], other["namespace"]) == ("fodc", "hot", None)
    assert [n["node_id"] for n in liaison["nodes"]] == ["pod-1"]
    assert [n["node_id"] for n in one["nodes"]] == ["pod-0"]


def test_i15_a_hundred_and_ten_agents_are_collected_and_come_back(tmp_path):
    """More than a moment, because it is the size that the existing proxy is tested with."""

    async def play(proxy):
        agents = [GoAgent(proxy, f"p{number}") for number in range(110)]
        await asyncio.gather(*(agent.start() for agent in agents))
        await asyncio.gather(*(agent.attached(proxy) for agent in agents))
        before = json.loads((await fetch(proxy, "/metrics-windows")).text)
        gone = agents[:8]
        await asyncio.gather(*(agent.close() for agent in gone))
        back = [GoAgent(proxy, agent.pod_name) for agent in gone]
        for agent in back:
            agent.value = 99.9
        await asyncio.gather(*(agent.start() for agent in back))
        await asyncio.gather(*(agent.attached(proxy) for agent in back))
        after = json.loads((await fetch(proxy, "/metrics-windows")).text)
        await asyncio.gather(*(agent.close() for agent in (*agents[8:], *back)))
        return before, after, proxy.rounds.active

    before, after, active = scene(tmp_path, play)

    assert len({one["agent_id"] for one in before}) == 110
    assert {one["labels"]["node_role"] for one in before} == {"ROLE_DATA"}
    assert len({one["pod_name"] for one in after}) == 110
    new = [one for one in after if one["data"][-1]["value"] == 99.9]
    assert sorted(one["pod_name"] for one in new) == sorted(f"p{number}" for number in range(8))
    assert active == 0


def test_i10_five_scrapes_in_a_row_are_quick(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"):
            started = time.monotonic()
            for _ in range(5):
                assert "up{" in (await fetch(proxy, "/metrics")).text
            return time.monotonic() - started, proxy.rounds.active

    took_s, active = scene(tmp_path, play)

    assert took_s < 5
    assert active == 0


# ---- equal names in several namespaces ----------------------------------------------------------


def test_nodes_of_one_name_in_two_namespaces_are_told_apart(tmp_path):
    async def play(proxy):
        async with (
            LinkAgent(proxy, "pod-0", namespace="one"),
            LinkAgent(proxy, "pod-0", "ROLE_LIAISON", namespace="two"),
            LinkAgent(proxy, "pod-1", namespace="two"),
        ):
            paths = ("", "?node_id=two/pod-0", "?node_id=two/pod-1")
            pages = [json.loads((await fetch(proxy, f"/cluster{p}")).text) for p in paths]
            assert (await fetch(proxy, "/cluster?node_id=three/pod-0")).status == 404
            metrics = await fetch(proxy, "/metrics?pod_name=two/pod-0")
            windows = await fetch(proxy, "/metrics-windows?pod_name=two/pod-0")
            return pages, metrics, windows

    pages, metrics, windows = scene(tmp_path, play)
    names = [[(n["node_id"], n["pod_name"], n["namespace"]) for n in p["nodes"]] for p in pages]

    assert names == [
        [
            ("one/pod-0", "pod-0", "one"),
            ("two/pod-0", "pod-0", "two"),
            ("pod-1", "pod-1", "two"),
        ],
        [("two/pod-0", "pod-0", "two")],
        [("pod-1", "pod-1", "two")],
    ]
    assert metrics.headers["X-FODC-Asked"] == windows.headers["X-FODC-Asked"] == "1"
    assert 'namespace="two",node_role="ROLE_LIAISON",node_type="hot",pod_name="pod-0"} 1' in (
        metrics.text
    )
    assert "ROLE_DATA" not in metrics.text
    assert json.loads(windows.text)[0]["pod_name"] == "pod-0"


def test_own_latencies_stand_on_the_page_as_histograms(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), GoAgent(proxy, "pod-1") as go:
            await go.attached(proxy)
            await fetch(proxy, "/metrics")
            await fetch(proxy, "/nosuch")
            return (await fetch(proxy, "/metrics")).text

    page = scene(tmp_path, play)

    assert "# TYPE fodc_proxy_http_request_seconds histogram\n" in page
    assert 'fodc_proxy_http_request_seconds_count{code="200",route="/metrics"} 1.0\n' in page
    assert 'fodc_proxy_http_request_seconds_count{code="404",route="unknown"} 1.0\n' in page
    assert 'fodc_proxy_round_seconds_count{kind="Latest"} 2.0\n' in page
    for contract in ("link", "fodc"):
        labels = f'contract="{contract}",kind="Latest"'
        assert f"fodc_proxy_rpc_seconds_count{{{labels}}} 2.0\n" in page
    assert "_created" not in page
