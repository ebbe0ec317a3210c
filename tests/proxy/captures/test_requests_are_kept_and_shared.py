# SPDX-License-Identifier: Apache-2.0
"""What is accepted is carried out, an id has one truth, and places are shared fairly."""

import asyncio
import contextlib

import aiohttp
import pytest

from fodc_api.words import CancelMode, Phase, RequestPhase
from fodc_protocol.link.frames import MAX_CAPTURES_PER_AGENT
from fodc_proxy.captures.engine import UnknownRequestError
from fodc_proxy.captures.refusals import SubmitError
from fodc_proxy.http.edge import Edge
from fodc_proxy.http.listener import WebServer
from fodc_proxy.storage.errors import StorageError

from ..served import app_of  # noqa: TID252 - one folder's tests

BODY = {"target": {"all": True}, "captures": [{"profile": "heap"}]}
FULL = StorageError("writing: the artifact store is full; remove artifacts or give it more space")


# ---- P1: whatever its caller does ---------------------------------------------------------------


def test_a_request_whose_caller_went_away_is_carried_out(play):
    """Defect P1: it stayed Pending for ever, and was given back for its id."""

    async def scene(world):
        agent = world.agent("pod-0")
        await world.deliver()
        world.objects.waits_below = "requests/"
        asking = asyncio.create_task(world.ask())
        await world.exchange()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        world.objects.gate.set()
        await world.deliver()
        assert len(agent.begun) == 1
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED

    play(scene)


def test_posts_that_are_dropped_are_carried_out_or_gone(play):
    """Defect P1, over real sockets: 9 of 50 stayed Pending for ever."""

    async def scene(world):
        world.agent("pod-0")
        server = WebServer(app_of(Edge(), engine=world.engine))
        await server.start("127.0.0.1", 0)

        async def post(number: int) -> None:
            async with aiohttp.ClientSession(f"http://{server.address}") as http:
                body = BODY | {"id": f"r{number}"}
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.001 * (number % 12)):
                        await http.post("/diagnostics/requests", json=body)

        await asyncio.gather(*(post(number) for number in range(50)))
        for _ in range(20):
            await asyncio.sleep(0.005)
            await world.deliver()
        await server.stop()
        await world.settle(rounds=200)
        phases = {request.phase for request in world.engine.select()}
        assert phases <= {RequestPhase.SUCCEEDED}

    play(scene)


def test_a_request_whose_caller_went_away_and_that_cannot_be_stored_is_gone(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.deliver()
        world.objects.waits_below, world.objects.problem_after_gate = "requests/", FULL
        asking = asyncio.create_task(world.ask())
        await world.exchange()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        world.objects.gate.set()
        await world.deliver()
        assert world.engine.select() == ()
        assert agent.begun == []
        world.objects.problem_after_gate = None
        await world.ask()
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED

    play(scene)


# ---- P3: one truth ------------------------------------------------------------------------------


def test_two_who_ask_for_one_id_at_once_get_one_answer(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.deliver()
        world.objects.waits_below = "requests/"
        both = [asyncio.create_task(world.submit()) for _ in range(2)]
        await world.exchange()
        assert not any(one.done() for one in both)
        with pytest.raises(UnknownRequestError):
            world.get()
        assert world.engine.select() == ()
        world.objects.gate.set()
        (first, is_new), (second, is_new_too) = await asyncio.gather(*both)
        assert (first.id, is_new, is_new_too) == (second.id, True, False)
        await world.deliver()
        assert len(agent.begun) == 1

    play(scene)


def test_two_who_ask_for_one_id_get_the_same_no_when_it_cannot_be_stored(play):
    """Defect P3: the second one got 200 for what did not exist."""

    async def scene(world):
        world.agent("pod-0")
        await world.deliver()
        world.objects.waits_below, world.objects.problem_after_gate = "requests/", FULL
        both = [asyncio.create_task(world.submit()) for _ in range(2)]
        await world.exchange()
        world.objects.gate.set()
        answers = await asyncio.gather(*both, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageError, StorageError]
        with pytest.raises(UnknownRequestError):
            world.get()
        await world.restart_proxy()
        assert world.engine.select() == ()

    play(scene)


def test_a_callback_never_hears_of_a_request_that_does_not_exist(play):
    async def scene(world):
        heard = []
        world.engine.subscribe(lambda request: heard.append(request.id))
        world.agent("pod-0")
        world.objects.problem = FULL
        with pytest.raises(StorageError):
            await world.ask("r1")
        world.objects.problem = None
        await world.ask("r2")
        assert set(heard) == {"r2"}

    play(scene)


# ---- P11: places --------------------------------------------------------------------------------


def test_fifty_requests_to_one_node_wait_for_their_turn_and_none_fails_busy(play):
    """Defect P11: 33 of 50 failed, because the limit of the agent was not known."""

    async def scene(world):
        agent = world.agent("pod-0")
        agent.max_running = MAX_CAPTURES_PER_AGENT
        for number in range(50):
            await world.ask(f"r{number}", captures=[{"profile": "heap"}])
        assert len(agent.running) == MAX_CAPTURES_PER_AGENT
        queued = world.get("r49")
        assert (queued.phase, queued.reason) == (RequestPhase.QUEUED, "Busy")
        assert "4 captures run on pod-0, as many as its agent takes" in queued.message
        await world.settle(rounds=200)
        phases = [request.phase for request in world.engine.select()]
        assert phases == [RequestPhase.SUCCEEDED] * 50

    play(scene)


def test_a_capture_that_a_busy_agent_refuses_waits_and_counts_as_no_attempt(play):
    """Its places may be taken by captures that it began by itself."""

    async def scene(world):
        agent = world.agent("pod-0")
        agent.max_running = 0
        await world.ask(execution={"backoff_limit": 0})
        for _ in range(5):
            await world.pass_time(20)
            (result,) = world.get().targets[0].results
            assert result.phase is not Phase.FAILED
        agent.max_running = 1
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED
        assert world.get().targets[0].attempts == 1

    play(scene)


def test_places_go_in_turn_to_the_caller_who_has_the_fewest(play):
    """Defect P11: one caller filled all places, and the others waited for it."""

    async def scene(world):
        agents = [world.agent(f"pod-{n}") for n in range(6)]
        for number in range(10):
            await world.ask(f"greedy-{number}", caller="greedy")
        await world.ask("modest", caller="modest", target={"names": ["pod-5"]})
        assert world.get("modest").phase is RequestPhase.QUEUED
        running = [command for agent in agents for command in agent.running]
        assert len(running) == 4
        done = next(agent for agent in agents if agent.running)
        done.finish(done.running[0])
        await world.deliver()
        assert world.get("modest").phase is RequestPhase.RUNNING
        await world.settle(rounds=300)

    play(scene, max_running_captures=4)


def test_one_caller_cannot_take_all_requests(play):
    async def scene(world):
        world.agent("pod-0")
        for number in range(2):
            await world.ask(f"greedy-{number}", caller="greedy")
        with pytest.raises(SubmitError, match="2 requests of this caller are open") as caught:
            await world.ask("one-more", caller="greedy")
        assert caught.value.reason == "Busy"
        await world.ask("modest", caller="modest")
        with pytest.raises(SubmitError, match="3 requests are open, as many as are allowed"):
            await world.ask("another", caller="another")

    play(scene, max_open_requests=3, max_open_per_caller=2)


def test_a_restart_remembers_whose_requests_they_are(play):
    async def scene(world):
        world.agent("pod-0")
        await world.ask("r1", caller="somebody")
        await world.restart_proxy()
        assert world.get("r1").caller == "somebody"

    play(scene)


# ---- P22: done means stored ---------------------------------------------------------------------


@pytest.mark.parametrize("operation", range(1, 12))
@pytest.mark.parametrize("captures", [1, 2])
def test_no_agent_forgets_what_is_not_stored_whenever_the_proxy_is_killed(
    play, operation, captures
):
    """Defect P22: after a restart it was told done for a command that was held but not stored.

    Each frame that an agent gets is held against the disk by the world itself.
    """

    async def scene(world):
        world.node("pod-0", online=False)
        asked = {"target": {"all": True, "include_offline": True}}
        profiles = ["heap", "goroutine"][:captures]
        await world.ask(captures=[{"profile": one} for one in profiles], **asked)
        agent = world.agent("pod-0")
        world.objects.operations, world.objects.dies_at = 0, operation
        await world.deliver()
        for _ in range(captures):
            for command_id in agent.running:
                agent.finish(command_id)
            await world.deliver()
        world.objects.dies_at = 0
        await world.restart_proxy()
        agent.connect()
        await world.deliver()
        await world.settle()
        assert len(set(agent.begun)) == len(agent.begun)
        assert agent.spool == {}
        assert world.get().phase in {RequestPhase.SUCCEEDED, RequestPhase.PARTIALLY_SUCCEEDED} or (
            world.get().targets[0].results[0].reason == "StorageFailed"
        )

    play(scene)


def test_an_agent_is_asked_only_after_the_start_is_on_disk(play):
    async def scene(world):
        agent = world.agent("pod-0")
        await world.ask(captures=[{"profile": "heap"}, {"profile": "goroutine"}])
        world.objects.problem, world.objects.fails_below = FULL, "requests/"
        agent.finish(agent.begun[0])
        await world.deliver()
        assert len(agent.begun) == 1
        assert list(agent.spool) == [agent.begun[0]]
        world.objects.problem = None
        await world.pass_time(1)
        assert len(agent.begun) == 2
        assert list(agent.spool) == [agent.begun[1]]

    play(scene)


def test_a_cancel_that_is_answered_is_on_disk(play):
    async def scene(world):
        agent = world.agent("pod-0")
        agent.obeys_cancel = False
        await world.ask()
        await world.engine.cancel("r1", CancelMode.ABORT)
        await world.restart_proxy()
        assert world.get().cancel is CancelMode.ABORT

    play(scene)


def test_a_peer_cannot_speak_of_another_nodes_capture(play):
    async def scene(world):
        agent, other = world.agent("pod-0"), world.agent("pod-1")
        await world.ask(target={"names": ["pod-0"]})
        (command_id,) = agent.begun
        from_other = world.failed_update(command_id)
        world.engine.heard(other.address, from_other)
        await world.deliver()
        assert world.get().phase is RequestPhase.RUNNING
        await world.settle()
        assert world.get().phase is RequestPhase.SUCCEEDED

    play(scene)
