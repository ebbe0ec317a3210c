# SPDX-License-Identifier: Apache-2.0
"""The whole operator in one process against an API server in memory, and its command line."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fodc_kube.keeping import keep
from fodc_operator import settings as own
from fodc_operator.__main__ import main
from fodc_operator.runtime import Operator
from tests.operator.memory_api.server import NODES, MemoryApi, serving
from tests.operator.mirror.fleet import registration
from tests.operator.servers import LEASES, SECRETS, api_client, memory_api

SOON_S = 10.0
NS = "banyandb"
TOKEN = "the-token-of-this-test"
QUICK = ("--lease-duration=3s", "--lease-renew=2s", "--lease-retry=1s")


@dataclass
class Replica:
    """One operator and how it is asked to end."""

    operator: Operator
    asked: asyncio.Event
    running: asyncio.Task[int]

    async def ask(self, path: str) -> tuple[int, Any]:
        url = f"http://{self.operator.proxy.http_address}{path}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
            body = await answer.text()
        is_json = answer.content_type == "application/json"
        return answer.status, json.loads(body) if is_json else body

    async def until(self, look: Callable[[], Any]) -> None:
        async with asyncio.timeout(SOON_S):
            while not look() and not self.running.done():
                await asyncio.sleep(0.01)
        assert look(), self.running

    async def leads(self) -> None:
        await self.until(lambda: self.operator.proxy.grpc_address)

    async def end(self) -> int:
        self.asked.set()
        async with asyncio.timeout(SOON_S):
            return await self.running


@contextlib.asynccontextmanager
async def replica(url: str, folder: Path, *argv: str) -> AsyncIterator[Replica]:
    tokens = folder.parent / "tokens"
    tokens.write_text(f"tester admin {TOKEN}\n")
    fixed = (
        "--grpc-listen-addr=127.0.0.1:0",
        "--http-listen-addr=127.0.0.1:0",
        f"--http-tokens-file={tokens}",
        f"--data-dir={folder}",
        "--pod-namespace=fodc-system",
        "--webhook-config-name=",
    )
    settings = own.settings_of(own.resolved((*fixed, *QUICK, *argv), {}))
    async with api_client(url) as client:
        operator = Operator(settings, client)
        await operator.listen()
        asked = asyncio.Event()
        one = Replica(operator, asked, asyncio.create_task(operator.run(asked)))
        try:
            yield one
        finally:
            asked.set()
            await asyncio.gather(one.running, return_exceptions=True)


@contextlib.asynccontextmanager
async def one_replica(tmp_path: Path, *argv: str) -> AsyncIterator[tuple[MemoryApi, Replica]]:
    async with (
        serving(memory_api()) as (api, url),
        replica(url, tmp_path / "data", *argv) as one,
    ):
        yield api, one


def test_a_replica_leads_mirrors_and_ends_when_asked(tmp_path: Path) -> None:
    async def run() -> None:
        async with one_replica(tmp_path) as (api, one):
            await one.leads()
            one.operator.proxy.registry.register(registration("data-0"))
            await one.until(lambda: api.store(NODES).listed(NS))
            status, ready = await one.ask("/readyz")
            page = (await one.ask("/metrics"))[1]

            assert (status, {c["name"]: c["ok"] for c in ready["checks"]}) == (
                200,
                {"grpc": True, "callers": True, "audit": True, "artifacts": True, "leader": True},
            )
            for family in ("leader 1", 'nodes{phase="Online"}', "api_calls_total", "requests{"):
                assert f"fodc_operator_{family}" in page, family
            assert await one.end() == 0
            (lease,) = api.store(LEASES).listed("fodc-system")
            assert lease["spec"]["holderIdentity"] == ""

    asyncio.run(run())


def test_a_standby_answers_probes_and_refuses_the_rest_until_it_leads(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            serving(memory_api()) as (_, url),
            replica(url, tmp_path / "a") as first,
        ):
            await first.leads()
            async with replica(url, tmp_path / "b") as second:
                await second.until(lambda: second.operator.leadership.holder)
                answers = {path: (await second.ask(path))[0] for path in PATHS}
                assert answers == PATHS
                assert "fodc_operator_leader 0" in (await second.ask("/metrics"))[1]
                assert await first.end() == 0
                await second.leads()
                assert (await second.ask("/cluster"))[0] == 200

    asyncio.run(run())


PATHS: Mapping[str, int] = {
    "/healthz": 200,
    "/version": 200,
    "/metrics": 200,
    "/readyz": 200,
    "/cluster": 503,
    "/health": 503,
    "/artifacts": 503,
}


def test_a_lease_that_another_took_ends_the_operator_with_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with one_replica(tmp_path) as (api, one):
            await one.leads()
            taken = {"spec": {"holderIdentity": "somebody-else"}}
            merge = "application/merge-patch+json"
            api.store(LEASES).patch("fodc-system", "fodc-operator", merge, taken)
            async with asyncio.timeout(SOON_S):
                assert await one.running == 1

    asyncio.run(run())


def test_an_api_server_that_is_away_costs_status_writes_and_nothing_else(tmp_path: Path) -> None:
    """K15: after ten seconds the operator ended, and agents and /metrics with it."""

    async def run() -> None:
        async with one_replica(tmp_path) as (api, one):
            await one.leads()
            faults = [
                api.fail(503, method, times=1_000_000)
                for method in ("GET", "PUT", "POST", "PATCH", "DELETE")
            ]
            await one.until(lambda: not one.operator.leadership.is_held)
            one.operator.proxy.registry.register(registration("data-0"))
            cluster_status = (await one.ask("/cluster"))[0]
            ready_status, ready = await one.ask("/readyz")
            said = {check["name"]: check["message"] for check in ready["checks"]}

            assert (cluster_status, ready_status, not one.running.done()) == (200, 200, True)
            assert said["leader"].startswith("leads and writes nothing: lease fodc-operator was")
            for fault in faults:
                fault.times = 0
            await one.until(lambda: api.store(NODES).listed(NS))

    asyncio.run(run())


def test_a_part_that_fails_is_begun_again_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K4: what ends is seen, told and begun again."""
    monkeypatch.setitem(keep.__kwdefaults__, "again_s", 0.05)

    async def run() -> None:
        async with one_replica(tmp_path) as (_, one):
            runs: list[int] = []

            async def fails() -> None:
                runs.append(1)
                raise ZeroDivisionError

            one.operator.mirror.run = fails  # type: ignore[method-assign]  # the fault to test
            await one.until(lambda: len(runs) > 1)
            page = (await one.ask("/metrics"))[1]

            assert 'fodc_operator_restarts_total{part="mirror"}' in page
            assert not one.running.done()

    asyncio.run(run())


def test_a_standby_ends_when_asked(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(memory_api()) as (api, url):
            api.fail(500, "POST", "leases", times=10_000)
            async with replica(url, tmp_path) as one:
                await asyncio.sleep(0.1)
                assert await one.end() == 0

    asyncio.run(run())


# ---- command line -------------------------------------------------------------------------------


def test_help_and_version_are_told_and_wrong_settings_end_with_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [(main([one]), *capsys.readouterr()) for one in ("--help", "--version", "--retntion=1h")]
    helped, versioned, wrong = told

    assert (helped[0], "--lease-duration" in helped[1]) == (0, True)
    assert (versioned[0], versioned[1].split()[0]) == (0, "fodc-operator")
    assert wrong == (2, "", "fodc-operator: unknown flag --retntion; did you mean --retention?\n")


def test_outside_of_a_cluster_it_says_what_it_needs() -> None:
    program = [sys.executable, "-m", "fodc_operator"]
    answer = subprocess.run(
        [*program, "--http-listen-addr=127.0.0.1:0", "--log-level=error"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )

    assert answer.returncode == 2
    assert answer.stderr == (
        "fodc-operator: no pod's service account here: Service host/port is not set.; "
        "outside of a cluster give --kubeconfig\n"
    )


def test_a_lost_node_object_is_back_at_once(tmp_path: Path) -> None:
    """K19: a FodcNode that somebody deleted left a hole until its next refresh."""

    async def run() -> None:
        async with one_replica(tmp_path) as (api, one):
            await one.leads()
            one.operator.proxy.registry.register(registration("data-0"))
            await one.until(lambda: api.store(NODES).listed(NS) and len(api.watches) > 3)
            uid = api.store(NODES).get(NS, "data-0")["metadata"]["uid"]
            api.store(NODES).delete(NS, "data-0")

            def is_new() -> bool:
                found = api.store(NODES).listed(NS)
                return bool(found) and found[0]["metadata"]["uid"] != uid

            await one.until(is_new)

    asyncio.run(run())


def test_the_webhooks_certificate_is_kept_by_the_leader(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(memory_api()) as (api, url):
            api["/version"] << {"major": "1", "minor": "34"}
            told = "--webhook-config-name=fodc-injection"
            async with replica(url, tmp_path, told) as one:
                await one.leads()
                await one.until(lambda: api.store(SECRETS).listed("fodc-system"))
                await one.until(lambda: one.operator.policies.fault.message)
                checks = (await one.ask("/readyz"))[1]["checks"]

            (said,) = (check["message"] for check in checks if check["name"] == "webhook")
            assert said.startswith("DOES NOT WORK: there is no MutatingWebhookConfiguration")

    asyncio.run(run())
