# SPDX-License-Identifier: Apache-2.0
"""The client against a server over a real socket: what is repeated, what is refused, and when
it gives up."""

import asyncio
import contextlib

import pytest

from fodc_kube import kinds
from fodc_kube.client import Cluster, EventType
from fodc_kube.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from fodc_kube.retrying import Backoff, retry_after_s
from fodc_operator.resources.kinds import FODC_NODE
from tests.operator.memory_api.server import EVENTS, NODES, MemoryApi
from tests.operator.servers import PODS, api_client, cluster, pod

NS = "banyandb"
NODE = {"metadata": {"name": "data-0"}, "spec": {"maintenance": False}}


def test_what_is_created_is_read_patched_listed_and_deleted() -> None:
    async def run(_: MemoryApi, server: Cluster) -> None:
        made = await server.create(FODC_NODE, NS, NODE)
        await server.patch(FODC_NODE, NS, "data-0", {"spec": {"maintenance": True}})
        status = {"status": {"phase": "Online"}}
        told = await server.patch_status(FODC_NODE, NS, "data-0", status)
        listed = await server.list(FODC_NODE)
        read = await server.get(FODC_NODE, NS, "data-0")
        await server.delete(FODC_NODE, NS, "data-0")
        await server.delete(FODC_NODE, NS, "data-0")

        assert (made["kind"], made["apiVersion"]) == ("FodcNode", "fodc.banyandb.dev/v1alpha1")
        assert (told["status"], told["spec"]["maintenance"]) == ({"phase": "Online"}, True)
        assert (listed.items, read) == ([told], told)
        assert listed.resource_version == told["metadata"]["resourceVersion"]
        assert await server.get(FODC_NODE, NS, "data-0") is None

    with_server(run)


def with_server(run, **more) -> None:
    async def within() -> None:
        async with cluster(**more) as (api, server):
            await run(api, server)

    asyncio.run(within())


def test_a_pod_is_read_and_labelled_as_plain_values() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        api.store(PODS).create(NS, pod("op-0"))
        label = {"metadata": {"labels": {"fodc.banyandb.dev/leader": "true"}}}
        await server.patch(kinds.POD, NS, "op-0", label)
        read = await server.get(kinds.POD, NS, "op-0")

        assert read is not None
        assert read["metadata"]["labels"] == {"fodc.banyandb.dev/leader": "true"}
        assert read["spec"]["nodeName"] == "worker-1"

    with_server(run)


def test_a_long_list_comes_page_by_page_and_selected() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        for number in range(1203):
            meta = {"name": f"pod-{number:04}", "labels": {"odd": str(number % 2)}}
            api.store(NODES).create(NS, {"metadata": meta})

        assert len((await server.list(FODC_NODE)).items) == 1203
        assert api.count("GET", "fodcnodes") == 3
        odd = await server.list(FODC_NODE, NS, label_selector="odd=1")
        assert len(odd.items) == 601

    with_server(run)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_succeed_later_is_repeated(status: int) -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        api.fail(status, "POST", times=3)
        await server.create(FODC_NODE, NS, NODE)

        assert api.count("POST") == 4
        assert server.metrics.retries == 3
        assert server.metrics.calls == {
            ("create", "fodcnodes", str(status)): 3,
            ("create", "fodcnodes", "ok"): 1,
        }

    with_server(run)


def test_the_server_decides_how_long_to_wait() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        api.fail(429, "GET", headers={"Retry_After": "1"})
        began = asyncio.get_running_loop().time()
        await server.get(FODC_NODE, NS, "data-0")

        assert 1.0 <= asyncio.get_running_loop().time() - began < 10.0

    with_server(run)


def test_a_server_that_asks_for_more_time_than_there_is_is_not_waited_for() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        api.fail(429, "GET", headers={"Retry_After": "60"})
        with pytest.raises(UnavailableError) as caught:
            await server.get(FODC_NODE, NS, "data-0")

        assert caught.value.message == (
            "get fodcnodes: given up after 1 attempts: get fodcnodes: 429 injected"
        )

    with_server(run, deadline_s=5.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidError), (401, ForbiddenError), (403, ForbiddenError), (422, InvalidError)],
)
def test_a_refusal_is_not_repeated_and_carries_the_servers_words(
    status: int, kind: type[ClusterError]
) -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        api.fail(status, "POST", reason="Because")
        with pytest.raises(kind) as caught:
            await server.create(FODC_NODE, NS, NODE)

        error = caught.value
        assert (error.status, error.word) == (status, "Because")
        assert error.message == f"create fodcnodes: {status} injected"
        assert api.count("POST") == 1

    with_server(run)


def test_conflicts_say_whether_the_object_is_there_or_has_changed() -> None:
    async def run(_: MemoryApi, server: Cluster) -> None:
        made = await server.create(FODC_NODE, NS, NODE)
        old = made["metadata"]["resourceVersion"]
        with pytest.raises(ConflictError) as exists:
            await server.create(FODC_NODE, NS, NODE)
        await server.patch(FODC_NODE, NS, "data-0", {"spec": {"maintenance": True}})
        with pytest.raises(ConflictError) as changed:
            await server.patch_status(FODC_NODE, NS, "data-0", {"status": {}}, resource_version=old)
        with pytest.raises(ConflictError) as kept:
            await server.delete(FODC_NODE, NS, "data-0", resource_version=old)

        assert exists.value.already_exists
        assert not changed.value.already_exists
        assert not kept.value.already_exists

    with_server(run)


def test_a_status_of_nothing_is_not_found() -> None:
    async def run(_: MemoryApi, server: Cluster) -> None:
        with pytest.raises(NotFoundError):
            await server.patch_status(FODC_NODE, NS, "nobody", {"status": {}})

    with_server(run)


def test_a_server_that_never_answers_costs_the_deadline_and_no_more() -> None:
    async def run() -> None:
        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await reader.read(-1)
            writer.close()

        silent = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        async with silent, api_client(f"http://127.0.0.1:{port}") as client:
            server = Cluster(client, deadline_s=2.0, attempt_s=0.1, backoff=Backoff(0.01, 0.05))
            began = asyncio.get_running_loop().time()
            with pytest.raises(UnavailableError, match="no answer in time"):
                await server.get(FODC_NODE, NS, "data-0")

            assert asyncio.get_running_loop().time() - began < 10.0
            assert server.metrics.calls["get", "fodcnodes", "TimeoutError"] >= 3
        await asyncio.sleep(0)  # the last connection sees its end

    asyncio.run(run())


def test_connections_that_are_refused_and_cut_are_tried_again() -> None:
    async def run() -> None:
        async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        async with await asyncio.start_server(cut, "127.0.0.1", 0) as rude:
            port = rude.sockets[0].getsockname()[1]
            async with api_client(f"http://127.0.0.1:{port}") as client:
                server = Cluster(client, deadline_s=0.3, backoff=Backoff(0.01, 0.02))
                with pytest.raises(UnavailableError):
                    await server.list(FODC_NODE)
                rude.close()
                with pytest.raises(UnavailableError):
                    await server.list(FODC_NODE)

                codes = {code for _, _, code in server.metrics.calls}
                assert "ClientConnectorError" in codes
                assert codes & {"ServerDisconnectedError", "ClientOSError"}

    asyncio.run(run())


def test_an_event_tells_people_about_an_object() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        made = await server.create(FODC_NODE, NS, NODE)
        await server.event(made, EventType.WARNING, "AgentGone", "x" * 2000)
        (told,) = api.store(EVENTS).listed(NS)

        assert (told["type"], told["reason"], told["action"]) == (
            "Warning",
            "AgentGone",
            "AgentGone",
        )
        assert len(told["note"]) == 1024
        assert told["reportingInstance"] == "op-0"
        assert told["regarding"] == {
            "apiVersion": "fodc.banyandb.dev/v1alpha1",
            "kind": "FodcNode",
            "namespace": NS,
            "name": "data-0",
            "uid": made["metadata"]["uid"],
            "resourceVersion": made["metadata"]["resourceVersion"],
        }

    with_server(run, identity="op-0")


def test_waits_grow_with_full_jitter_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.1, longest_s=5.0)

    assert [backoff.wait_s(n, None, lambda: 1.0) for n in (0, 1, 2, 6, 100)] == [
        0.1,
        0.2,
        0.4,
        5.0,
        5.0,
    ]
    assert backoff.wait_s(3, None, lambda: 0.0) == 0.0
    assert backoff.wait_s(0, 2.0, lambda: 0.5) == 2.05


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        (" 2 ", 2.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("1e9", None),
        ("Wed, 18 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_only_a_sensible_number_of_seconds_is_taken_from_the_server(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after_s(header) == seconds
