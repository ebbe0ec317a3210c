# SPDX-License-Identifier: Apache-2.0
"""The routes of /diagnostics/requests over a real server."""

import asyncio
import json
import time

import aiohttp
import pytest

from fodc_proxy.http.edge import Edge
from fodc_proxy.http.listener import WebServer
from fodc_proxy.storage.errors import StorageError

from ..served import app_of  # noqa: TID252 - one folder's tests

BODY = {"target": {"all": True}, "captures": [{"profile": "heap"}]}
PATH = "/diagnostics/requests"


def served(play, scene, **limits):
    async def whole(world):
        app = app_of(Edge(max_body_bytes=20_000), engine=world.engine, store=world.store)
        server = WebServer(app)
        await server.start("127.0.0.1", 0)
        try:
            async with aiohttp.ClientSession(f"http://{server.address}") as http:
                await scene(world, http)
        finally:
            await server.stop()

    return play(whole, **limits)


async def error_of(answer: aiohttp.ClientResponse) -> dict[str, str]:
    assert answer.content_type == "application/json"
    return (await answer.json())["error"]


def test_request_is_created_followed_and_read(play):
    async def scene(world, http):
        agent = world.agent("pod-0")
        await world.deliver()
        async with http.post(PATH, json=BODY) as answer:
            assert answer.status == 201
            resource = await answer.json()
            location = answer.headers["Location"]
        assert location == f"{PATH}/{resource['id']}"
        assert resource["phase"] == "Running"
        assert resource["counts"] == {
            "targets": 1,
            "pending": 0,
            "running": 1,
            "succeeded": 0,
            "failed": 0,
            "skipped": 0,
            "cancelled": 0,
        }
        assert (resource["progress"], resource["created_at"]) == ("0/1", "2027-01-15T08:00:00.000Z")
        await world.deliver()
        agent.finish(agent.begun[0])
        await world.deliver()
        async with http.get(location) as answer:
            resource = await answer.json()
        assert (resource["phase"], resource["progress"]) == ("Succeeded", "1/1")
        (result,) = resource["targets"][0]["results"]
        assert result["download_path"] == f"/artifacts/{result['artifact_id']}"
        async with http.get(PATH) as answer:
            (listed,) = (await answer.json())["requests"]
        assert "targets" not in listed
        async with http.get(PATH, params={"phase": "Running"}) as answer:
            assert await answer.json() == {"requests": [], "unreadable": []}
        async with http.get(PATH, params={"node_id": "id-of-pod-0"}) as answer:
            assert len((await answer.json())["requests"]) == 1

    served(play, scene)


@pytest.mark.parametrize(
    ("target", "field", "said"),
    [
        ({"roles": ["data", "dta"]}, "target.roles[1]", "must be a role (data, liaison, meta)"),
        ({"tiers": ["hto"]}, "target.tiers[0]", "a tier (cold, hot, warm)"),
        ({"tiers": ["data"]}, "target.tiers[0]", "must be a tier, got 'data', which names a role"),
    ],
)
def test_word_that_is_no_role_or_tier_is_refused_with_those_there_are(play, target, field, said):
    """Defect P14: a filter meant one thing on this route and another on the others."""

    async def scene(world, http):
        async with http.post(PATH, json=BODY | {"target": target}) as answer:
            assert answer.status == 400
            error = await error_of(answer)
        assert error["field"] == field
        assert said in error["message"]

    served(play, scene)


def test_request_says_that_its_artifact_is_damaged(play):
    """Defect P12: the artifact was gone and its request said Succeeded and nothing else."""

    async def scene(world, http):
        agent = world.agent("pod-0")
        await world.ask()
        agent.finish(agent.begun[0])
        await world.deliver()
        (stored,) = world.store.select()
        (world.folder / "store" / stored.key).write_bytes(b"half")
        await world.store.open()
        async with http.get(f"{PATH}/r1") as answer:
            (result,) = (await answer.json())["targets"][0]["results"]
        assert result["warnings"] == ["its artifact is damaged: 4 of 352 bytes are there"]

    served(play, scene)


def test_repeated_id_gives_the_same_request_and_a_different_spec_conflicts(play):
    async def scene(world, http):
        for expected in (201, 200):
            async with http.post(PATH, json=BODY | {"id": "twice"}) as answer:
                assert answer.status == expected
                assert (await answer.json())["id"] == "twice"
        other = BODY | {"id": "twice", "captures": [{"profile": "cpu"}]}
        async with http.post(PATH, json=other) as answer:
            assert answer.status == 409
            assert (await error_of(answer))["field"] == "id"

    served(play, scene)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"", "body"),
        (b"NaN", "body"),
        (b"[" * 15_000, "body"),
        (b"\xff", "body"),
        (b"[]", "body"),
        (b'{"target":{"all":true},"target":{}}', "target"),
        (
            b'{"target":{"all":true},"captures":[{"profile":"cpu","duration_seconds":1e999}]}',
            "captures[0].duration_seconds",
        ),
        (json.dumps(BODY | {"surprise": 1}).encode(), "surprise"),
        (json.dumps({"captures": [{"profile": "heap"}]}).encode(), "target"),
    ],
)
def test_wrong_body_is_refused_with_its_field(play, body, field):
    async def scene(world, http):
        headers = {"Content-Type": "application/json"}
        async with http.post(PATH, data=body, headers=headers) as answer:
            assert answer.status == 400
            error = await error_of(answer)
        assert (error["reason"], error["field"]) == ("BadRequest", field)
        assert world.engine.select() == ()

    served(play, scene)


def test_form_of_another_site_is_refused(play):
    async def scene(world, http):
        headers = {"Content-Type": "text/plain"}
        async with http.post(PATH, data=json.dumps(BODY), headers=headers) as answer:
            assert answer.status == 415
            assert answer.headers["Accept"] == "application/json"
            assert (await error_of(answer))["field"] == "Content-Type"

    served(play, scene)


def test_body_that_is_too_large_is_refused(play):
    async def scene(world, http):
        async with http.post(PATH, json=BODY | {"purpose": "x" * 30_000}) as answer:
            assert answer.status == 413
            assert (await error_of(answer))["reason"] == "TooLarge"

    served(play, scene)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?phase=Dancing", "phase"),
        ("?phase=Running&phase=Failed", "phase"),
        ("?page=2", "page"),
    ],
)
def test_wrong_query_of_the_list_is_refused(play, query, field):
    async def scene(world, http):
        async with http.get(PATH + query) as answer:
            assert answer.status == 400
            assert (await error_of(answer))["field"] == field

    served(play, scene)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?wait_seconds=31", "wait_seconds"),
        ("?wait_seconds=-1", "wait_seconds"),
        ("?wait_seconds=1.5", "wait_seconds"),
        ("?wait_seconds=" + "9" * 5000, "wait_seconds"),
        ("?wait_seconds=%D9%A1", "wait_seconds"),
        ("?after_revision=x", "after_revision"),
        ("?revision=1", "revision"),
    ],
)
def test_wrong_query_of_a_request_is_refused(play, query, field):
    async def scene(world, http):
        await world.ask()
        async with http.get(f"{PATH}/r1{query}") as answer:
            assert answer.status == 400
            assert (await error_of(answer))["field"] == field

    served(play, scene)


def test_unknown_request_is_not_found(play):
    async def scene(world, http):
        for method, query in (("GET", ""), ("GET", "?wait_seconds=1"), ("DELETE", "")):
            async with http.request(method, f"{PATH}/nothing{query}") as answer:
                assert answer.status == 404
                assert (await error_of(answer))["reason"] == "NotFound"

    served(play, scene)


def test_cancel_is_accepted_and_later_has_nothing_to_do(play):
    async def scene(world, http):
        world.agent("pod-0")
        await world.ask()
        async with http.delete(f"{PATH}/r1?mode=later") as answer:
            assert (answer.status, (await error_of(answer))["field"]) == (400, "mode")
        async with http.delete(f"{PATH}/r1?mode=stop") as answer:
            assert (answer.status, (await answer.json())["cancel"]) == (202, "stop")
        await world.deliver()
        async with http.delete(f"{PATH}/r1") as answer:
            assert (answer.status, (await answer.json())["phase"]) == (200, "Cancelled")

    served(play, scene)


def test_long_poll_answers_when_the_request_changes(play):
    async def scene(world, http):
        agent = world.agent("pod-0")
        request = await world.ask()
        before = world.get().revision

        async def poll():
            query = f"?wait_seconds=30&after_revision={before}"
            async with http.get(f"{PATH}/r1{query}") as answer:
                return await answer.json()

        waiting = asyncio.create_task(poll())
        while not world.engine._watchers._waiters:
            await asyncio.sleep(0)
        agent.finish(agent.begun[0])
        await world.deliver()
        assert (await waiting)["revision"] > before >= request.revision

    served(play, scene)


def test_long_poll_ends_with_the_unchanged_request_when_time_is_over(play):
    async def scene(world, http):
        world.agent("pod-0")
        await world.ask()
        before = world.get().revision
        started = time.monotonic()
        query = f"?wait_seconds=1&after_revision={before}"
        async with http.get(f"{PATH}/r1{query}") as answer:
            assert (answer.status, (await answer.json())["revision"]) == (200, before)
        assert 0.9 < time.monotonic() - started < 10

    served(play, scene)


def test_too_many_open_requests_are_refused_as_busy(play):
    async def scene(world, http):
        world.agent("pod-0")
        await world.ask()
        async with http.post(PATH, json=BODY) as answer:
            assert (answer.status, (await error_of(answer))["reason"]) == (429, "Busy")

    served(play, scene, max_open_requests=1)


def test_too_many_captures_of_a_node_are_refused_until_there_is_room(play):
    async def scene(world, http):
        world.agent("pod-0")
        await world.ask()
        async with http.post(PATH, json=BODY) as answer:
            told = await error_of(answer)
            assert (answer.status, told["reason"]) == (429, "Throttled")
            assert "node pod-0 has had" in told["message"]
            assert 3590 <= int(answer.headers["Retry-After"]) <= 3600

    served(play, scene, max_hourly_per_node=1)


def test_too_many_targets_are_refused_instead_of_cut(play):
    async def scene(world, http):
        for n in range(3):
            world.node(f"pod-{n}")
        async with http.post(PATH, json=BODY) as answer:
            assert answer.status == 400
            error = await error_of(answer)
        assert (error["field"], error["message"]) == (
            "target",
            "target matches 3 nodes, at most 2 are allowed in one request",
        )

    served(play, scene, max_targets=2)


def test_store_that_does_not_work_is_told_with_what_to_do(play):
    async def scene(world, http):
        world.objects.problem = StorageError("the artifact store is full; remove artifacts")
        async with http.post(PATH, json=BODY) as answer:
            assert answer.status == 503
            error = await error_of(answer)
        assert error == {
            "reason": "StorageFailed",
            "message": "the artifact store is full; remove artifacts",
        }

    served(play, scene)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_other_methods_are_not_allowed(play, method):
    async def scene(world, http):
        async with http.request(method, PATH) as answer:
            assert answer.status == 405

    served(play, scene)
