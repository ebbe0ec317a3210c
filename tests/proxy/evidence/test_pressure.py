# SPDX-License-Identifier: Apache-2.0
"""`/pressure-profiles` over real sockets: §6.9, §6.10, §12; P01 to P08, Q01 to Q03, I14."""

import asyncio
import base64
import hashlib
import json

import aiohttp
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fodc_proxy.evidence import pressures as rules
from fodc_proxy.evidence.findings import ListRound
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.existing import findings as codec
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

from ..evident import DATA, PRESSURE, EvidentAgent  # noqa: TID252 - one folder's tests
from ..live import GoAgent, fetch, running, until  # noqa: TID252 - as above

PATH = "/pressure-profiles"
RECORDED = json.loads((DATA / "proxy-http" / "pressure.json").read_text())
HEAP = b"heap" * 700_000
STACKS = b"goroutine" * 10


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def event(name, **sizes):
    made = fodc.PressureProfileRecord(
        profile_id=name, rss_bytes=900, cgroup_limit_bytes=1000, trigger_percent=75
    )
    for type_, size_bytes in (sizes or {"heap": len(HEAP), "goroutine": len(STACKS)}).items():
        made.profiles.add(
            type=type_,
            filename=f"{type_}.pprof",
            filepath=f"/p/{name}/{type_}.pprof",
            format="pprof",
            size_bytes=size_bytes,
        )
    return made


def as_agents_told(one):
    """A recorded event as its agent told it."""
    keys = ("profile_id", "source_endpoint", "rss_bytes", "cgroup_limit_bytes")
    told = {key: one[key] for key in (*keys, "threshold_bytes", "trigger_percent")}
    made = fodc.PressureProfileRecord(**told)
    stamp = Timestamp()
    stamp.FromJsonString(one["captured_at"])
    made.captured_at.CopyFrom(stamp)
    for profile in one["profiles"]:
        made.profiles.add(**profile)
    return made


def said(**one):
    return fodc.StreamPressureProfilesRequest(**one).SerializeToString()


def chunk(request_id, data=b"", *, last=False, error=""):
    made = fodc.PressureProfileChunk(request_id=request_id, data=data, last=last, error=error)
    return said(chunk=made)


class Node:
    """Events and profiles of one node, and how it serves them."""

    def __init__(self, *events, **content):
        self.events = list(events)
        self.content = content or {"heap": HEAP, "goroutine": STACKS}
        self.fetches = []
        self.lists = 0
        self.piece_bytes = 1024 * 1024
        self.error = ""
        self.serves = True

    def __call__(self, data):
        command = fodc.StreamPressureProfilesResponse.FromString(data)
        if command.HasField("list_profiles"):
            self.lists += 1
            for one in self.events:
                yield said(record=one)
            request_id = command.list_profiles.request_id
            yield said(list_complete=fodc.ListComplete(request_id=request_id))
            return
        self.fetches.append(command.fetch_profile)
        if self.serves:
            yield from self.profile(command.fetch_profile)

    def profile(self, asked):
        if self.error:
            yield chunk(asked.request_id, error=self.error, last=True)
            return
        data = self.content[asked.type]
        for at in range(0, len(data), self.piece_bytes):
            yield chunk(asked.request_id, data[at : at + self.piece_bytes])
        yield chunk(asked.request_id, last=True)


def agent_of(proxy, node, pod_name="p1", role="ROLE_DATA"):
    return EvidentAgent(proxy, pod_name, role, **{PRESSURE: node})


async def listed(proxy, query=""):
    return json.loads((await fetch(proxy, PATH + query)).text)


async def download(proxy, path, **headers):
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://{proxy.http_address}{PATH}/{path}") as response,
    ):
        return response.status, response.headers, await response.read()


async def stored(proxy, count):
    await until(lambda: len(proxy.diagnostics.store) >= count)


# ---- lists --------------------------------------------------------------------------------------


def test_recorded_events_give_the_recorded_body_field_by_field(tmp_path):
    async def play(proxy):
        node = Node(*map(as_agents_told, RECORDED))
        node.serves = False
        async with agent_of(proxy, node, "pod-pressure") as agent:
            return await fetch(proxy, PATH), agent.agent_id

    told, agent_id = scene(tmp_path, play)

    wanted = [{**one, "agent_id": agent_id} for one in RECORDED]
    assert told.text == json.dumps(wanted, separators=(",", ":")) + "\n"
    assert told.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("", ["a", "b"]), ("?role=data", ["a"]), ("?pod_name=P2", ["b"]), ("?pod_name=none", [])],
)
def test_role_and_pod_choose_in_any_case(tmp_path, query, wanted):
    async def play(proxy):
        async with (
            agent_of(proxy, Node(event("a"))),
            agent_of(proxy, Node(event("b")), "p2", "ROLE_LIAISON"),
        ):
            return [one["profile_id"] for one in await listed(proxy, query)]

    assert scene(tmp_path, play) == wanted


def test_p01_p02_p08_a_round_is_done_when_all_have_acknowledged():
    """P02: twice is harmless; P08: so is one that is not waited for."""
    running_ = ListRound({"a", "b"})

    assert running_.acknowledge("a")
    assert not running_.acknowledge("a")
    assert not running_.acknowledge("nobody")
    assert not running_.is_done
    assert running_.acknowledge("b")
    assert running_.is_done


def test_p03_a_silent_agent_ends_the_round_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "LIST_S", 2.0)

    async def play(proxy):
        async with (
            EvidentAgent(proxy, "p1", **{PRESSURE: lambda _data: ()}),
            agent_of(proxy, Node(event("b")), "p2"),
        ):
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert [one["profile_id"] for one in json.loads(told.text)] == ["b"]
    assert told.headers["X-FODC-Missing"] == "p1"


def test_p04_without_agents_a_round_is_over_at_once(tmp_path):
    async def play(proxy):
        async with asyncio.timeout(2):
            return await listed(proxy)

    assert scene(tmp_path, play) == []


def test_p05_p07_an_agent_that_goes_is_waited_for_no_more(tmp_path):
    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{PRESSURE: lambda _data: ()}) as agent:
            asking = asyncio.create_task(fetch(proxy, PATH))
            await agent.asked(PRESSURE)
            agent.registration.cancel()
            async with asyncio.timeout(5):
                return (await asking).text

    assert scene(tmp_path, play) == "[]\n"


def test_p06_an_agent_that_cannot_be_asked_is_missing(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "p1"):
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert (told.text, told.headers["X-FODC-Missing"]) == ("[]\n", "p1")


def test_q01_q02_a_list_replaces_the_last_but_for_what_is_stored(tmp_path):
    """Q01: what was evicted and never fetched vanishes; Q02: of that agent alone."""

    async def play(proxy):
        first, second = Node(event("a1"), event("a2")), Node(event("b1"))
        second.serves = False
        async with agent_of(proxy, first), agent_of(proxy, second, "p2"):
            await stored(proxy, 6)
            first.serves = False
            first.events = [event("a3")]
            second.events = [event("b1"), event("b2")]
            before = [one["profile_id"] for one in await listed(proxy)]
            second.events = [event("b2")]
            return before, [one["profile_id"] for one in await listed(proxy)]

    before, after = scene(tmp_path, play)

    assert before == ["a1", "a2", "a3", "b1", "b2"]
    assert after == ["a1", "a2", "a3", "b2"]


def test_q03_of_an_agent_that_has_gone_what_is_stored_stays(tmp_path):
    async def play(proxy):
        kept, lost = Node(event("a")), Node(event("b"))
        lost.serves = False
        async with agent_of(proxy, kept), agent_of(proxy, lost, "p2"):
            await stored(proxy, 3)
            await until(lambda: lost.fetches)
        await until(lambda: not proxy.registry.find("p2").is_living)
        return [one["profile_id"] for one in await listed(proxy)]

    assert scene(tmp_path, play) == ["a"]


# ---- downloads ----------------------------------------------------------------------------------


def test_i14_profiles_are_those_of_the_agent_with_length_and_checksum(tmp_path):
    async def play(proxy):
        node = Node(event("20261121T070640.503381653Z"))
        async with agent_of(proxy, node, role="standalone"):
            await listed(proxy)
            name = "p1/20261121T070640.503381653Z"
            heap = await download(proxy, f"{name}/heap")
            return heap, await download(proxy, f"{name}/goroutine"), node

    (status, headers, heap), (_, _, stacks), node = scene(tmp_path, play)

    assert (status, heap, stacks) == (200, HEAP, STACKS)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Length"] == str(len(HEAP))
    digest = base64.b64encode(hashlib.sha256(HEAP).digest()).decode()
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"
    name = "p1-standalone-20261121T070640.503381653Z-heap.pprof"
    assert headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert {one.filepath for one in node.fetches} == {
        "/p/20261121T070640.503381653Z/heap.pprof",
        "/p/20261121T070640.503381653Z/goroutine.pprof",
    }


def test_profile_is_fetched_once_and_outlives_agent_and_proxy(tmp_path):
    """The pod is gone, and so is the proxy that fetched it."""
    node = Node(event("a"))

    async def first(proxy):
        async with agent_of(proxy, node):
            await stored(proxy, 3)
            await download(proxy, "p1/a/heap")
            return [one.type for one in node.fetches]

    async def second(proxy):
        return await listed(proxy), await download(proxy, "p1/a/heap")

    fetched = scene(tmp_path, first)
    (one,), (status, _, data) = scene(tmp_path, second)

    assert fetched == ["heap", "goroutine"]
    assert (one["pod_name"], one["rss_bytes"], one["profile_id"]) == ("p1", 900, "a")
    assert (status, data) == (200, HEAP)


def test_range_of_a_profile_may_be_asked_for(tmp_path):
    async def play(proxy):
        async with agent_of(proxy, Node(event("a"))):
            await stored(proxy, 3)
            return await download(proxy, "p1/a/heap", Range="bytes=4-7")

    status, headers, data = scene(tmp_path, play)

    assert (status, data) == (206, b"heap")
    assert headers["Content-Range"] == f"bytes 4-7/{len(HEAP)}"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("p1/a/cpu", 400, "Unknown profile type\n"),
        ("p1/none/heap", 404, "Profile not found\n"),
        ("nope/a/heap", 404, "Profile not found\n"),
        ("p1/heap-only/goroutine", 404, "Profile not found\n"),
        ("p1/a", 404, "404 page not found\n"),
        ("", 404, "404 page not found\n"),
    ],
)
def test_what_is_not_there_is_told_as_recorded(tmp_path, path, status, text):
    async def play(proxy):
        node = Node(event("a"), event("heap-only", heap=len(HEAP)))
        async with agent_of(proxy, node):
            return await download(proxy, path)

    told = scene(tmp_path, play)

    assert (told[0], told[2].decode()) == (status, text)


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("path", [PATH, f"{PATH}/p1/a/heap"])
def test_other_methods_are_refused_as_recorded(tmp_path, method, path):
    told = scene(tmp_path, lambda proxy: fetch(proxy, path, method))

    assert told.status == 405
    assert told.text == ("" if method == "HEAD" else "Method not allowed\n")


async def refused(proxy, agent):
    status, _, body = await download(proxy, "p1/a/heap")
    assert status == 404
    return body.decode().replace(agent.agent_id, "X")


def test_error_of_the_agent_is_told(tmp_path):
    async def play(proxy):
        node = Node(event("a"))
        node.error = "open /p: permission denied"
        async with agent_of(proxy, node) as agent:
            return await refused(proxy, agent)

    wanted = "agent failed to serve profile: open /p: permission denied"
    assert scene(tmp_path, play) == f"Profile not available: {wanted}\n"


def test_agent_that_goes_while_it_sends_is_told(tmp_path, caplog):
    """Whoever began to fetch hears of it at once; who came later finds no stream to ask on."""

    async def play(proxy):
        node = Node(event("a"))
        node.serves = False
        async with agent_of(proxy, node) as agent:
            await until(lambda: node.fetches)
            asking = asyncio.create_task(refused(proxy, agent))
            await until(lambda: proxy.findings.pressures.fetching > 1)
            agent.streams[PRESSURE].cancel()
            return await asking, agent.agent_id

    text, agent_id = scene(tmp_path, play)

    assert f"agent {agent_id} disconnected during profile fetch" in caplog.text
    words = "pressure profiles stream not established for agent ID: X"
    assert text == f"Profile not available: {words}\n"


def test_chunk_that_is_late_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "CHUNK_S", 0.2)

    async def play(proxy):
        node = Node(event("a"))
        node.serves = False
        async with agent_of(proxy, node) as agent:
            return await refused(proxy, agent)

    words = "timed out waiting for profile chunk from agent ID: X"
    assert scene(tmp_path, play) == f"Profile not available: {words}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEAP + b"more", f"more than the {len(HEAP)} bytes that were announced"),
        (HEAP[:-1], f"{len(HEAP) - 1} of {len(HEAP)} announced bytes came"),
    ],
)
def test_profile_of_another_length_is_not_kept(tmp_path, content, words):
    """W11: nobody could tell that it was cut."""

    async def play(proxy):
        node = Node(event("a", heap=len(HEAP)), heap=content)
        async with agent_of(proxy, node) as agent:
            told = await refused(proxy, agent)
            return told, [one.manifest.profile for one in proxy.diagnostics.store.select()]

    told, kept = scene(tmp_path, play)

    assert told == f"Profile not available: {words}\n"
    assert kept == ["pressure"]


def test_chunks_for_nobody_are_dropped(tmp_path):
    async def play(proxy):
        node = Node(event("a"))
        async with agent_of(proxy, node) as agent, agent_of(proxy, Node(), "p2") as other:
            await other.say(PRESSURE, chunk("nobody", b"x", last=True))
            await agent.say(PRESSURE, chunk("nobody", b"x", last=True))
            return (await download(proxy, "p1/a/heap"))[2]

    assert scene(tmp_path, play) == HEAP


def test_agents_that_come_again_are_asked_as_they_are_now(tmp_path):
    """W5: a pod with two entries gave a download of the dead one."""

    async def play(proxy):
        node = Node(event("a"))
        node.serves = False
        async with agent_of(proxy, node):
            await listed(proxy)
        again = Node(event("a"))
        async with agent_of(proxy, again):
            return (await download(proxy, "p1/a/heap"))[2]

    assert scene(tmp_path, play) == HEAP


# ---- what an agent may tell ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"\xff", "not a StreamPressureProfilesRequest"),
        (said(record=event("")), "profile_id"),
        (said(record=event("a\n")), "profile_id"),
        (said(record=event("a", heap=-1)), "profile.size_bytes"),
        (said(record=event("a", heap=2**40)), "profile.size_bytes"),
        (said(record=event("a", **{f"t{n}": 1 for n in range(17)})), "profiles"),
        (chunk("r", b"x" * (codec.CHUNK_BYTES + 1)), "pressure must have at most"),
    ],
)
def test_what_breaks_a_bound_is_refused_with_the_name_of_its_field(data, field):
    with pytest.raises(WireError, match=field):
        codec.decode_pressure(data)
