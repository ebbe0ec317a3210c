# SPDX-License-Identifier: Apache-2.0
"""Kinds of profile that only the node knows: found in its index, told, taken."""

import asyncio

import pytest

from fodc_agent.captures.outcomes import Failed, order_of
from fodc_agent.captures.pprof import PprofPort, Taken
from fodc_agent.captures.spool import PartFile
from fodc_agent.lanes import Lane
from fodc_agent.node_state import profile_capabilities
from fodc_agent.profiler_probe import look_at_profiler
from fodc_agent.scraping.client import HttpClient
from fodc_protocol.errors import Reason
from fodc_protocol.link.frames import StartCapture
from fodc_protocol.profiles import Profile, TakenFrom

ROW = b"<tr><td>3</td><td><a href='goroutineleak?debug=1'>goroutineleak</a></td></tr>\n</table>"
ELSEWHERE = {TakenFrom.CONFIGURATION, TakenFrom.KERNEL}
NEWER = ("goroutineleak",)


@pytest.fixture
def newer_node(pprof_port, recorded):
    """A node of a release of Go that has one kind more; its pages by their path."""
    index = recorded("index.html").replace(b"</table>", ROW)
    pages = {
        "/debug/pprof/": index,
        "/debug/pprof/block": recorded("goroutine.pb.gz"),
        "/debug/pprof/mutex": recorded("goroutine.pb.gz"),
        "/debug/pprof/goroutineleak": recorded("goroutine.pb.gz"),
    }

    async def handle(target, writer):
        body = pages.get(target)
        line = b"404 Not Found" if body is None else b"200 OK"
        body = b"Unknown profile\n" if body is None else body
        head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (line, len(body)) + body)

    return pages, lambda: pprof_port(handle)


def seen(newer_node):
    async def run():
        client = HttpClient()
        async with newer_node[1]() as url:
            try:
                return await look_at_profiler(client, url, Lane("inspection"))
            finally:
                await client.aclose()

    return asyncio.run(run())


def told(facts):
    return {one.kind: (str(one.state), one.reason) for one in profile_capabilities(facts, "")}


def test_a_kind_of_the_index_that_nobody_knows_is_told_as_one_that_can_be_taken(newer_node):
    facts = seen(newer_node)

    assert facts.offered == NEWER
    assert told(facts)["goroutineleak"] == ("Supported", "")
    assert set(told(facts)) >= {kind for kind in Profile if kind.facts.taken_from not in ELSEWHERE}


def test_a_node_without_an_index_offers_the_known_kinds(newer_node):
    del newer_node[0]["/debug/pprof/"]

    facts = seen(newer_node)

    assert (facts.offered, facts.problem) == ((), "")
    assert "goroutineleak" not in told(facts)
    assert told(facts)["cpu"] == ("Supported", "")


def test_an_index_that_is_something_else_offers_nothing(newer_node):
    newer_node[0]["/debug/pprof/"] = b"\xff<a href='../../etc?x'>" + b"<a href=q" * 20_000

    assert seen(newer_node).offered == ()


def captured(newer_node, path, name):
    async def run():
        part = PartFile(path / "cmd-1.part", Lane("spool"))
        part.open()
        client = HttpClient()
        try:
            async with newer_node[1]() as url:
                port = PprofPort(client, url, Lane("inspection"))
                return await port.take(order_of(StartCapture("cmd-1", name, 0, 5_000)), part)
        finally:
            part.close()
            await client.aclose()

    return asyncio.run(run())


def test_a_kind_that_only_the_node_knows_is_taken_and_looked_into(newer_node, tmp_path):
    taken = captured(newer_node, tmp_path, "goroutineleak")

    assert isinstance(taken, Taken)
    assert (taken.samples or 0) > 0
    assert taken.warnings == ()


def test_a_kind_that_the_node_does_not_have_is_unsupported_in_the_nodes_own_words(
    newer_node, tmp_path
):
    taken = captured(newer_node, tmp_path, "goroutineleek")

    assert isinstance(taken, Failed)
    assert taken.reason is Reason.UNSUPPORTED
    assert "Unknown profile" in taken.message
