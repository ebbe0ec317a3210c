# SPDX-License-Identifier: Apache-2.0
"""One leader by a Lease, on an API server in memory, with short times."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from fodc_kube import kinds
from fodc_kube.client import MERGE_PATCH as MERGE
from fodc_kube.client import Cluster
from fodc_kube.errors import UnavailableError
from fodc_kube.leader_label import LeaderLabel
from fodc_kube.lease import Leadership
from fodc_kube.lease_settings import LeaseSettings
from fodc_kube.retrying import Backoff
from fodc_protocol.errors import BadRequestError
from tests.agent.bus import virtual_time
from tests.operator.memory_api.server import Fault, MemoryApi
from tests.operator.memory_api.store import Object
from tests.operator.servers import LEASES, PODS, api_client, cluster, pod

NS = "fodc-system"
A = LeaseSettings("fodc", NS, "op-a", duration_s=3.0, renew_s=2.0, retry_s=1.0)
B = replace(A, identity="op-b")
# Each wait is a jump of the clock, which is not free: not as many as those of other tests.
WAITS = Backoff(first_s=0.1, longest_s=0.5)


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[tuple[MemoryApi, Cluster]]:
    async with cluster(backoff=WAITS) as (api, client):
        yield api, client


def turned(work: Coroutine[Any, Any, None]) -> None:
    """Run it with a clock that jumps over what is only waiting."""
    virtual_time.run(work, grace_s=0.03)


def now_s() -> float:
    return asyncio.get_running_loop().time()


def elected(settings: LeaseSettings, client: Cluster) -> Leadership:
    return Leadership(settings, client, clock_s=now_s)


def lease(api: MemoryApi) -> Object:
    (found,) = api.store(LEASES).listed(NS)
    return dict(found["spec"])


def test_the_first_candidate_makes_the_lease_in_utc() -> None:
    async def run() -> None:
        async with server() as (api, client):
            leader = elected(A, client)
            await leader.acquire()
            spec = lease(api)
            now = dt.datetime.now(dt.UTC)
            taken = dt.datetime.fromisoformat(spec["acquireTime"])

            assert leader.leads
            assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("op-a", 3)
            assert abs((now - taken).total_seconds()) < 5

    turned(run())


def test_a_lease_that_is_given_back_goes_to_the_next_within_its_retry() -> None:
    async def run() -> None:
        async with server() as (api, client):
            first, second = elected(A, client), elected(B, client)
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

    turned(run())


def test_a_lease_that_nobody_renews_is_taken_when_it_runs_out() -> None:
    async def run() -> None:
        async with server() as (_, client):
            first, second = elected(A, client), elected(B, client)
            await first.acquire()
            began = now_s()
            await second.acquire()
            took_s = now_s() - began

            assert A.duration_s <= took_s < A.duration_s + 0.5

    turned(run())


@contextlib.asynccontextmanager
async def holding(leader: Leadership) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(leader.hold())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_leader_whose_calls_hang_writes_nothing_before_its_lease_runs_out(method: str) -> None:
    """K3: it held on for 16.7 s of a lease of 15 s; slow calls count from when they were sent."""

    async def run() -> None:
        async with server() as (api, client):
            leader = elected(A, client)
            await leader.acquire()
            acquired_s = now_s()
            api.store(LEASES).patch(NS, "fodc", MERGE, {"metadata": {"labels": {"x": "y"}}})
            async with hanging(api, method), holding(leader) as hold:
                await until(lambda: not leader.is_held)

                assert now_s() - acquired_s < A.duration_s
                assert (leader.leads, hold.done()) == (True, False)
                with pytest.raises(UnavailableError, match="not sent: lease fodc was not renewed"):
                    await client.fenced(leader.fence).create(kinds.POD, NS, pod())
                assert await client.fenced(leader.fence).get(kinds.POD, NS, "nobody") is None

    turned(run())


def test_a_renewal_that_is_answered_late_counts_from_when_it_was_sent() -> None:
    async def run() -> None:
        async with server() as (api, client):
            now_s = [100.0]
            leader = Leadership(A, client, clock_s=lambda: now_s[0])

            def late(_: object) -> bool:
                now_s[0] += 1.9
                return False

            api.faults.append(Fault(late, 500))
            await leader.acquire()
            now_s[0] += 0.2

            assert not leader.is_held

    turned(run())


def test_a_server_that_is_away_takes_nobodys_leadership() -> None:
    """K15: the operator ended, and agents and pages with it, though nobody else led."""

    async def run() -> None:
        async with server() as (api, client):
            leader = elected(A, client)
            await leader.acquire()
            fault = api.fail(500, "PUT", "leases", times=1_000_000)
            more = api.fail(500, "GET", "leases", times=1_000_000)
            async with holding(leader) as hold:
                await until(lambda: not leader.is_held)
                fault.times = more.times = 0
                await until(lambda: leader.is_held)

                assert (leader.leads, leader.fence(), hold.done()) == (True, "", False)

    turned(run())


@pytest.mark.parametrize("holder", ["op-b", ""])
def test_a_leader_ends_as_soon_as_it_sees_that_another_had_the_lease(holder: str) -> None:
    """K15: also when the other one has given it back by then."""

    async def run() -> None:
        async with server() as (api, client):
            leader = elected(A, client)
            await leader.acquire()
            api.store(LEASES).patch(NS, "fodc", MERGE, {"spec": {"holderIdentity": holder}})
            async with asyncio.timeout(A.retry_s * 3):
                await leader.hold()

            assert (leader.leads, lease(api)["holderIdentity"]) == (False, holder)

    turned(run())


def test_a_lease_that_somebody_deleted_is_made_anew() -> None:
    async def run() -> None:
        async with server() as (api, client):
            leader = elected(A, client)
            await leader.acquire()
            api.store(LEASES).delete(NS, "fodc")
            async with holding(leader) as hold:
                await until(lambda: api.store(LEASES).listed(NS))

                assert (leader.leads, hold.done()) == (True, False)

    turned(run())


@contextlib.asynccontextmanager
async def hanging(api: MemoryApi, method: str) -> AsyncIterator[None]:
    """Let every call about leases of this method go without an answer."""
    answered, plain = asyncio.Event(), MemoryApi._handle

    async def handle(self: MemoryApi, request: Any) -> Any:
        if request.method.value == method and "leases" in request.url.path:
            await answered.wait()
        return await plain(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryApi, "_handle", handle)
        try:
            yield
        finally:
            answered.set()


def test_a_leader_outlives_short_trouble() -> None:
    async def run() -> None:
        async with server() as (api, client):
            leader = elected(A, client)
            await leader.acquire()
            before = lease(api)["renewTime"]
            api.fail(500, "GET", "leases")
            api.fail(409, "PUT", "leases")
            async with holding(leader) as hold:
                await until(lambda: lease(api)["renewTime"] > before and leader.is_held)

                assert (leader.leads, hold.done()) == (True, False)

    turned(run())


def test_a_candidate_waits_for_a_server_that_is_not_there_yet() -> None:
    async def run() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as taken:
            port = taken.sockets[0].getsockname()[1]
        async with api_client(f"http://127.0.0.1:{port}") as client:
            candidate = Leadership(A, Cluster(client))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await candidate.acquire()
            await candidate.release()

            assert not candidate.leads

    turned(run())


def test_who_lost_the_lease_to_another_does_not_give_it_back() -> None:
    async def run() -> None:
        async with server() as (api, client):
            first = elected(A, client)
            await first.acquire()
            taken = {"spec": {"holderIdentity": "op-b"}}
            api.store(LEASES).patch(NS, "fodc", "application/merge-patch+json", taken)
            await first.release()

            assert lease(api)["holderIdentity"] == "op-b"

    turned(run())


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
        async with server() as (api, client):
            await LeaderLabel(client, NS, "nobody", LABEL).remove()
            api.fail(500, "PATCH", times=10_000)
            async with asyncio.timeout(2.5):
                await LeaderLabel(client, NS, "op-a", LABEL).remove()

    turned(run())


def test_without_a_pod_or_a_label_nothing_is_asked() -> None:
    async def run() -> None:
        async with cluster() as (api, client):
            for names in ((NS, "", LABEL), ("", "op-a", LABEL), (NS, "op-a", "")):
                await LeaderLabel(client, *names).set_until_done()
                await LeaderLabel(client, *names).remove()

            assert api.requests == []

    asyncio.run(run())
