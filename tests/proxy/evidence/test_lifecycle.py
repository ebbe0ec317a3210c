# SPDX-License-Identifier: Apache-2.0
"""`/cluster/lifecycle` over real sockets: §6.7, §9, §10; H16 to H18, L, A, S cases, I12."""

import asyncio
import contextlib
import json

import pytest
from google.protobuf import json_format

from fodc_proxy.evidence import views
from fodc_proxy.evidence.consistency import CONFIRMED_AFTER_MS
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.existing import lifecycle as codec
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

from ..evident import (  # noqa: TID252 - one folder's tests
    DATA,
    LIFECYCLE,
    REGISTRY,
    EvidentAgent,
    always,
    lifecycle,
    recorded,
    registry,
    registry_error,
    schema_group,
    silence,
)
from ..live import GoAgent, fetch, running, until  # noqa: TID252 - as above

PATH = "/cluster/lifecycle"
LIAISON = "ROLE_LIAISON"
RECORDED = json.loads((DATA / "proxy-http" / "lifecycle.json").read_text())
FOO = ("measure", "foo", 100)


@pytest.fixture
def clock(monkeypatch):
    """The steady clock of the views; agents' caches hold nothing."""
    now = [1_000_000]
    monkeypatch.setattr(views, "CACHED_BY_AGENTS_MS", 0)
    monkeypatch.setattr(views, "steady_ms", lambda: now[0])
    return now


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **{"schema_check_interval_s": 0, **told}) as proxy:
            return await play(proxy)

    return asyncio.run(run())


async def body_of(proxy):
    return json.loads((await fetch(proxy, PATH)).text)


@contextlib.asynccontextmanager
async def agents(proxy, *made):
    async with contextlib.AsyncExitStack() as stack:
        for agent in made:
            await stack.enter_async_context(agent)
        yield made


def teller(proxy, pod_name, *groups, role="ROLE_DATA", **reports):
    return EvidentAgent(
        proxy, pod_name, role, **{LIFECYCLE: always(lifecycle(pod_name, groups, **reports))}
    )


def liaison(proxy, pod_name, groups, truth):
    """A liaison that has groups of its own and serves the registry."""
    told = {LIFECYCLE: always(lifecycle(pod_name, groups)), REGISTRY: always(*registry(truth))}
    return EvidentAgent(proxy, pod_name, LIAISON, **told)


def group_of(body, name):
    return next(one for one in body["groups"] if one["name"] == name)


def status_of(body, name):
    return group_of(body, name)["schema_consistency"]["status"].removeprefix("CONSISTENCY_STATUS_")


# ---- the recorded cluster, replayed -------------------------------------------------------------


def as_agents_told(group):
    """A recorded group before the proxy judged it: agents know nothing of the registry."""
    told = json_format.ParseDict(group, fodc.GroupLifecycleInfo())
    for one in told.schema_consistency.objects:
        one.registry_fingerprint = 0
    if told.HasField("schema_consistency"):
        told.schema_consistency.status = 0
    return told


def truth_of(group):
    objects = (group["schema_consistency"] or {"objects": []})["objects"]
    return [(one["kind"], one["name"], int(one["registry_fingerprint"])) for one in objects]


def test_recorded_cluster_gives_the_recorded_body(tmp_path):
    """Field by field, in their order; of properties nodes do not tell, so they have no verdict."""

    async def play(proxy):
        groups = [as_agents_told(one) for one in RECORDED["groups"]]
        truth = {one["name"]: truth_of(one) for one in RECORDED["groups"]}
        truth["_deletion_task"] = [("group", "_deletion_task", 5)]
        async with agents(
            proxy,
            liaison(proxy, "pod-liaison", groups, truth),
            EvidentAgent(
                proxy, "pod-data2", **{LIFECYCLE: always(recorded("0008-A2P-StreamLifecycle"))}
            ),
            teller(proxy, "pod-standalone"),
            teller(proxy, "pod-pressure"),
            GoAgent(proxy, "pod-data3"),
        ):
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert told.headers["Content-Type"] == "application/json"
    assert json.dumps(json.loads(told.text)) == json.dumps(RECORDED)
    assert (told.headers["X-FODC-Asked"], told.headers["X-FODC-Missing"]) == ("5", "pod-data3")


# ---- shape --------------------------------------------------------------------------------------


def test_h16_l03_groups_statuses_and_summary(tmp_path):
    async def play(proxy):
        async with agents(proxy, teller(proxy, "p1", {"name": "g"}), teller(proxy, "p2", day="{}")):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    assert [one["name"] for one in body["groups"]] == ["g"]
    assert body["lifecycle_statuses"] == [
        {"pod_name": "p2", "reports": [{"filename": "day.json", "report_json": "{}"}]}
    ]
    assert body["agent_summary"] == {
        "total": 2,
        "requested": 2,
        "responded": 2,
        "not_responded": 0,
    }
    assert "error" not in body


def test_h16_l01_l02_no_agents_is_told_in_the_body(tmp_path):
    body = scene(tmp_path, body_of)

    assert body["error"] == "FODC unavailable: no agents registered"
    assert body["agent_summary"] == {
        "total": 0,
        "requested": 0,
        "responded": 0,
        "not_responded": 0,
    }
    assert (body["groups"], body["lifecycle_statuses"]) == ([], [])


def test_l04_agents_without_the_stream_are_not_counted_as_asked(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "p1"), GoAgent(proxy, "p2"):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    words = "FODC unavailable: 0/2 registered agents support the lifecycle stream"
    assert body["error"] == words
    assert body["agent_summary"]["requested"] == 0


def test_l10_agents_that_are_asked_and_go_have_not_responded(tmp_path):
    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{LIFECYCLE: silence}) as agent:
            asking = asyncio.create_task(body_of(proxy))
            await agent.asked(LIFECYCLE)
            agent.streams[LIFECYCLE].cancel()
            return await asking

    body = scene(tmp_path, play)

    assert body["error"] == "FODC unavailable: 0/1 requested agents responded"
    assert body["agent_summary"]["not_responded"] == 1


def test_h17_keys_are_snake_case_and_zeros_are_there(tmp_path):
    full = {
        "name": "g",
        "resource_opts": {"shard_num": 2, "stages": [{"name": "warm"}]},
        "data_info": [{"segment_info": [{"shard_info": [{"shard_id": 1}]}]}],
    }

    async def play(proxy):
        async with agents(proxy, teller(proxy, "p1", full, {"name": "h"}, empty="")):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    options = group_of(body, "g")["resource_opts"]
    assert options == {
        "shard_num": 2,
        "segment_interval": None,
        "ttl": None,
        "stages": [
            {
                "name": "warm",
                "shard_num": 0,
                "segment_interval": None,
                "ttl": None,
                "node_selector": "",
                "close": False,
                "replicas": 0,
            }
        ],
        "default_stages": [],
        "replicas": 0,
    }
    assert group_of(body, "h") == {
        "name": "h",
        "catalog": "",
        "resource_opts": None,
        "data_info": [],
        "errors": [],
        "schema_consistency": None,
    }
    (data,) = group_of(body, "g")["data_info"]
    assert (data["node"], data["data_size_bytes"]) == (None, "0")
    (shard,) = data["segment_info"][0]["shard_info"]
    assert (shard["shard_id"], shard["part_count"], shard["sidx_info"]) == (1, "0", None)
    assert body["lifecycle_statuses"][0]["reports"][0]["report_json"] == ""


def test_h18_shape_of_a_verdict(tmp_path, clock):
    async def play(proxy):
        group = schema_group("g", ("measure", "foo", 2**64 - 1))
        async with liaison(proxy, "p1", [group], {"g": [FOO]}):
            await body_of(proxy)
            clock[0] += CONFIRMED_AFTER_MS
            return await body_of(proxy)

    verdict = scene(tmp_path, play)["groups"][0]["schema_consistency"]

    fingerprint = str(2**64 - 1)
    assert verdict == {
        "status": "CONSISTENCY_STATUS_INCONSISTENT",
        "objects": [
            {
                "kind": "measure",
                "name": "foo",
                "registry_fingerprint": "100",
                "node_fingerprints": [
                    {
                        "node": "n1",
                        "cache_fingerprint": fingerprint,
                        "runtime_fingerprint": fingerprint,
                    }
                ],
            }
        ],
        "issues": [
            {
                "kind": "measure",
                "name": "foo",
                "node": "n1",
                "type": "SCHEMA_ISSUE_TYPE_CACHE_STALE",
            }
        ],
    }


def test_our_values_are_those_of_protobufs_own_json():
    """Units, roles, times with 0, 3, 6 and 9 digits, and numbers that have no name yet."""
    made = fodc.GroupLifecycleInfo(name="g")
    made.resource_opts.ttl.unit = 2
    made.resource_opts.segment_interval.unit = 9
    for nanos in (0, 120_000_000, 120_000, 7):
        told = made.data_info.add()
        told.node.created_at.FromNanoseconds(1_795_244_536_000_000_000 + nanos)
        told.node.roles.extend([1, 7])
        told.data_size_bytes = -5
    data = lifecycle("p", [made]).SerializeToString()

    ours = json.loads(codec_json(data))["groups"][0]
    theirs = json_format.MessageToDict(made, preserving_proto_field_name=True)

    assert ours["resource_opts"]["ttl"]["unit"] == theirs["resource_opts"]["ttl"]["unit"]
    assert ours["resource_opts"]["segment_interval"]["unit"] == 9
    for mine, told in zip(ours["data_info"], theirs["data_info"], strict=True):
        assert mine["node"]["created_at"] == told["node"]["created_at"]
        assert mine["node"]["roles"] == told["node"]["roles"] == ["ROLE_META", 7]
        assert mine["data_size_bytes"] == told["data_size_bytes"] == "-5"


def codec_json(data):
    import msgspec  # noqa: PLC0415 - for this reading alone

    told = codec.decode_lifecycle(data)
    return msgspec.json.encode({"groups": told.groups})


# ---- merging ------------------------------------------------------------------------------------


def test_l05_l07_l08_statuses_are_concatenated_and_either_half_may_be_absent(tmp_path):
    async def play(proxy):
        async with agents(
            proxy,
            teller(proxy, "p2", b="{}"),
            teller(proxy, "p1", a="{}"),
            teller(proxy, "p3", {"name": "g"}),
        ):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    assert [one["pod_name"] for one in body["lifecycle_statuses"]] == ["p1", "p2"]
    assert len(body["groups"]) == 1


def test_l06_an_agent_that_tells_nothing_has_answered(tmp_path):
    async def play(proxy):
        empty = fodc.StreamLifecycleRequest(pod_name="p1")
        async with EvidentAgent(proxy, "p1", **{LIFECYCLE: always(empty)}):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    assert (body["groups"], body["agent_summary"]["responded"]) == ([], 1)


def test_l09_l11_a_group_of_two_agents_is_one_with_the_errors_of_both(tmp_path):
    async def play(proxy):
        async with agents(
            proxy,
            teller(proxy, "p1", {"name": "g", "errors": ["b", "a"]}),
            teller(proxy, "p2", {"name": "g", "catalog": "CATALOG_TRACE", "errors": ["c", "a"]}),
        ):
            return (await body_of(proxy))["groups"]

    (group,) = scene(tmp_path, play)

    assert (group["catalog"], group["errors"]) == ("CATALOG_TRACE", ["a", "b", "c"])


def test_pod_of_a_report_is_that_of_its_agent(tmp_path):
    """No agent can speak for another."""

    async def play(proxy):
        told = always(lifecycle("somebody-else", (), day="{}"))
        async with EvidentAgent(proxy, "p1", **{LIFECYCLE: told}):
            return await body_of(proxy)

    assert scene(tmp_path, play)["lifecycle_statuses"][0]["pod_name"] == "p1"


def test_callers_at_the_same_time_share_one_collection(tmp_path):
    async def play(proxy):
        async with teller(proxy, "p1", {"name": "g"}) as agent:
            bodies = await asyncio.gather(*(body_of(proxy) for _ in range(4)))
            return bodies, len(agent.heard)

    bodies, commands = scene(tmp_path, play)

    assert bodies[0] == bodies[3]
    assert commands == 1


def test_slow_agents_show_the_last_collection_with_its_age(tmp_path, clock):
    async def play(proxy):
        async with teller(proxy, "p1", {"name": "g"}) as agent:
            await body_of(proxy)
            agent.gives[LIFECYCLE] = silence
            clock[0] += 7_000
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play, collection_timeout_s=0.2)

    assert [one["name"] for one in json.loads(told.text)["groups"]] == ["g"]
    assert told.headers["X-FODC-Age-Seconds"] == "7.000"


def test_what_an_agent_told_last_stands_in_for_it_when_it_has_gone(tmp_path, clock):
    async def play(proxy):
        async with teller(proxy, "p2"):
            async with teller(proxy, "p1", {"name": "g"}, day="{}"):
                await body_of(proxy)
            await until(lambda: not proxy.registry.find("p1").is_living)
            clock[0] += 3_000
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    body = json.loads(told.text)
    assert [one["name"] for one in body["groups"]] == ["g"]
    assert [one["pod_name"] for one in body["lifecycle_statuses"]] == ["p1"]
    assert told.headers["X-FODC-Stale"] == "p1=3s"
    assert body["agent_summary"] == {
        "total": 2,
        "requested": 1,
        "responded": 1,
        "not_responded": 0,
    }


def test_i12_reports_of_two_pods_are_listed_by_their_files(tmp_path):
    async def play(proxy):
        async with agents(proxy, teller(proxy, "p1"), teller(proxy, "p2")) as (first, second):
            before = await body_of(proxy)
            first.gives[LIFECYCLE] = always(lifecycle("p1", (), one="{}"))
            second.gives[LIFECYCLE] = always(lifecycle("p2", (), two="{}"))
            return before, await body_of(proxy)

    before, after = scene(tmp_path, play)

    assert (before["groups"], before["lifecycle_statuses"]) == ([], [])
    told = {one["pod_name"]: one["reports"][0]["filename"] for one in after["lifecycle_statuses"]}
    assert told == {"p1": "one.json", "p2": "two.json"}


# ---- verdicts -----------------------------------------------------------------------------------


def test_a01_a05_nodes_of_several_agents_agree(tmp_path):
    async def play(proxy):
        groups = [schema_group("g", FOO)]
        others = schema_group("g", FOO, node_name="n2")
        async with agents(
            proxy,
            liaison(proxy, "p1", groups, {"g": [FOO]}),
            teller(proxy, "p2", others, role=LIAISON),
        ):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    assert status_of(body, "g") == "CONSISTENT"
    (row,) = body["groups"][0]["schema_consistency"]["objects"]
    assert [one["node"] for one in row["node_fingerprints"]] == ["n1", "n2"]


def test_a02_a06_a_difference_is_listed_from_the_second_round(tmp_path, clock):
    async def play(proxy):
        group = schema_group("g", ("measure", "foo", 200))
        async with liaison(proxy, "p1", [group], {"g": [FOO]}):
            told = [await body_of(proxy)]
            clock[0] += CONFIRMED_AFTER_MS
            return [*told, await body_of(proxy)]

    first, second = scene(tmp_path, play)

    assert (status_of(first, "g"), status_of(second, "g")) == ("UNKNOWN", "INCONSISTENT")


def test_a_go_agent_answers_from_its_cache_for_ten_minutes(tmp_path, clock, monkeypatch):
    """§10.4.3: polls soon after a change of the schema are no false alarm."""
    monkeypatch.setattr(views, "CACHED_BY_AGENTS_MS", 600_000)

    async def play(proxy):
        group = schema_group("g", ("measure", "foo", 200))
        async with liaison(proxy, "p1", [group], {"g": [FOO]}):
            told = []
            for _ in range(4):
                told.append(status_of(await body_of(proxy), "g"))
                clock[0] += 250_000
            return told

    assert scene(tmp_path, play) == ["UNKNOWN", "UNKNOWN", "UNKNOWN", "INCONSISTENT"]


def test_a03_a10_group_that_the_registry_has_not_is_unknown_without_a_word(tmp_path):
    async def play(proxy):
        async with liaison(proxy, "p1", [schema_group("g", FOO)], {"h": []}):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    told = group_of(body, "g")
    assert told["schema_consistency"] == {
        "status": "CONSISTENCY_STATUS_UNKNOWN",
        "objects": [],
        "issues": [],
    }
    assert told["errors"] == []


def test_a04_an_agent_that_does_not_answer_leaves_the_rest_unknown(tmp_path):
    async def play(proxy):
        async with agents(
            proxy,
            liaison(proxy, "p1", [schema_group("g", FOO)], {"g": [FOO]}),
            EvidentAgent(proxy, "p2", **{LIFECYCLE: silence}),
        ) as (_, second):
            asking = asyncio.create_task(body_of(proxy))
            await second.asked(LIFECYCLE)
            second.streams[LIFECYCLE].cancel()
            return await asking

    assert status_of(scene(tmp_path, play), "g") == "UNKNOWN"


def test_a_node_that_told_its_schema_before_is_expected_again(tmp_path, clock):
    """Its agent has gone: what it told then is no evidence now."""

    async def play(proxy):
        groups = [schema_group("g", FOO)]
        async with liaison(proxy, "p1", groups, {"g": [FOO]}):
            others = schema_group("g", FOO, node_name="n2")
            async with teller(proxy, "p2", others, role=LIAISON):
                first = status_of(await body_of(proxy), "g")
            await until(lambda: not proxy.registry.find("p2").is_living)
            page = await fetch(proxy, PATH)
            return first, status_of(json.loads(page.text), "g"), (await fetch(proxy, "/metrics"))

    first, second, page = scene(tmp_path, play)

    assert (first, second) == ("CONSISTENT", "UNKNOWN")
    assert 'fodc_proxy_schema_nodes{group="g",state="answered"} 1\n' in page.text
    assert 'fodc_proxy_schema_nodes{group="g",state="expected"} 2\n' in page.text


def test_a07_group_of_which_no_node_tells_has_no_verdict(tmp_path):
    async def play(proxy):
        async with teller(proxy, "p1", {"name": "g", "catalog": "CATALOG_MEASURE"}):
            return await body_of(proxy)

    assert scene(tmp_path, play)["groups"][0]["schema_consistency"] is None


def test_a08_groups_do_not_mix(tmp_path):
    async def play(proxy):
        groups = [schema_group("g", FOO), schema_group("h", ("measure", "foo", 7))]
        async with liaison(proxy, "p1", groups, {"g": [FOO], "h": [FOO]}):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    assert (status_of(body, "g"), status_of(body, "h")) == ("CONSISTENT", "UNKNOWN")


def test_a_node_that_has_nothing_of_a_group_is_found(tmp_path, clock):
    """§10.4.1: it was not in the map and so never flagged."""

    async def play(proxy):
        first = [schema_group("g", FOO), schema_group("h", FOO)]
        second = schema_group("g", FOO, node_name="n2")
        truth = {"g": [FOO], "h": [FOO]}
        async with agents(
            proxy, liaison(proxy, "p1", first, truth), teller(proxy, "p2", second, role=LIAISON)
        ):
            await body_of(proxy)
            clock[0] += CONFIRMED_AFTER_MS
            return await body_of(proxy)

    body = scene(tmp_path, play)

    (issue,) = group_of(body, "h")["schema_consistency"]["issues"]
    assert (issue["node"], issue["type"]) == ("n2", "SCHEMA_ISSUE_TYPE_MISSING_IN_CACHE")
    assert status_of(body, "g") == "CONSISTENT"


def test_a_group_that_is_missing_on_every_node_is_found(tmp_path, clock):
    async def play(proxy):
        async with liaison(proxy, "p1", [schema_group("g", FOO)], {"g": [FOO], "h": [FOO]}):
            await body_of(proxy)
            clock[0] += CONFIRMED_AFTER_MS
            return await body_of(proxy)

    assert status_of(scene(tmp_path, play), "h") == "INCONSISTENT"


def test_a_schema_that_could_not_be_read_whole_is_no_evidence(tmp_path, clock):
    """A torn stream looks like objects that are missing."""

    async def play(proxy):
        torn = schema_group("g", FOO, errors=["node schema state: 1 of 2 objects"])
        truth = {"g": [FOO, ("measure", "bar", 5)], "h": [FOO]}
        async with liaison(proxy, "p1", [torn, schema_group("h", FOO)], truth):
            await body_of(proxy)
            clock[0] += CONFIRMED_AFTER_MS
            return await body_of(proxy)

    body = scene(tmp_path, play)

    assert group_of(body, "g")["schema_consistency"] is None
    assert status_of(body, "h") == "CONSISTENT"


def test_a09_a16_a_registry_that_cannot_be_read_is_told_on_every_verdict(tmp_path):
    async def play(proxy):
        groups = always(lifecycle("p1", [schema_group("g", FOO), {"name": "h"}]))
        fatal = [registry_error("", "no access"), fodc.StreamSchemaRegistryRequest(done=True)]
        told = {LIFECYCLE: groups, REGISTRY: always(*fatal)}
        async with EvidentAgent(proxy, "p1", LIAISON, **told) as agent:
            return await body_of(proxy), agent.agent_id

    body, agent_id = scene(tmp_path, play)

    words = "registry unavailable: schema registry read failed on all 1 liaison agent(s): "
    reason = f"agent {agent_id} registry read failed: no access"
    assert group_of(body, "g")["errors"] == [words + reason]
    assert status_of(body, "g") == "UNKNOWN"
    assert group_of(body, "h")["errors"] == []


def test_a11_s02_an_error_of_one_group_is_its_own(tmp_path):
    """S02: objects and then an error; the group has no truth."""

    async def play(proxy):
        pieces = registry({"g": [FOO], "h": [FOO]}, done=False)
        end = [registry_error("g", "denied"), fodc.StreamSchemaRegistryRequest(done=True)]
        groups = always(lifecycle("p1", [schema_group("g", FOO), schema_group("h", FOO)]))
        told = {LIFECYCLE: groups, REGISTRY: always(*pieces, *end)}
        async with EvidentAgent(proxy, "p1", LIAISON, **told):
            return await body_of(proxy)

    body = scene(tmp_path, play)

    assert group_of(body, "g")["errors"] == ["registry read failed: denied"]
    assert (status_of(body, "g"), status_of(body, "h")) == ("UNKNOWN", "CONSISTENT")


def test_a13_a14_a17_data_agents_are_not_asked_for_the_registry(tmp_path):
    async def play(proxy):
        groups = always(lifecycle("p1", [schema_group("g", FOO)]))
        told = {LIFECYCLE: groups, REGISTRY: always(*registry({"g": [FOO]}))}
        async with EvidentAgent(proxy, "p1", "ROLE_DATA", **told) as agent:
            return await body_of(proxy), [method for method, _ in agent.heard]

    body, heard = scene(tmp_path, play)

    words = "no schema-serving (liaison) agent available to read the registry"
    assert group_of(body, "g")["errors"] == [f"registry unavailable: {words}"]
    assert heard == [LIFECYCLE]


def test_a15_a18_the_next_liaison_is_asked_when_one_fails(tmp_path):
    async def play(proxy):
        async with agents(
            proxy,
            teller(proxy, "p1", role=LIAISON),
            liaison(proxy, "p2", [schema_group("g", FOO)], {"g": [FOO]}),
            teller(proxy, "p3", role=LIAISON),
        ):
            return await body_of(proxy)

    assert status_of(scene(tmp_path, play), "g") == "CONSISTENT"


# ---- reading the registry -----------------------------------------------------------------------


def read(*messages):
    reading = codec.RegistryRead()
    for message in messages:
        whole = reading.take(message.SerializeToString())
    return whole


def test_s01_pieces_of_one_group_are_joined_and_done_ends_it():
    more = registry({"g": [("stream", "s", 1)]}, done=False)
    whole = read(*registry({"g": [FOO]}, done=False), *more, *registry({"h": []}))

    assert whole.groups["g"].objects == {("measure", "foo"): "100", ("stream", "s"): "1"}
    assert (list(whole.groups), whole.fatal) == (["g", "h"], "")


def test_s04_error_without_a_group_is_fatal():
    end = fodc.StreamSchemaRegistryRequest(done=True)
    whole = read(registry_error("", "no way"), end)

    assert (whole.fatal, whole.groups) == ("no way", {})


def test_recorded_registry_of_a_data_node_is_fatal():
    end = fodc.StreamSchemaRegistryRequest(done=True)
    first = fodc.StreamSchemaRegistryRequest.FromString(recorded("0012-A2P-StreamSchemaRegistry"))

    assert "unknown service" in read(first, end).fatal


def test_s03_s05_read_without_an_end_ends_at_the_deadline_and_its_rest_blocks_nobody(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(views, "LIFECYCLE_PATIENCE_S", 3.0)

    async def play(proxy):
        groups = always(lifecycle("p1", [schema_group("g", FOO)]))
        pieces = always(*registry({"g": [FOO]}, done=False))
        told = {LIFECYCLE: groups, REGISTRY: pieces}
        async with EvidentAgent(proxy, "p1", LIAISON, **told) as agent:
            body = await body_of(proxy)
            for _ in range(50):
                await agent.say(REGISTRY, registry({"late": [FOO]})[0])
            agent.gives[REGISTRY] = always(*registry({"g": [FOO]}))
            await agent.say(REGISTRY, fodc.StreamSchemaRegistryRequest(done=True))
            await until(lambda: proxy.fodc.evidence.reading == 0)
            return body, await body_of(proxy)

    first, second = scene(tmp_path, play)

    assert "no answer within 3 s" in group_of(first, "g")["errors"][0]
    assert status_of(second, "g") == "CONSISTENT"


def test_s06_liaison_without_the_stream_says_so(tmp_path):
    async def play(proxy):
        async with teller(proxy, "p1", schema_group("g", FOO), role=LIAISON):
            return await body_of(proxy)

    (error,) = group_of(scene(tmp_path, play), "g")["errors"]

    assert "schema registry stream not established" in error


def test_s07_disconnect_wakes_the_read_at_once(tmp_path):
    async def play(proxy):
        groups = always(lifecycle("p1", [schema_group("g", FOO)]))
        told = {LIFECYCLE: groups, REGISTRY: silence}
        async with EvidentAgent(proxy, "p1", LIAISON, **told) as agent:
            asking = asyncio.create_task(body_of(proxy))
            await agent.asked(REGISTRY)
            agent.streams[REGISTRY].cancel()
            async with asyncio.timeout(3):
                return await asking

    (error,) = group_of(scene(tmp_path, play), "g")["errors"]

    assert "agent disconnected during registry read" in error


# ---- metrics and the timer ----------------------------------------------------------------------


def test_a12_verdicts_stand_on_the_unfiltered_page_and_their_age_always(tmp_path, clock):
    """A group without a verdict has no sample."""

    async def play(proxy):
        before = (await fetch(proxy, "/metrics")).text
        async with liaison(proxy, "p1", [schema_group("g", FOO), {"name": "h"}], {"g": [FOO]}):
            await body_of(proxy)
            clock[0] += 42_000
            page = (await fetch(proxy, "/metrics")).text
            return before, page, (await fetch(proxy, "/metrics?role=liaison")).text

    before, page, filtered = scene(tmp_path, play)

    assert "fodc_proxy_schema_check_age_seconds NaN\n" in before
    assert "fodc_proxy_schema_check_age_seconds 42\n" in page
    name = "banyandb_fodc_schema_consistency_status"
    assert (
        f"# HELP {name} Schema consistency verdict per group "
        "(1=CONSISTENT, 2=INCONSISTENT, 3=UNKNOWN).\n"
        f'# TYPE {name} gauge\n{name}{{group="g"}} 1\n'
    ) in page
    assert 'group="h"' not in page
    assert name not in filtered


def test_the_schema_is_looked_after_without_anybody_asking(tmp_path):
    """§10.4.5: no call, no gauge, no progress."""

    async def play(proxy):
        async with liaison(proxy, "p1", [schema_group("g", FOO)], {"g": [FOO]}) as agent:
            await agent.asked(REGISTRY)
            await until(lambda: len(list(proxy.views.samples())) > 1)
            return (await fetch(proxy, "/metrics")).text

    page = scene(tmp_path, play, schema_check_interval_s=0.05)

    assert 'banyandb_fodc_schema_consistency_status{group="g"} 1\n' in page


# ---- what an agent may tell ---------------------------------------------------------------------


def told(**fields):
    made = lifecycle("p1", [fodc.GroupLifecycleInfo(**fields)])
    return made.SerializeToString()


def report(filename="a.json", size=0):
    made = fodc.StreamLifecycleRequest()
    made.lifecycle_data.reports.add(filename=filename, report_json="x" * size)
    return made.SerializeToString()


def many_groups():
    return lifecycle("p1", [{"name": "g"}] * (codec.MOST_GROUPS + 1)).SerializeToString()


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"\xff", "not a StreamLifecycleRequest"),
        (told(name="g\n"), "group.name"),
        (told(name="x" * 600), "group.name"),
        (told(name="g", errors=["e"] * 300), "group.errors"),
        (report("../" + "x" * 200), "report.filename"),
        (report(size=codec.REPORT_BYTES + 1), "report.report_json"),
        (many_groups(), "lifecycle_data.groups"),
        (lifecycle("no pod").SerializeToString(), "pod_name"),
    ],
)
def test_what_breaks_a_bound_is_refused_with_the_name_of_its_field(data, field):
    with pytest.raises(WireError, match=field):
        codec.decode_lifecycle(data)


def test_errors_of_groups_are_cut_and_cleaned():
    (group,) = codec.decode_lifecycle(told(name="g", errors=["a\nb" + "x" * 5000])).groups

    assert group.errors[0].startswith("a b")
    assert len(group.errors[0]) == 1024


def test_registry_is_bounded_over_all_its_pieces(monkeypatch):
    monkeypatch.setattr(codec, "MOST_OBJECTS", 3)
    reading = codec.RegistryRead()
    piece, _ = registry({"g": [FOO, ("measure", "bar", 1)]})
    reading.take(piece.SerializeToString())

    with pytest.raises(WireError, match="at most 3 objects"):
        reading.take(piece.SerializeToString())
