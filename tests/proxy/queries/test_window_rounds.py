# SPDX-License-Identifier: Apache-2.0
"""Rounds that hold much memory: places, budgets, and what comes too late (P7, P27, P30)."""

import asyncio
import struct

import pytest

from fodc_protocol.errors import Reason
from fodc_proxy.queries import collect
from fodc_proxy.queries.places import Places
from fodc_proxy.queries.plan import Window
from fodc_proxy.queries.results import Selection, TooManyWindowsError
from fodc_wire.fodc.v1 import agent_link_pb2 as link

from ..live import GoAgent, LinkAgent, fetch, running, until  # noqa: TID252 - one folder's tests


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def part(query_id, series, points, *, last=True):
    described = [link.WindowSeries(name=f"s{n}", type=1) for n in range(series)]
    values = struct.pack(f"<{series * points}d", *range(series * points))
    return link.WindowPart(
        query_id=query_id,
        schema_id=1,
        series=described,
        timestamps_ms=range(points),
        values=values,
        last=last,
    )


def test_thirty_different_windows_at_once_are_all_answered(tmp_path):
    """P27: 18 of them came back empty, with Answered 0."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), GoAgent(proxy, "pod-1") as go:
            await go.attached(proxy)
            paths = [f"/metrics-windows?start_time=1970-01-01T00:00:{n:02}Z" for n in range(30)]
            return await asyncio.gather(*(fetch(proxy, path) for path in paths))

    replies = scene(tmp_path, play)

    assert {one.status for one in replies} == {200}
    assert {one.headers["X-FODC-Answered"] for one in replies} == {"2"}


def test_window_without_a_place_in_time_is_refused_with_when_to_come_back(tmp_path, monkeypatch):
    async def play(proxy):
        monkeypatch.setattr(proxy.rounds, "_places", Places(1, longest_wait_s=0.05))
        async with LinkAgent(proxy, "pod-0") as agent:
            agent.hung = True
            first = asyncio.create_task(fetch(proxy, "/metrics-windows"))
            await until(lambda: agent.queries)
            busy = await fetch(proxy, "/metrics-windows?end_time=2026-11-21T07:07:59Z")
            same = asyncio.create_task(fetch(proxy, "/metrics-windows"))
            await agent.answer(agent.queries[0])
            return busy, await first, await same

    busy, first, same = scene(tmp_path, play)

    assert (busy.status, busy.headers["Retry-After"]) == (503, "5")
    assert "ask again in 5 s" in busy.text
    assert first.status == same.status == 200


def test_place_is_free_again_when_the_result_is_let_go():
    """P7: the budget came back only when no window round was open, so at overlap it never did."""

    async def play():
        places = Places(1, longest_wait_s=0.01)
        place = await places.take()
        result = collect.RoundResult((), ())
        place.until_gone(result)
        with pytest.raises(TooManyWindowsError):
            await places.take()
        del result
        again = await places.take()
        again.give_back()
        again.give_back()
        await places.take()
        with pytest.raises(TooManyWindowsError):
            await places.take()

    asyncio.run(play())


def test_overlapping_windows_each_have_their_own_budget(tmp_path):
    """P7: from call 34 on all failed."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent:

            async def answer(asked):
                await agent.say(window_part=part(asked.window_query.query_id, 4, 100))

            agent.answer = answer
            results = []
            for end_ms in range(50):
                window = Window(0, end_ms)
                results.append(await proxy.rounds.windows(Selection(), window))
                del results[:-1]  # the last one is still held while the next one begins
            return results[-1], proxy.rounds.window_bytes

    result, held = scene(tmp_path, play, window_budget_bytes=20_000)

    assert len(result.answers[0].value) == 4
    assert held == 0


@pytest.mark.parametrize("kind", ["values", "names"])
def test_window_beyond_the_budget_costs_that_agent_its_part(tmp_path, kind):
    """P7: names without values were not counted at all: 980 MiB."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), LinkAgent(proxy, "pod-1") as huge:

            async def answer(asked):
                shape = (1, 1000) if kind == "values" else (100, 0)
                for _ in range(40):
                    query_id = asked.window_query.query_id
                    await huge.say(window_part=part(query_id, *shape, last=False))

            huge.answer = answer
            return await proxy.rounds.windows(Selection(), Window(0, 9_000))

    result = scene(tmp_path, play, window_budget_bytes=200_000)

    assert [one.member.pod_name for one in result.answers] == ["pod-0"]
    assert [(m.member.pod_name, m.reason) for m in result.missing] == [("pod-1", Reason.TOO_LARGE)]


def test_windows_of_existing_agents_are_counted_too(tmp_path):
    """P7, the half about Go agents."""

    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as go:
            await go.attached(proxy)
            return await proxy.rounds.windows(Selection(), Window(0, 9_000))

    result = scene(tmp_path, play, window_budget_bytes=500)

    assert [m.reason for m in result.missing] == [Reason.TOO_LARGE]


def test_nothing_is_kept_of_an_answer_for_which_nobody_waits(tmp_path):
    """P7: parts that came after the deadline were collected for good."""

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent:
            agent.hung = True
            missed = await proxy.rounds.windows(Selection(), Window(0, 9_000))
            query_id = agent.queries[0].window_query.query_id
            for _ in range(20):
                await agent.say(window_part=part(query_id, 10, 10, last=False))
            await agent.say(heartbeat=link.Heartbeat(sequence=1))
            await until(lambda: "heartbeat_ack" in agent.heard)
            kept = {one: dict(found) for one, found in proxy.rounds._partials.items() if found}
            await agent.say(window_part=part(query_id, 1, 1))
            await until(lambda: proxy.rounds.late_answers == 1)
            agent.hung = False
            return missed, kept, await proxy.rounds.windows(Selection(), Window(0, 9_000))

    missed, kept, healed = scene(tmp_path, play, collection_timeout_s=2.0)

    assert [m.reason for m in missed.missing] == [Reason.DEADLINE_EXCEEDED]
    assert kept == {}
    assert len(healed.answers) == 1


def test_page_without_end_costs_that_agent_its_part(tmp_path, monkeypatch):
    """P8: `last=false` without end took 1.1 GiB."""
    monkeypatch.setattr(collect, "PAGE_BYTES", 100_000)

    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), LinkAgent(proxy, "pod-1") as endless:

            async def answer(asked):
                query_id = asked.metrics_query.query_id
                family = link.Family(name="up", type=1, text=b"up 1\n" * 2000)
                for _ in range(40):
                    await endless.say(
                        metrics_page=link.MetricsPage(query_id=query_id, families=[family])
                    )

            endless.answer = answer
            return await proxy.rounds.metrics(Selection())

    result = scene(tmp_path, play)

    assert [one.member.pod_name for one in result.answers] == ["pod-0"]
    assert [m.reason for m in result.missing] == [Reason.TOO_LARGE]


def test_caller_with_a_deadline_of_its_own_gets_what_is_there_by_then(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"), LinkAgent(proxy, "pod-1") as hung:
            hung.hung = True
            patient = asyncio.create_task(proxy.rounds.metrics(Selection()))
            hasty = await proxy.rounds.metrics(Selection(), timeout_s=2.0)
            await until(lambda: hung.queries)
            await hung.answer(hung.queries[0])
            return hasty, await patient

    hasty, patient = scene(tmp_path, play)

    assert [one.member.pod_name for one in hasty.answers] == ["pod-0"]
    assert [m.member.pod_name for m in hasty.missing] == ["pod-1"]
    assert "the 2 s that" in hasty.missing[0].message
    assert len(patient.answers) == 2
