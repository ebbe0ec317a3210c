# SPDX-License-Identifier: Apache-2.0
"""Evidence on our own link, over real sockets: pieces, ends, failures and bounds."""

import asyncio
import json

import pytest

from fodc_proxy.evidence import crashes
from fodc_proxy.wire import link_evidence
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from fodc_wire.fodc.v1 import agent_link_pb2 as link

from ..evident import (  # noqa: TID252 - one folder's tests
    lifecycle,
    node,
    registry,
    schema_group,
    topology,
)
from ..live import LinkAgent, fetch, running, until  # noqa: TID252 - as above

TOPOLOGY, LIFECYCLE, DIAGNOSTICS = "/cluster/topology", "/cluster/lifecycle", "/diagnostics"


class Teller(LinkAgent):
    """Answers questions of a kind with messages, in pieces of so many bytes."""

    def __init__(self, proxy, pod_name, **tells):
        super().__init__(proxy, pod_name)
        self.tells = tells
        self.piece_bytes = 7
        self.ends = True
        self.refuses = ""

    async def answer_crashes(self, asked):
        await self.answer(asked)

    async def answer(self, asked):
        kind = asked.WhichOneof("frame")
        query_id = getattr(asked, kind).query_id
        if self.refuses:
            failed = link.QueryFailed(query_id=query_id, reason=self.refuses, message="no")
            await self.say(query_failed=failed)
        elif kind in self.tells:
            await self.tell(query_id, self.tells[kind])
        elif kind == "crashes_query":
            await super().answer_crashes(asked)
        else:
            await super().answer(asked)

    async def tell(self, query_id, messages):
        for message in messages:
            data = message if isinstance(message, bytes) else message.SerializeToString()
            pieces = [
                data[at : at + self.piece_bytes] for at in range(0, len(data), self.piece_bytes)
            ]
            for number, piece in enumerate(pieces, start=1):
                whole = number == len(pieces)
                await self.say(evidence=link.Evidence(query_id=query_id, data=piece, whole=whole))
        if self.ends:
            await self.say(evidence=link.Evidence(query_id=query_id, last=True))


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **{"schema_check_interval_s": 0, **told}) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def crash(name):
    made = fodc.StreamCrashDiagnosticsRequest(artifact_dir=name)
    made.panic_record.panic_value = "boom"
    return made


def test_messages_in_pieces_are_whole_again(tmp_path):
    async def play(proxy):
        told = {
            "topology_query": [topology([node("a"), node("b")], ("a", "b"))],
            "lifecycle_query": [lifecycle("p1", [{"name": "g"}])],
            "crashes_query": [crash("c1"), crash("c2")],
        }
        async with Teller(proxy, "p1", **told):
            answers = [await fetch(proxy, path) for path in (TOPOLOGY, LIFECYCLE, DIAGNOSTICS)]
            return [json.loads(one.text) for one in answers]

    cluster, groups, crashed = scene(tmp_path, play)

    assert [one["metadata"]["name"] for one in cluster["nodes"]] == ["a", "b"]
    assert [one["name"] for one in groups["groups"]] == ["g"]
    assert [(one["pod_name"], one["artifact_dir"]) for one in crashed] == [
        ("p1", "c1"),
        ("p1", "c2"),
    ]


def test_a_registry_is_read_through_the_link_of_a_liaison(tmp_path):
    """In pieces that cut its messages, as every answer on the link."""

    async def play(proxy):
        agent = Teller(
            proxy,
            "p1",
            lifecycle_query=[lifecycle("p1", [schema_group("g", ("measure", "m", 7))])],
            registry_query=registry({"g": [("measure", "m", 7)]}),
        )
        agent.role = "ROLE_LIAISON"
        async with agent:
            return json.loads((await fetch(proxy, LIFECYCLE)).text)["groups"]

    (group,) = scene(tmp_path, play)

    assert group["errors"] == []
    assert group["schema_consistency"]["status"] == "CONSISTENCY_STATUS_CONSISTENT"


def test_crashes_are_asked_for_when_an_agent_links(tmp_path):
    async def play(proxy):
        async with Teller(proxy, "p1", crashes_query=[crash("c1")]):
            await until(lambda: len(proxy.diagnostics.store) == 1)

    scene(tmp_path, play)


def test_agent_that_has_told_all_crashes_is_waited_for_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(crashes, "LONGEST_S", 20.0)

    async def play(proxy):
        async with Teller(proxy, "p1", crashes_query=[]):
            async with asyncio.timeout(crashes.LONGEST_S / 2):
                return (await fetch(proxy, DIAGNOSTICS)).text

    assert scene(tmp_path, play) == "[]\n"


def test_agent_that_has_no_answer_is_missing_with_its_reason(tmp_path):
    """A kind that it cannot tell is not asked for, as the summary has it."""

    async def play(proxy):
        agent = Teller(proxy, "p1")
        agent.refuses = "Unsupported"
        async with agent:
            async with asyncio.timeout(crashes.LONGEST_S * 2):
                answers = [await fetch(proxy, path) for path in (TOPOLOGY, LIFECYCLE, DIAGNOSTICS)]
            agent.refuses = "NodeUnreachable"
            return answers, json.loads((await fetch(proxy, LIFECYCLE)).text)

    (cluster, groups, _), failed = scene(tmp_path, play)

    assert cluster.headers["X-FODC-Missing"] == "p1"
    assert json.loads(groups.text)["agent_summary"]["requested"] == 0
    assert failed["agent_summary"] == {
        "total": 1,
        "requested": 1,
        "responded": 0,
        "not_responded": 1,
    }


def test_end_without_a_message_is_a_failure(tmp_path):
    async def play(proxy):
        async with Teller(proxy, "p1", topology_query=[]):
            return (await fetch(proxy, TOPOLOGY)).headers["X-FODC-Missing"]

    assert scene(tmp_path, play) == "p1"


@pytest.mark.parametrize("message", [b"\xff\xff", topology([node("a\n")])])
def test_message_that_breaks_a_bound_costs_its_agent_its_part(tmp_path, message):
    async def play(proxy):
        async with Teller(proxy, "p1", topology_query=[message]):
            told = await fetch(proxy, TOPOLOGY)
            return told.headers["X-FODC-Missing"], proxy.link.evidence.garbage

    assert scene(tmp_path, play) == ("p1", 1)


def test_answer_without_an_end_takes_bounded_room(tmp_path, monkeypatch):
    monkeypatch.setattr(link_evidence, "MOST_BYTES", 1000)

    async def play(proxy):
        agent = Teller(proxy, "p1", topology_query=[b"x" * 2000])
        async with agent:
            async with asyncio.timeout(5):
                return (await fetch(proxy, TOPOLOGY)).headers["X-FODC-Missing"]

    assert scene(tmp_path, play, collection_timeout_s=30.0) == "p1"


def test_pieces_that_nobody_asked_for_are_dropped(tmp_path):
    async def play(proxy):
        async with Teller(proxy, "p1") as agent:
            for query_id in range(100, 200):
                await agent.say(evidence=link.Evidence(query_id=query_id, data=b"x"))
            await until(lambda: proxy.rounds.unasked_answers >= 100)
            return proxy.link.evidence.reading

    assert scene(tmp_path, play) == 0


def test_what_was_never_ended_is_let_go_when_it_is_asked_for_again(tmp_path):
    async def play(proxy):
        agent = Teller(proxy, "p1", crashes_query=[crash("c1")])
        agent.ends = False
        async with agent:
            for _ in range(3):
                await fetch(proxy, DIAGNOSTICS)
            return proxy.link.evidence.reading

    assert scene(tmp_path, play) <= 1
