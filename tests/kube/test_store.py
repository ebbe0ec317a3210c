# SPDX-License-Identifier: Apache-2.0
"""Objects in memory, whoever tells of them and in whatever order."""

import asyncio
from typing import Any

from fodc_kube.listing import Listing
from fodc_kube.store import Store
from fodc_operator.resources.kinds import FODC_NODE
from tests.operator.memory_api.server import NODES
from tests.operator.servers import cluster


def body(name: str, version: int, **labels: str) -> dict[str, Any]:
    metadata = {"namespace": "a", "name": name, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata}


def told_by(store: Store) -> list[str]:
    told: list[str] = []
    store.on_change(lambda one: told.append(f"{one.type} {one.name}"))
    return told


def test_an_object_never_becomes_older_than_it_was() -> None:
    store = Store()
    told = told_by(store)
    store.put(body("one", 5, x="new"))
    store.put(body("one", 4, x="old"))
    store.put(body("one", 5))

    found = store.get("a", "one")
    assert found is not None
    assert (found["metadata"]["labels"], told) == ({"x": "new"}, ["Added one"])


def test_what_was_deleted_does_not_come_back_by_a_list_from_before() -> None:
    store = Store()
    store.put(body("one", 5))
    store.remove(body("one", 7))
    store.replace([body("one", 5)], "6")
    assert store.get("a", "one") is None
    # Made anew.
    store.put(body("one", 8))
    assert store.get("a", "one") is not None
    # The word of its first deletion is late.
    store.remove(body("one", 7))
    assert store.get("a", "one") is not None


def test_what_was_made_after_a_list_is_not_missing_in_it() -> None:
    store = Store()
    store.put(body("old", 5))
    store.put(body("new", 9))
    store.replace([], "7")

    assert [one["metadata"]["name"] for one in store.items()] == ["new"]


def test_a_list_of_one_namespace_says_nothing_about_others() -> None:
    store = Store()
    other = body("two", 5)
    other["metadata"]["namespace"] = "b"
    store.put(other)
    store.replace([body("one", 6)], "6", "a")

    assert (len(store), [one["metadata"]["name"] for one in store.of_namespace("b")]) == (
        2,
        ["two"],
    )


def test_a_list_tells_when_it_is_complete_and_what_vanished_unseen() -> None:
    async def run() -> None:
        async with cluster() as (api, server):
            nodes = api.store(NODES)
            nodes.create("a", {"metadata": {"name": "one"}})
            store = Store()
            listing = Listing(server, FODC_NODE, store, again_s=0.01)
            fault = api.fail(403, "GET", "fodcnodes", times=1000)
            task = asyncio.create_task(listing.run())
            async with asyncio.timeout(5):
                while not listing.fault:
                    await asyncio.sleep(0.005)
                assert (listing.synced, "403" in listing.fault) == (False, True)
                fault.times = 0
                await listing.wait_synced()
                assert (len(store), listing.fault) == (1, "")
                nodes.delete("a", "one")
                listing.look_now()
                while len(store):
                    await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
