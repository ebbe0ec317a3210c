# SPDX-License-Identifier: Apache-2.0
"""Conflicts, refusals, overload, lost answers and broken watches: nothing is lost or done twice."""

import asyncio
import contextlib
import dataclasses
import json

import kmock
import pytest

from fodc_operator.diagnostics.tracks import MOST_REFUSALS
from tests.operator.diagnostics.scene import NAMESPACE, QUICK, Pace, Play, Scene
from tests.operator.memory_api.server import REQUESTS, Fault


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (409, {"reason": "Conflict"}),
        (429, {"headers": {"Retry-After": "0"}}),
        (500, {}),
        (503, {}),
        (403, {"reason": "Forbidden"}),
        (500, {"after": True}),
    ],
    ids=["conflict", "too many", "broken", "unavailable", "forbidden", "answer lost"],
)
def test_a_status_that_is_not_taken_is_written_again(play: Play, status: int, more: dict):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.api.fail(status, "PATCH", "/status", times=2, **more)
        s.apply()
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        assert len(agent.begun) == 1
        assert s.conditions()["Succeeded"] == ("True", "Succeeded")

    play(scene)


def test_a_status_that_the_schema_refuses_is_told_without_details(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply()
        s.api.faults.append(Fault(_tells_of_targets, 422, times=1000, reason="Invalid"))
        await s.until_phase("Running")
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        assert s.status()["targets"] == []
        assert s.conditions()["Succeeded"] == ("True", "Succeeded")
        # Each state is tried twice, whole and plain, and not again and again.
        assert s.writes() <= 8

    play(scene)


def test_details_that_were_refused_once_are_told_a_little_later(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        s.api.faults.append(Fault(_tells_of_targets, 422, times=1, reason="Invalid"))
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        await s.until("the details are there", lambda: s.status()["targets"])
        assert s.status()["counts"]["succeeded"] == 1
        assert s.status()["targets"][0]["results"][0]["phase"] == "Succeeded"
        assert [reason for _, reason in s.events()] == ["Accepted", "Started", "Succeeded"]

    play(scene)


def test_details_of_a_running_request_that_were_refused_are_told_while_it_runs(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.api.faults.append(Fault(_tells_of_targets, 422, times=1, reason="Invalid"))
        s.apply()
        await s.until("the details are there", lambda: s.status().get("targets"))
        assert s.phase() == "Running"

    play(scene)


def test_details_that_are_refused_again_and_again_are_given_up(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply()
        s.api.faults.append(Fault(_tells_of_targets, 422, times=1000, reason="Invalid"))
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        for _ in range(MOST_REFUSALS + 4):
            before = s.writes()
            await s.turn(60)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await s.until("it is tried", lambda: s.writes() > before)  # noqa: B023 - used within the turn
        told = s.writes()
        await s.turn(600)
        await asyncio.sleep(0.1)
        assert s.writes() == told <= 2 * (MOST_REFUSALS + 2)
        assert s.conditions()["Succeeded"] == ("True", "Succeeded")

    play(scene)


def _tells_of_targets(request: kmock.Request) -> bool:
    is_status = request.method.value == "PATCH" and request.url.path.endswith("/status")
    return is_status and bool(json.loads(request.body)["status"].get("targets"))


def test_a_lost_deletion_is_found_by_a_resync_and_the_capture_is_aborted(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until("a capture runs", lambda: agent.running)
        s.delete_unseen()
        await s.controller.resync()
        await s.until("it is aborted", lambda: agent.cancels)
        (request,) = s.world.engine.select()
        assert request.phase == "Cancelled"

    play(scene)


def test_a_lost_deletion_is_found_while_the_capture_runs(play: Play):
    """kopf lists anew after its version was forgotten and tells of no deletion."""

    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply("gone")
        await s.until("a capture runs", lambda: agent.running)
        s.delete_unseen("gone")
        await s.until("it is aborted", lambda: agent.cancels)

    play(scene, dataclasses.replace(QUICK, check_open_ms=100))


def test_checks_of_open_requests_disturb_none_of_them(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        await s.until("it is checked", lambda: s.api.count("GET", "/one") >= 5)
        assert s.writes() == 1
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        assert len(s.agents["pod-0"].begun) == 1

    play(scene, dataclasses.replace(QUICK, check_open_ms=50))


def test_a_lost_deletion_is_noticed_by_the_next_write_too(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply(captures=[{"type": "HeapSnapshot"}, {"type": "GoroutineDump"}])
        await s.until_phase("Running")
        s.delete_unseen()
        agent.finish(agent.running[0])
        await s.turn(2)
        await s.until("the second capture is aborted", lambda: agent.cancels)

    play(scene)


def test_the_watch_goes_on_after_a_cut_and_after_its_version_is_forgotten(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply("first")
        await s.finish("pod-0")
        await s.until_phase("Succeeded", "first")
        s.api.store(REQUESTS).compact()
        s.api.cut_watches()
        s.apply("second")
        await s.finish("pod-0")
        await s.until_phase("Succeeded", "second")

    play(scene)


def test_an_object_made_anew_under_the_same_name_is_another_request(play: Play):
    async def scene(s: Scene, url: str):
        agent = s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        first = s.status()["requestID"]
        s.delete()
        s.apply()
        await s.until("the first is aborted", lambda: agent.cancels)
        await s.finish("pod-0")
        await s.until_phase("Succeeded")
        assert s.status()["requestID"] != first
        phases = {request.id: request.phase for request in s.world.engine.select()}
        assert phases[first] == "Cancelled"

    play(scene)


def test_what_somebody_else_writes_into_a_status_is_put_right(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.apply()
        await s.until_phase("Running")
        wrong = {"status": {"progress": "7/7", "message": "not so"}}
        kind = "application/merge-patch+json"
        store = s.api.store(REQUESTS)
        store.patch(NAMESPACE, "one", kind, wrong, subresource="status")
        await s.until("it is right again", lambda: s.status()["progress"] == "0/1")
        assert s.status()["message"] == ""

    play(scene)


def test_nodes_that_cannot_be_listed_are_waited_for(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        s.api.fail(403, "GET", "/fodcnodes", times=3, reason="Forbidden")
        s.apply()
        await s.until_phase("Pending")
        assert "FodcNodes cannot be listed" in s.status()["message"]
        await s.finish("pod-0")
        await s.until_phase("Succeeded")

    play(scene)


def test_a_start_without_an_answer_of_the_server_is_repeated(play: Play):
    async def scene(s: Scene, url: str):
        s.agent("pod-0")
        await s.until("it is synced", lambda: s.controller.is_synced)
        fault = s.api.fail(503, "GET", "/diagnosticrequests", times=1000, who="OpenAPI")
        await s.restart(url)
        s.apply()
        await s.until("it tried", lambda: fault.times < 1000)
        assert not s.controller.is_synced
        s.api.faults.clear()
        s.agents["pod-0"].connect()
        await s.finish("pod-0")
        await s.until_phase("Succeeded")

    play(scene)


def test_many_changes_of_a_request_are_few_writes(play: Play):
    async def scene(s: Scene, url: str):
        pods = [f"pod-{number}" for number in range(12)]
        for pod in pods:
            s.agent(pod)
        began = asyncio.get_running_loop().time()
        s.apply(execution={"parallelism": 4})
        for pod in pods:
            await s.finish(pod)
        await s.until_phase("Succeeded")
        assert s.status()["progress"] == "12/12"
        took_s = asyncio.get_running_loop().time() - began
        # Pending, started, ended, and at most one more in each of the seconds that this takes.
        assert s.writes() <= 3 + int(took_s)

    play(scene, Pace(between_writes_ms=1000, grace_ms=0))
