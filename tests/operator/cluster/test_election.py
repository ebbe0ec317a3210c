# SPDX-License-Identifier: Apache-2.0
"""One leader by a Lease, on an API server in memory, with short times."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from kubernetes.aio.client import ApiClient
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from fodc_operator.cluster.leader_label import LeaderLabel
from fodc_operator.cluster.lease import Leadership, LeaseSettings
from fodc_protocol.errors import BadRequestError
from tests.operator.memory_api.server import MemoryApi, serving
from tests.operator.memory_api.store import Object
from tests.operator.servers import LEASES, PODS, api_client, cluster, memory_api, pod

NS = "fodc-system"
A = LeaseSettings("fodc", NS, "op-a", duration_s=3.0, renew_s=2.0, retry_s=1.0)
B = replace(A, identity="op-b")


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[tuple[MemoryApi, ApiClient]]:
    async with serving(memory_api()) as (api, url), api_client(url) as client:
        yield api, client


def lease(api: MemoryApi) -> Object:
    (found,) = api.store(LEASES).listed(NS)
    return dict(found["spec"])


def test_the_first_candidate_makes_the_lease_in_utc() -> None:
    async def run() -> None:
        async with server() as (api, client):
            leader = Leadership(A, client)
            await leader.acquire()
            spec = lease(api)
            now = dt.datetime.now(dt.UTC)
            taken = dt.datetime.fromisoformat(spec["acquireTime"])

            assert leader.leads
            assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("op-a", 3)
            assert abs((now - taken).total_seconds()) < 5

    asyncio.run(run())


def test_the_librarys_own_way_to_make_a_lease_is_still_broken() -> None:
    """When this fails the library is mended and our `create` can go."""

    async def run() -> None:
        async with server() as (_, client):
            lock = LeaseLock("fodc", NS, "op-a", client)
            now = str(dt.datetime.now(dt.UTC).replace(tzinfo=None))
            record = LeaderElectionRecord("op-a", "15", now, now)
            with pytest.raises(Exception, match="pretty"):
                await lock.create("fodc", NS, record)

    asyncio.run(run())


def test_a_lease_that_is_given_back_goes_to_the_next_within_its_retry() -> None:
    async def run() -> None:
        async with server() as (api, client):
            first, second = Leadership(A, client), Leadership(B, client)
            await first.acquire()
            waiting = asyncio.create_task(second.acquire())
            await asyncio.sleep(0.2)
            assert (second.leads, second.holder) == (False, "op-a")
            await first.release()
            async with asyncio.timeout(A.retry_s + 0.5):
                await waiting

            assert (first.leads, second.leads) == (False, True)
            assert lease(api)["holderIdentity"] == "op-b"
            assert lease(api)["leaseTransitions"] == 1

    asyncio.run(run())


def test_a_lease_that_nobody_renews_is_taken_when_it_runs_out() -> None:
    async def run() -> None:
        async with server() as (_, client):
            first, second = Leadership(A, client), Leadership(B, client)
            await first.acquire()
            began = asyncio.get_running_loop().time()
            await second.acquire()
            took_s = asyncio.get_running_loop().time() - began

            assert A.duration_s <= took_s < A.duration_s + 0.5

    asyncio.run(run())


def test_a_leader_that_cannot_renew_gives_up_before_its_lease_runs_out() -> None:
    async def run() -> None:
        async with server() as (api, client):
            leader = Leadership(A, client)
            await leader.acquire()
            api.fail(500, "GET", "leases", times=1000)
            began = asyncio.get_running_loop().time()
            await leader.hold()

            assert not leader.leads
            assert asyncio.get_running_loop().time() - began < A.duration_s

    asyncio.run(run())


def test_a_leader_outlives_short_trouble() -> None:
    async def run() -> None:
        async with server() as (api, client):
            leader = Leadership(A, client)
            await leader.acquire()
            before = lease(api)["renewTime"]
            api.fail(500, "GET", "leases")
            holding = asyncio.create_task(leader.hold())
            await asyncio.sleep(1.3)
            api.fail(409, "PUT", "leases")
            await asyncio.sleep(2.0)

            assert leader.leads
            assert not holding.done()
            assert lease(api)["renewTime"] > before
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    asyncio.run(run())


def test_a_candidate_waits_for_a_server_that_is_not_there_yet() -> None:
    async def run() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as taken:
            port = taken.sockets[0].getsockname()[1]
        async with api_client(f"http://127.0.0.1:{port}") as client:
            candidate = Leadership(A, client)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await candidate.acquire()
            await candidate.release()

            assert not candidate.leads

    asyncio.run(run())


def test_who_lost_the_lease_to_another_does_not_give_it_back() -> None:
    async def run() -> None:
        async with server() as (api, client):
            first = Leadership(A, client)
            await first.acquire()
            taken = {"spec": {"holderIdentity": "op-b"}}
            api.store(LEASES).patch(NS, "fodc", "application/merge-patch+json", taken)
            await first.release()

            assert lease(api)["holderIdentity"] == "op-b"

    asyncio.run(run())


TOO_SHORT = (
    "--lease-duration must be greater than --lease-renew, and that greater than 1.2 times "
    "--lease-retry "
)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (
            {"duration_s": 10.0, "renew_s": 10.0},
            TOO_SHORT + "(10s, 10s, 2s)",
        ),
        ({"retry_s": 0.5}, "--lease-retry must be at least 1s"),
    ],
)
def test_times_that_cannot_work_are_refused_by_flag(times: dict[str, float], words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        LeaseSettings("fodc", NS, "op", **times)

    assert caught.value.message == words


# ---- the label ----------------------------------------------------------------------------------

LABEL = "fodc.banyandb.dev/leader"


def test_the_leaders_pod_is_labelled_until_it_leads_no_more() -> None:
    async def run() -> None:
        async with cluster() as (api, client):
            api.store(PODS).create(NS, pod("op-a"))
            label = LeaderLabel(client, NS, "op-a", LABEL)
            await label.set_until_done()
            assert api.store(PODS).get(NS, "op-a")["metadata"]["labels"] == {LABEL: "true"}
            await label.remove()
            assert api.store(PODS).get(NS, "op-a")["metadata"]["labels"] == {}

    asyncio.run(run())


def test_a_label_that_cannot_be_removed_does_not_hold_up_the_end() -> None:
    async def run() -> None:
        async with cluster() as (api, client):
            await LeaderLabel(client, NS, "nobody", LABEL).remove()
            api.fail(500, "PATCH", times=10_000)
            async with asyncio.timeout(2.5):
                await LeaderLabel(client, NS, "op-a", LABEL).remove()

    asyncio.run(run())


def test_without_a_pod_or_a_label_nothing_is_asked() -> None:
    async def run() -> None:
        async with cluster() as (api, client):
            for names in ((NS, "", LABEL), ("", "op-a", LABEL), (NS, "op-a", "")):
                await LeaderLabel(client, *names).set_until_done()
                await LeaderLabel(client, *names).remove()

            assert api.requests == []

    asyncio.run(run())
