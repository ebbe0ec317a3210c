# SPDX-License-Identifier: Apache-2.0
"""One replica of the webhook as a whole: over TLS, with kopf, against an API server in memory."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fodc_kube.client import Cluster
from fodc_operator.policies.certificate_keeper import CertificateKeeper, Keeping
from fodc_webhook import certificates
from fodc_webhook import settings as own
from fodc_webhook.__main__ import main
from fodc_webhook.program import Program
from tests.operator.memory_api.server import MemoryApi, serving
from tests.operator.servers import HOOKS, INJECTIONS, NAMESPACES, SECRETS, api_client, memory_api
from tests.webhook.asking import NS, OPT_IN, review
from tests.webhook.pods import pod

HOME = "fodc-system"
SECRET = "fodc-webhook-certificate"
SOON_S = 25.0


def peopled() -> MemoryApi:
    """An API server with a version, a namespace, a policy and the webhook's configuration."""
    api = memory_api()
    api["/version"] << {"major": "1", "minor": "34"}
    api.store(NAMESPACES).create("", {"metadata": {"name": NS, "labels": {OPT_IN: "enabled"}}})
    selector = {"podSelector": {"matchLabels": {"app": "banyandb-data"}}}
    api.store(INJECTIONS).create(NS, {"metadata": {"name": "db"}, "spec": selector})
    webhooks = [{"name": "pods.inject", "clientConfig": {"service": {"name": "fodc-webhook"}}}]
    api.store(HOOKS).create("", {"metadata": {"name": "fodc-injection"}, "webhooks": webhooks})
    return api


@dataclass
class Replica:
    """A program that runs, and the API server that it looks at."""

    api: MemoryApi
    program: Program
    running: asyncio.Task[None]

    async def get(self, path: str) -> tuple[int, str]:
        url = f"http://{self.program.probes.address}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def checks(self) -> dict[str, tuple[bool, str]]:
        body = json.loads((await self.get("/readyz"))[1])
        return {one["name"]: (one["ok"], one["message"]) for one in body["checks"]}

    async def until(self, look: Callable[[], Any]) -> None:
        async with asyncio.timeout(SOON_S):
            while not look():
                await asyncio.sleep(0.01)

    async def until_ready(self) -> None:
        async with asyncio.timeout(SOON_S):
            while (await self.get("/readyz"))[0] != 200:
                await asyncio.sleep(0.02)

    def context(self) -> ssl.SSLContext:
        """Trusts the CA of the Secret and nobody else."""
        secret = self.api.store(SECRETS).get(HOME, SECRET)
        trusted = certificates.decoded(secret["data"])["ca.crt"].decode()
        return ssl.create_default_context(cadata=trusted)

    async def asked(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        url = f"https://{self.program.listener.address}/inject"
        data = json.dumps(review(pod()))
        async with session.post(url, data=data, ssl=self.context()) as answer:
            return dict(json.loads(await answer.read())["response"])


async def issue(url: str) -> None:
    """Do what the leader of the operators does."""
    async with api_client(url) as client:
        names = certificates.names_of("fodc-webhook", HOME, ("127.0.0.1",))
        keeping = Keeping(HOME, SECRET, "fodc-injection", names)
        assert await CertificateKeeper(Cluster(client), keeping).turn()


@contextlib.asynccontextmanager
async def replica(
    *argv: str, api: MemoryApi | None = None, issued: bool = True
) -> AsyncIterator[Replica]:
    fixed = (
        "--listen-addr=127.0.0.1:0",
        "--http-listen-addr=127.0.0.1:0",
        f"--pod-namespace={HOME}",
        "--drain=100ms",
    )
    settings = own.settings_of(own.resolved((*fixed, *argv), {}))
    async with (
        serving(peopled() if api is None else api) as (served, url),
        api_client(url) as client,
    ):
        if issued:
            await issue(url)
        program = Program(settings, client)
        await program.listen()
        running = asyncio.create_task(program.run())
        try:
            yield Replica(served, program, running)
        finally:
            program.ask_to_end()
            await asyncio.gather(running, return_exceptions=True)


def test_a_replica_is_ready_when_it_can_answer_and_answers_over_tls() -> None:
    async def run() -> None:
        async with replica() as one:
            await one.until_ready()
            async with aiohttp.ClientSession() as session:
                assert "patch" in await one.asked(session)
            page = (await one.get("/metrics"))[1]
            checks = await one.checks()

        assert {name: ok for name, (ok, _) in checks.items()} == dict.fromkeys(
            ("lists", "handlers", "listener", "certificate", "stays"), True
        )
        for family in (
            'requests_total{dry_run="false",outcome="Injected",reason=""} 1',
            'seconds_bucket{le="0.0005"}',
            "requests_in_flight 0",
            "certificate_expiry_seconds ",
            "ready 1",
        ):
            assert f"fodc_webhook_{family}" in page, family

    asyncio.run(run())


def test_without_its_certificate_or_its_lists_a_replica_says_what_lacks() -> None:
    async def run() -> None:
        api = peopled()
        fault = api.fail(404, "GET", "fodcinjections", times=100_000)
        async with replica(api=api, issued=False) as one:
            await one.until(lambda: "404" in one.program.memory.missing)
            status, _ = await one.get("/readyz")
            checks = await one.checks()
            assert status == 503
            assert checks["lists"][0] is False
            assert "fodcinjections not read yet" in checks["lists"][1]
            assert checks["certificate"] == (
                False,
                f"there is no Secret {HOME}/{SECRET} yet; the operator makes it",
            )
            assert (await one.get("/healthz"))[0] == 200
            fault.times = 0
            await one.until(lambda: not one.program.memory.missing)

    asyncio.run(run())


def test_a_replica_that_is_asked_to_end_says_so_and_answers_until_it_does() -> None:
    """K5: each upgrade was a time without injection."""

    async def run() -> None:
        async with replica("--drain=3s") as one:
            await one.until_ready()
            async with aiohttp.ClientSession() as session:
                assert "patch" in await one.asked(session)
                one.program.ask_to_end()
                await asyncio.sleep(0.1)
                assert (await one.checks())["stays"][0] is False
                assert (await one.get("/readyz"))[0] == 503
                assert "patch" in await one.asked(session)
            began = asyncio.get_running_loop().time()
            await one.running

            assert asyncio.get_running_loop().time() - began < 8

    asyncio.run(run())


# ---- too much ------------------------------------------------------------------------------------


FLOOD = """
import asyncio, contextlib, ssl, sys

START = b'{"kind": "AdmissionReview", "request": {"uid": "u-1", '

async def slow_body(host, port, context):
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            head = b"POST /inject HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 1900000\\r\\n\\r\\n"
            writer.write(head + START)
            for _ in range(20):
                writer.write(b" " * 4000)
                await writer.drain()
                await asyncio.sleep(0.1)
            writer.transport.abort()
        await asyncio.sleep(1.0)

async def main():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = sys.argv[1].partition(":")
    await asyncio.gather(*(slow_body(host, int(port), context) for _ in range(300)))

asyncio.run(main())
"""


def test_three_hundred_slow_and_large_bodies_cost_little_and_keep_nobody_waiting() -> None:
    """K2: bodies were read before they were counted; 100 clients made 59 MiB to 340 MiB."""

    async def run() -> None:
        async with replica() as one:
            await one.until_ready()
            async with aiohttp.ClientSession() as session:
                assert "patch" in await one.asked(session)
            before_kib = resident_kib()
            flood = await asyncio.create_subprocess_exec(
                sys.executable, "-c", FLOOD, one.program.listener.address
            )
            try:
                await one.until(lambda: one.program.listener.dropped)
                answers = [await asked_anew(one) for _ in range(8)]
                for _ in range(2):  # what the flood costs its own machine may cost one round
                    if keep_waiting(answers):
                        answers = [await asked_anew(one) for _ in range(8)]
                connections = len(one.program.listener)
                grown_kib = resident_kib() - before_kib
            finally:
                flood.kill()
                await flood.wait()

            assert connections <= 48
            assert not keep_waiting(answers), answers
            assert grown_kib < 32 * 1024

    asyncio.run(run())


async def asked_anew(one: Replica) -> tuple[bool, float]:
    """Ask on a connection of its own; how long that took."""
    began = asyncio.get_running_loop().time()
    async with aiohttp.ClientSession() as session:
        try:
            allowed = bool((await one.asked(session))["allowed"])
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            allowed = False
    return allowed, asyncio.get_running_loop().time() - began


def keep_waiting(answers: list[tuple[bool, float]]) -> bool:
    """A connection may make room for others; API servers wait two seconds."""
    is_allowed = sum(allowed for allowed, _ in answers) >= 6
    return not is_allowed or sorted(took_s for _, took_s in answers)[6] >= 2.0


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


# ---- command line -------------------------------------------------------------------------------


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fodc_webhook", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


def test_help_and_version_are_told_and_wrong_settings_end_with_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    helped = program("--help")
    versioned, wrong = [(main([one]), *capsys.readouterr()) for one in ("--version", "--drian=1s")]

    assert (helped.returncode, "--cert-dir" in helped.stdout) == (0, True)
    assert (versioned[0], versioned[1].split()[0]) == (0, "fodc-webhook")
    assert wrong == (2, "", "fodc-webhook: unknown flag --drian; did you mean --drain?\n")


def test_help_loads_no_client_of_a_cluster_and_no_kopf() -> None:
    code = "import sys, fodc_webhook.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    ).stdout.split()

    assert {"kubernetes", "kopf", "aiohttp"} & set(loaded) == set()
