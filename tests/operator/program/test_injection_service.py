# SPDX-License-Identifier: Apache-2.0
"""The webhook as a part of whole operators: who is ready, who answers, what a change costs."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fodc_operator import settings as own
from fodc_operator.injection import certificates
from fodc_operator.resources.fodc_injection import Defaults
from fodc_protocol.errors import OptionError
from fodc_protocol.options import Address
from fodc_proxy.runtime import version
from tests.operator.injection.asking import NS, OPT_IN, review
from tests.operator.injection.pods import pod
from tests.operator.memory_api.server import MemoryApi, serving
from tests.operator.program.test_operator import Replica, replica
from tests.operator.servers import HOOKS, INJECTIONS, NAMESPACES, SECRETS, memory_api

HOME = "fodc-system"


def peopled() -> MemoryApi:
    """An API server with a version, a namespace, a policy and the webhook's configuration."""
    api = memory_api()
    api["/version"] << {"major": "1", "minor": "34"}
    labels = {OPT_IN: "enabled"}
    api.store(NAMESPACES).create("", {"metadata": {"name": NS, "labels": labels}})
    selector = {"podSelector": {"matchLabels": {"app": "banyandb-data"}}}
    api.store(INJECTIONS).create(NS, {"metadata": {"name": "db"}, "spec": selector})
    webhooks = [{"name": "pods.inject", "clientConfig": {"service": {"name": "fodc-webhook"}}}]
    api.store(HOOKS).create("", {"metadata": {"name": "fodc-injection"}, "webhooks": webhooks})
    return api


def injecting(url: str, folder: Path) -> Any:
    return replica(
        url, folder, "--webhook-listen-addr=127.0.0.1:0", "--webhook-extra-sans=127.0.0.1"
    )


async def check(one: Replica) -> tuple[int, bool, str]:
    status, ready = await one.ask("/readyz")
    (found,) = [one for one in ready["checks"] if one["name"] == "webhook"]
    return status, found["ok"], found["message"]


async def until_works(one: Replica) -> None:
    assert one.operator.injection is not None
    await one.until(lambda: one.operator.injection.fault.message == "")


async def asked(api: MemoryApi, one: Replica) -> dict[str, Any]:
    """The answer to a caller who trusts the CA of the Secret and nobody else."""
    secret = api.store(SECRETS).get(HOME, "fodc-webhook-certificate")
    trusted = certificates.decoded(secret["data"])["ca.crt"].decode()
    context = ssl.create_default_context(cadata=trusted)
    assert one.operator.injection is not None
    url = f"https://{one.operator.injection.address}/inject"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=json.dumps(review(pod())), ssl=context) as answer,
    ):
        return dict(json.loads(await answer.read())["response"])


def test_every_replica_answers_with_the_certificate_that_the_leader_made(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(peopled()) as (api, url), injecting(url, tmp_path / "a") as first:
            await first.leads()
            async with injecting(url, tmp_path / "b") as second:
                for one in (first, second):
                    await until_works(one)
                    assert "patch" in await asked(api, one)
                    status, ok, message = await check(one)
                    assert (status, ok, message[:11]) == (200, True, "answers on ")
                assert await first.end() == 0
                assert "patch" in await asked(api, second)
                page = (await second.ask("/metrics"))[1]

        for family in (
            'requests_total{dry_run="false",outcome="Injected",reason=""} 2',
            'seconds_bucket{le="0.0005"}',
            "seconds_count 2",
            "requests_in_flight 0",
            "certificate_expiry_seconds ",
            "webhook_ready 1",
        ):
            assert f"fodc_operator_injection_{family}" in page, family

    asyncio.run(run())


def test_a_broken_webhook_makes_a_standby_unready_and_the_leader_not(tmp_path: Path) -> None:
    """Readiness is one word for a pod, and only the leader serves agents and people."""

    async def run() -> None:
        async with serving(peopled()) as (api, url):
            api.fail(403, "GET", "secrets", times=100_000)
            async with injecting(url, tmp_path / "a") as first:
                await first.leads()
                async with injecting(url, tmp_path / "b") as second:
                    await second.until(lambda: second.operator.leadership.holder)
                    leader, standby = await check(first), await check(second)
                    assert first.operator.injection is not None
                    health = first.operator.injection.health()

        assert leader[:2] == (200, True)
        assert leader[2] == (
            "DOES NOT WORK: get secrets: 403 Forbidden; this replica stays ready, because it "
            "leads and agents and people need it"
        )
        assert standby == (503, False, "get secrets: 403 Forbidden")
        assert (health.is_ready, health.reason) == (False, "NoCertificate")

    asyncio.run(run())


def test_without_the_kind_installed_the_proxy_serves_and_the_check_says_what_lacks(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with serving(peopled()) as (api, url):
            api.fail(404, "GET", "fodcinjections", times=100_000)
            async with injecting(url, tmp_path) as one:
                await one.leads()
                assert one.operator.injection is not None
                await one.until(lambda: "404" in one.operator.injection.fault.message)
                status, ok, message = await check(one)

        assert (status, ok) == (200, True)
        assert "FodcInjections not read yet: list fodcinjections: 404 injected" in message

    asyncio.run(run())


def test_a_part_of_the_injection_that_fails_ends_neither_the_rest_nor_the_operator(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with serving(peopled()) as (api, url), injecting(url, tmp_path) as one:
            await one.leads()
            await until_works(one)
            # What no API server sends: not a mapping at all.
            api.store(INJECTIONS).objects[NS, "db"]["metadata"]["labels"] = 5
            service = one.operator.injection
            assert service is not None

            async def fails() -> None:
                raise ZeroDivisionError

            service._keeper.turn = fails  # type: ignore[method-assign,union-attr,assignment]  # the fault to test
            service._certificate.refresh = fails  # type: ignore[method-assign]  # as above
            service._certificate.look_now()
            await asyncio.sleep(0.1)

            assert "patch" in await asked(api, one)
            assert not one.running.done()

    asyncio.run(run())


def test_the_listener_is_tried_as_an_api_server_would(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(peopled()) as (_, url), injecting(url, tmp_path) as one:
            await one.leads()
            await until_works(one)
            service = one.operator.injection
            assert service is not None
            await service.stop()

            assert service.fault.reason == "NotListening"
            assert not service.health().is_ready

    asyncio.run(run())


# ---- settings -----------------------------------------------------------------------------------


def read(*argv: str) -> own.Settings:
    return own.settings_of(own.resolved(argv, {}))


def test_the_injections_defaults_are_those_that_the_manifests_count_on() -> None:
    found = read("--pod-namespace=fodc-system").injection

    assert found is not None
    assert (found.listen, found.own_namespace, found.namespaces) == (
        Address("", 9443),
        "fodc-system",
        (),
    )
    assert (found.config_name, found.secret_name, found.service_name, found.cert_dir) == (
        "fodc-injection",
        "fodc-webhook-certificate",
        "fodc-webhook",
        "",
    )
    assert found.defaults == Defaults(
        f"banyandb-fodc-agent:{version()}", "fodc-proxy-grpc.fodc-system.svc:17912"
    )


def test_without_an_address_nothing_is_injected_and_a_wrong_one_is_refused() -> None:
    assert read("--webhook-listen-addr=").injection is None
    with pytest.raises(OptionError) as caught:
        read("--webhook-listen-addr=nonsense")
    assert caught.value.message == (
        "webhook-listen-addr must be an address such as :9090, localhost:9090 or [::1]:9090, "
        "or empty "
        "(--webhook-listen-addr is 'nonsense')"
    )
