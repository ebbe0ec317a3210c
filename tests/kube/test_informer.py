# SPDX-License-Identifier: Apache-2.0
"""Objects in memory: what a list and a watch make of them, and what trouble does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.informer import EVERYTHING, Informer, Selection
from fodc_kube.kinds import Kind
from fodc_kube.retrying import Backoff
from fodc_operator.resources.kinds import FODC_NODE
from tests.operator.memory_api.server import NODES
from tests.operator.servers import NAMESPACES, cluster

SOON_S = 5.0
QUICK = Backoff(first_s=0.001, longest_s=0.01)


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels, "managedFields": [{"manager": "x"}]}}


@contextlib.asynccontextmanager
async def running(
    server: Cluster, kind: Kind = FODC_NODE, selection: Selection = EVERYTHING
) -> AsyncIterator[tuple[Informer, list[str]]]:
    informer = Informer(server, kind, selection, backoff=QUICK)
    told: list[str] = []
    informer.on_change(lambda one: told.append(f"{one.type} {one.namespace}/{one.name}"))
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(SOON_S):
            yield informer, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(look: Callable[[], Any]) -> None:
    while not look():
        await asyncio.sleep(0.005)


def names(informer: Informer) -> list[str]:
    return sorted(one["metadata"]["name"] for one in informer.items())


def test_it_lists_watches_and_tells_each_change_once() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            store = api.store(NODES)
            store.create("a", node("one"))
            async with running(server) as (informer, told):
                assert not informer.synced
                await informer.wait_synced()
                store.create("b", node("two"))
                store.patch("a", "one", "application/merge-patch+json", {"spec": {"x": 1}})
                store.delete("b", "two")
                await until(lambda: len(told) == 4)

                assert told == ["Added a/one", "Added b/two", "Modified a/one", "Deleted b/two"]
                assert names(informer) == ["one"]
                kept = informer.get("a", "one")
                assert kept is not None
                assert (kept["spec"], "managedFields" in kept["metadata"]) == ({"x": 1}, False)
                assert (informer.get("b", "two"), informer.of_namespace("b")) == (None, [])

    asyncio.run(run())


def test_what_vanished_while_the_history_was_forgotten_is_gone() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            store = api.store(NODES)
            for name in ("one", "two"):
                store.create("a", node(name))
            async with running(server) as (informer, told):
                await informer.wait_synced()
                await until(lambda: api.watches)
                api.cut_watches()
                store.delete("a", "one")
                store.create("a", node("three"))
                store.compact()
                await until(lambda: names(informer) == ["three", "two"])

                assert told == ["Added a/one", "Added a/two", "Deleted a/one", "Added a/three"]
                assert api.count("GET", "fodcnodes") >= 3

    asyncio.run(run())


def test_a_watch_that_is_cut_goes_on_without_another_list() -> None:
    async def run() -> None:
        async with cluster() as (api, server), running(server) as (informer, told):
            await until(lambda: api.watches)
            api.cut_watches()
            api.store(NODES).create("a", node("one"))
            await until(lambda: told)

            lists = [one for one in api.requests if "watch" not in one.params]
            assert (len(lists), informer.fault) == (1, "")

    asyncio.run(run())


def test_trouble_is_told_and_the_store_stays_until_it_is_over() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            api.store(NODES).create("a", node("one"))
            async with running(server) as (informer, _):
                await until(lambda: api.watches)
                api.fail(403, "GET", "fodcnodes", times=5)
                api.cut_watches()
                await until(lambda: informer.fault)

                assert informer.fault.endswith(" fodcnodes: 403 injected")
                assert (informer.synced, names(informer)) == (True, ["one"])
                await until(lambda: not informer.fault)

    asyncio.run(run())


def test_only_some_namespaces_are_watched_when_told_so() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            store = api.store(NODES)
            for namespace in ("a", "b", "c"):
                store.create(namespace, node("one", here="yes"))
                store.create(namespace, node("two"))
            selection = Selection(("a", "b"), labels="here=yes")
            async with running(server, FODC_NODE, selection) as (informer, told):
                await informer.wait_synced()

                assert sorted(told) == ["Added a/one", "Added b/one"]
                assert len(informer) == 2
                # What one namespace lists says nothing about the other.
                store.delete("a", "one")
                store.compact()
                api.cut_watches()
                await until(lambda: len(informer) == 1)
                assert informer.get("b", "one") is not None

    asyncio.run(run())


def test_a_kind_without_namespaces_is_read_by_name_alone() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            api.store(NAMESPACES).create("", {"metadata": {"name": "prod", "labels": {"x": "y"}}})
            async with running(server, kinds.NAMESPACE) as (informer, _):
                await informer.wait_synced()
                found = informer.get("", "prod")

                assert found is not None
                assert found["metadata"]["labels"] == {"x": "y"}

    asyncio.run(run())


def test_a_listener_that_fails_costs_neither_the_store_nor_the_others() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            api.store(NODES).create("a", node("one"))
            informer = Informer(server, FODC_NODE, backoff=QUICK)
            told: list[str] = []
            informer.on_change(lambda one: told[1])  # type: ignore[arg-type,return-value]  # the fault to test
            informer.on_change(lambda one: told.append(one.name))
            task = asyncio.create_task(informer.run())
            await informer.wait_synced()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            assert (told, names(informer)) == (["one"], ["one"])

    asyncio.run(run())


def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_pause() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            waited = Backoff(first_s=0.2, longest_s=0.2)
            informer = Informer(server, FODC_NODE, backoff=waited, watch_s=0)
            informer._chance = lambda: 1.0
            began = asyncio.get_running_loop().time()
            task = asyncio.create_task(informer.run())
            await informer.wait_synced()
            for _ in range(10):
                api.cut_watches()
                await asyncio.sleep(0.03)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            took_s = asyncio.get_running_loop().time() - began
            assert api.count("GET", "fodcnodes") <= 2 + took_s / 0.2

    asyncio.run(run())


NONSENSE = (
    b'{"type": "MODIFIED"}',
    b'{"type": "ADDED", "object": {}}',
    b'{"type": "ADDED", "object": {"metadata": {"namespace": "a"}}}',
    b'{"type": "ADDED", "object": {"metadata": null}}',
    b'{"type": "ERROR", "object": {"code": "no number"}}',
    b'{"kind": "Status", "code": 500}',
    b"[]",
    b"no JSON",
)


@pytest.mark.parametrize("line", NONSENSE)
def test_whatever_a_watch_sends_is_told_and_followed_by_another_list(line: bytes) -> None:
    """K4: an event without an object ended the informer for ever, and no line of a log said so."""

    async def run() -> None:
        async with cluster() as (api, server):
            told_once, plain = [True], api._events

            async def events(store: Any, request: Any) -> AsyncIterator[Any]:
                if told_once:
                    told_once.clear()
                    yield _Raw(line)
                async for one in plain(store, request):
                    yield one

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(api), "_events", lambda self, *args: events(*args))
                async with running(server) as (informer, told):
                    await until(lambda: not told_once and api.watches)
                    api.store(NODES).create("a", node("one"))
                    await until(lambda: told)

                    assert told == ["Added a/one"]
                    await until(lambda: not informer.fault)

    asyncio.run(run())


class _Raw(dict[str, Any]):
    """What `json.dumps` of the server in memory lets through as it is."""

    def __init__(self, line: bytes) -> None:
        super().__init__()
        self.line = line


def test_a_list_that_is_none_is_told_and_asked_for_again() -> None:
    """K4: a Status in a 200."""

    async def run() -> None:
        async with cluster() as (api, server):
            answers, plain = [{"kind": "Status"}, {"items": 5, "metadata": {}}], api._list

            def listed(self: Any, store: Any, request: Any) -> Any:
                return answers.pop() if answers else plain(store, request)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(api), "_list", listed)
                async with running(server) as (informer, _):
                    await informer.wait_synced()

                    assert (answers, informer.fault) == ([], "")

    asyncio.run(run())
