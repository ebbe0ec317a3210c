# SPDX-License-Identifier: Apache-2.0
"""`/diagnostics` over real sockets: upstream-proxy §6.8, §11; I13, X01."""

import asyncio
import json
import time

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fodc_protocol.occurrences import OccurrenceKind
from fodc_proxy.evidence import crashes as rules
from fodc_proxy.evidence.findings import Origin
from fodc_proxy.evidence.incidents.occurrence import Occurrence
from fodc_proxy.evidence.index import Index
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.existing import findings as codec
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

from ..evident import (  # noqa: TID252 - one folder's tests
    CRASHES,
    DATA,
    PRESSURE,
    EvidentAgent,
    always,
    recorded,
    silence,
)
from ..live import GoAgent, fetch, running, until  # noqa: TID252 - as above

PATH = "/diagnostics"
RECORDED = json.loads((DATA / "proxy-http" / "diagnostics.json").read_text())


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def crash(name, value="boom", **told):
    made = fodc.StreamCrashDiagnosticsRequest(
        artifact_dir=name, source_endpoint="file:///crash", **told
    )
    made.panic_record.component = "data"
    made.panic_record.panic_value = value
    return made


def stamped(told, text):
    stamp = Timestamp()
    stamp.FromJsonString(text)
    told.CopyFrom(stamp)


def as_agents_told(one):
    """A recorded crash as its agent told it."""
    made = fodc.StreamCrashDiagnosticsRequest(
        source_endpoint=one["source_endpoint"],
        artifact_dir=one["artifact_dir"],
        files=one["files"],
    )
    stamped(made.fetched_at, one["fetched_at"])
    told, record = one["panic_record"], made.panic_record
    stamped(record.occurred_at, told["occurred_at"])
    record.component, record.panic_value = told["component"], told["panic_value"]
    record.goroutine_stack, record.recovered = told["goroutine_stack"], told["recovered"]
    record.process_metadata.update(told["process_metadata"])
    for crumb in told["breadcrumbs"]:
        added = record.breadcrumbs.add(stage=crumb["stage"], component=crumb["component"])
        stamped(added.time, crumb["occurred_at"])
        added.fields.update(crumb.get("fields", {}))
    return made


async def names(proxy, query=""):
    return [one["artifact_dir"] for one in json.loads((await fetch(proxy, PATH + query)).text)]


def test_recorded_crashes_give_the_recorded_body_field_by_field(tmp_path):
    """All three agents' crashes; ids of agents are the proxy's own. T-CR-10: as JSON."""

    async def play(proxy):
        agents = [
            EvidentAgent(
                proxy, one["pod_name"], one["role"], **{CRASHES: always(as_agents_told(one))}
            )
            for one in RECORDED
        ]
        for agent in agents:
            await agent.start()
        told = await fetch(proxy, PATH)
        for agent in agents:
            await agent.close()
        return told, {agent.pod_name: agent.agent_id for agent in agents}

    told, ids = scene(tmp_path, play)

    wanted = [{**one, "agent_id": ids[one["pod_name"]]} for one in RECORDED]
    wanted.sort(key=lambda one: one["pod_name"])
    assert json.dumps(json.loads(told.text)) == json.dumps(wanted)
    assert told.headers["Content-Type"] == "application/json"


def test_recorded_frame_is_that_crash(tmp_path):
    async def play(proxy):
        told = always(recorded("0010-A2P-StreamCrashDiagnostics"))
        async with EvidentAgent(proxy, "pod-data2", **{CRASHES: told}) as agent:
            return json.loads((await fetch(proxy, PATH)).text), agent.agent_id

    (told,), agent_id = scene(tmp_path, play)

    (wanted,) = [one for one in RECORDED if one["pod_name"] == "pod-data2"]
    again = {"agent_id": agent_id, "fetched_at": told["fetched_at"]}
    assert told == {**wanted, **again}


def test_i13_several_crashes_of_two_agents_and_one_that_comes_later(tmp_path):
    async def play(proxy):
        first = EvidentAgent(proxy, "p1", **{CRASHES: always(crash("a1"), crash("a2"))})
        second = EvidentAgent(proxy, "p2", **{CRASHES: always(crash("b1"))})
        async with first, second:
            before = await names(proxy)
            second.gives[CRASHES] = always(crash("b1"), crash("b2"))
            return before, await names(proxy)

    before, after = scene(tmp_path, play)

    assert (before, after) == (["a1", "a2", "b1"], ["a1", "a2", "b1", "b2"])


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("?role=ROLE_DATA", ["a1"]),
        ("?role=data", ["a1"]),
        ("?pod_name=P2", ["b1"]),
        ("?pod_name=nobody", []),
        ("?role=data&pod_name=p2", []),
        ("?address=passed-over", ["a1", "b1"]),
    ],
)
def test_role_and_pod_choose_in_any_case(tmp_path, query, wanted):
    async def play(proxy):
        async with (
            EvidentAgent(proxy, "p1", **{CRASHES: always(crash("a1"))}),
            EvidentAgent(proxy, "p2", "ROLE_LIAISON", **{CRASHES: always(crash("b1"))}),
        ):
            return await names(proxy, query)

    assert scene(tmp_path, play) == wanted


def test_word_that_is_no_role_is_refused_in_plain_text(tmp_path):
    told = scene(tmp_path, lambda proxy: fetch(proxy, PATH + "?role=nonsense"))

    assert told.status == 400
    assert told.text.startswith("role ")


def test_x01_without_an_agent_to_ask_what_is_known_comes_at_once(tmp_path, monkeypatch):
    """The agent and its pod have gone."""
    monkeypatch.setattr(rules, "LONGEST_S", 20.0)

    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{CRASHES: always(crash("a1"))}):
            await names(proxy)
        await until(lambda: not proxy.registry.find("p1").is_living)
        async with asyncio.timeout(rules.LONGEST_S / 2):
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert [one["artifact_dir"] for one in json.loads(told.text)] == ["a1"]
    assert told.headers["X-FODC-Missing"] == "p1"


def test_agents_without_crashes_cost_two_seconds_and_not_more(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "LONGEST_S", 0.2)

    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{CRASHES: silence}):
            async with asyncio.timeout(2):
                return await fetch(proxy, PATH)

    assert scene(tmp_path, play).text == "[]\n"


def test_crash_is_kept_before_anybody_asks_and_outlives_agent_and_proxy(tmp_path):
    async def first(proxy):
        async with EvidentAgent(proxy, "p1", **{CRASHES: always(crash("a1"), crash("a2"))}):
            await until(lambda: len(proxy.diagnostics.store) == 2)
        return (await fetch(proxy, "/artifacts")).text

    listed = json.loads(scene(tmp_path, first))["artifacts"]
    after = scene(tmp_path, names)

    assert {(one["profile"], one["format"], one["pod_name"]) for one in listed} == {
        ("crash", "json", "p1")
    }
    assert listed[0]["file_name"].endswith(".json")
    assert after == ["a1", "a2"]


def test_a_crash_that_an_agent_speaks_of_is_asked_for_at_once(tmp_path):
    """Not with the next round, half a minute later: its pod may have gone by then."""

    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{CRASHES: silence}) as agent:
            await agent.asked(CRASHES)
            agent.gives[CRASHES] = always(crash("a1"))
            origin = Origin("", "p1", "ROLE_DATA", agent.agent_id)
            kind = OccurrenceKind.CRASH
            told = Occurrence(origin, "i1", 1, time.time_ns() // 1_000_000, kind, "a crash", {})
            await proxy.incidents.take(told)
            await until(lambda: len(proxy.diagnostics.store) == 1)
            (stored,) = proxy.diagnostics.store.select()
            held = proxy.incidents.artifact_ids
            await until(lambda: stored.manifest.artifact_id in held())

    scene(tmp_path, play)


def test_no_crash_waits_for_an_agent_that_never_ends_its_list_of_pressure(tmp_path, monkeypatch):
    monkeypatch.setattr("fodc_proxy.evidence.pressures.LIST_S", 600)

    async def play(proxy):
        async with (
            EvidentAgent(proxy, "p1", **{PRESSURE: silence}) as slow,
            EvidentAgent(proxy, "p2", **{CRASHES: silence}) as agent,
        ):
            await slow.asked(PRESSURE)
            await names(proxy)
            await agent.say(CRASHES, crash("a1"))
            await until(lambda: len(proxy.diagnostics.store) == 1)

    scene(tmp_path, play)


def test_crash_that_is_told_again_is_stored_once_and_one_that_changed_anew(tmp_path):
    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{CRASHES: always(crash("a1"))}) as agent:
            await until(lambda: len(proxy.diagnostics.store) == 1)
            (before,) = proxy.diagnostics.store.select()
            await names(proxy)
            await names(proxy)
            (same,) = proxy.diagnostics.store.select()
            agent.gives[CRASHES] = always(crash("a1", files=["panic.json", "deep-dump.json"]))
            await names(proxy)
            await until(lambda: proxy.diagnostics.store.select() != (same,))
            return before, same, len(proxy.diagnostics.store)

    before, same, count = scene(tmp_path, play)

    assert (before, count) == (same, 1)


def test_crash_whose_artifact_was_removed_is_shown_no_more(tmp_path):
    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{CRASHES: always(crash("a1"))}):
            await until(lambda: len(proxy.diagnostics.store) == 1)
            (stored,) = proxy.diagnostics.store.select()
            await fetch(proxy, f"/artifacts/{stored.manifest.artifact_id}", "DELETE")
            return await names(proxy)

    assert scene(tmp_path, play) == []


def test_crash_that_nobody_asked_for_is_dropped_and_counted(tmp_path):
    """An agent that never stops telling of crashes."""

    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{CRASHES: silence}) as agent:
            await agent.asked(CRASHES)
            for number in range(rules.MOST_TOLD + 7):
                await agent.say(CRASHES, crash(f"a{number:03}"))
            await until(lambda: proxy.findings.crashes.dropped >= 7)
            return (await fetch(proxy, "/metrics")).text

    assert "fodc_proxy_crashes_dropped_total 7.0\n" in scene(tmp_path, play)


def test_agents_without_the_stream_are_missing(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "p1"):
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert (told.text, told.headers["X-FODC-Missing"]) == ("[]\n", "p1")


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_other_methods_are_refused_as_recorded(tmp_path, method):
    assert scene(tmp_path, lambda proxy: fetch(proxy, PATH, method)).status == 405


# ---- what an agent may tell ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (b"\xff", "not a StreamCrashDiagnosticsRequest"),
        (crash("a\n"), "artifact_dir"),
        (crash("a", files=["x" * 300]), "files"),
        (crash("a", files=["x"] * 65), "files"),
        (crash("a", value="x" * (codec.CRASH_BYTES + 1)), "crash must have at most"),
    ],
)
def test_what_breaks_a_bound_is_refused_with_the_name_of_its_field(message, field):
    data = message if isinstance(message, bytes) else message.SerializeToString()

    with pytest.raises(WireError, match=field):
        codec.decode_crash(data)


def test_message_without_a_crash_is_passed_over():
    assert codec.decode_crash(b"") is None


def test_stack_keeps_its_lines_and_is_cut():
    made = crash("a")
    made.panic_record.goroutine_stack = "goroutine 1\n\tmain.go:1\n" + "x" * 600_000

    told = codec.decode_crash(made.SerializeToString())

    assert told.panic_record.goroutine_stack.startswith("goroutine 1\n\tmain.go:1\n")
    assert len(told.panic_record.goroutine_stack) == codec.STACK_CHARACTERS


def test_absent_times_are_gos_zero():
    told = codec.decode_crash(crash("a").SerializeToString())

    assert told.fetched_at == "0001-01-01T00:00:00Z"
    assert told.panic_record.occurred_at == "0001-01-01T00:00:00Z"


def test_secrets_that_a_panic_shows_are_masked():
    made = crash("a", value="dial: postgres://joe:hunter2secret@db/x failed")
    made.panic_record.process_metadata["password"] = "hunter2secret"
    made.panic_record.breadcrumbs.add(stage="s").fields["token"] = "hunter2secret"

    told = codec.decode_crash(made.SerializeToString())

    assert "hunter2secret" not in repr(told)


class Left:
    def __init__(self, address, name):
        self.address, self.name = address, name


def test_each_node_has_places_of_its_own():
    index = Index(most_of_a_node=2, most_nodes=2)
    index.put(Left("quiet", "2020"))
    gone = [one.name for n in range(5) for one in index.put(Left("loud", f"202{n}"))]

    assert gone == ["2020", "2021", "2022"]
    assert [(one.address, one.name) for one in index.all()] == [
        ("loud", "2023"),
        ("loud", "2024"),
        ("quiet", "2020"),
    ]
    assert [one.address for one in index.put(Left("third", "1"))] == ["quiet"]
