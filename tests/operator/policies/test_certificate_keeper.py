# SPDX-License-Identifier: Apache-2.0
"""The leader keeps Secret and caBundle on an API server in memory; replicas load what is there."""

import asyncio
import base64
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from fodc_kube.client import Cluster
from fodc_operator.policies.certificate_keeper import CertificateKeeper, Fault, Keeping
from fodc_tls.serving import ServingCertificate, folder_source
from fodc_webhook import certificates
from fodc_webhook.certificates import Held, Rules, Step
from fodc_webhook.figures import Figures
from fodc_webhook.secret_source import secret_source
from tests.operator.memory_api.server import MemoryApi
from tests.operator.servers import HOOKS, SECRETS, cluster

HOME, SECRET, CONFIG = "fodc-system", "fodc-webhook-certificate", "fodc-injection"
NAMES = certificates.names_of("fodc-webhook", HOME)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEEPING = Keeping(HOME, SECRET, CONFIG, NAMES)


def configuration(**entry: Any) -> dict[str, Any]:
    webhooks = [
        {"name": name, "clientConfig": {"service": {"name": "fodc-webhook"}, **entry}}
        for name in ("pods.inject", "namespaces.inject")
    ]
    return {"metadata": {"name": CONFIG}, "webhooks": webhooks}


def with_api(
    run: Callable[[MemoryApi, Cluster], Awaitable[None]],
    *,
    configured: bool = True,
    deadline_s: float = 5.0,
) -> None:
    async def within() -> None:
        async with cluster(deadline_s=deadline_s) as (api, server):
            if configured:
                api.store(HOOKS).create("", configuration())
            async with asyncio.timeout(20):
                await run(api, server)

    asyncio.run(within())


def keeper(server: Cluster, told: list[str], at: list[datetime] | None = None) -> CertificateKeeper:
    times = at or [NOW]
    return CertificateKeeper(server, KEEPING, now=lambda: times[-1])


def parts(api: MemoryApi) -> dict[str, bytes]:
    return certificates.decoded(api.store(SECRETS).get(HOME, SECRET)["data"])


def bundles(api: MemoryApi) -> list[bytes]:
    entries = api.store(HOOKS).get("", CONFIG)["webhooks"]
    return [base64.b64decode(one["clientConfig"].get("caBundle", "")) for one in entries]


# ---- the leader ---------------------------------------------------------------------------------


def test_the_first_turn_makes_what_is_missing_and_the_second_has_nothing_to_do() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        told: list[str] = []
        one = keeper(server, told)
        assert await one.turn() is True
        assert await one.turn() is False

        held = certificates.read(parts(api))
        assert certificates.leaf_fault(held, NAMES, NOW) == ""
        assert bundles(api) == [parts(api)["ca.crt"]] * 2
        assert api.store(SECRETS).get(HOME, SECRET)["type"] == "kubernetes.io/tls"
        assert one.fault == Fault()
        assert (api.count("PATCH"), api.count("POST")) == (1, 1)

    with_api(run)


def test_a_rotation_goes_its_steps_and_everything_else_of_the_secret_stays() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        at = [NOW]
        one = keeper(server, [], at)
        await one.turn()
        labels = {"metadata": {"labels": {"team": "a"}}}
        api.store(SECRETS).patch(HOME, SECRET, "application/merge-patch+json", labels)
        first = parts(api)
        at.append(NOW + timedelta(days=3000))
        numbers = []
        for _ in range(4):
            await one.turn()
            numbers.append(len(certificates.read(parts(api)).authorities))
            assert bundles(api) == [parts(api)["ca.crt"]] * 2
            at.append(at[-1] + timedelta(minutes=20))

        assert numbers == [2, 2, 1, 1]
        assert parts(api)["ca.crt"] != first["ca.crt"]
        assert api.store(SECRETS).get(HOME, SECRET)["metadata"]["labels"]["team"] == "a"

    with_api(run)


@pytest.mark.parametrize("found", [{}, {"caBundle": "b2xk"}])
def test_a_bundle_that_is_gone_or_another_is_put_back(found: dict[str, str]) -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        one = keeper(server, [])
        await one.turn()
        store = api.store(HOOKS)
        version = store.get("", CONFIG)["metadata"]["resourceVersion"]
        body = configuration(**found)
        body["metadata"] |= {"resourceVersion": version, "namespace": ""}
        store.put("", CONFIG, body)
        assert bundles(api) != [parts(api)["ca.crt"]] * 2
        await one.turn()

        assert bundles(api) == [parts(api)["ca.crt"]] * 2
        service = store.get("", CONFIG)["webhooks"][0]["clientConfig"]["service"]
        assert service == {"name": "fodc-webhook"}

    with_api(run)


def test_a_leaf_of_a_new_ca_waits_until_the_server_was_told_of_it() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        at = [NOW]
        one = keeper(server, [], at)
        await one.turn()
        for day in (2919, 2920):
            at.append(NOW + timedelta(days=day))
            await one.turn()
        assert len(certificates.read(parts(api)).authorities) == 2
        api.store(HOOKS).delete("", CONFIG)
        at.append(at[-1] + timedelta(hours=1))
        before = parts(api)
        await one.turn()

        assert parts(api) == before
        assert one.fault == Fault(
            "NotConfigured",
            "there is no MutatingWebhookConfiguration fodc-injection, so no pod gets an agent",
        )

    with_api(run)


def test_another_leader_that_was_faster_is_not_overwritten() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        api.fail(409, "POST", "secrets", reason="AlreadyExists")
        one = keeper(server, [])
        assert await one.turn() is False
        assert await one.turn() is True
        first = parts(api)
        other = keeper(server, [], [NOW + timedelta(days=61)])
        api.fail(409, "PATCH", "secrets", reason="Conflict")
        await other.turn()
        assert parts(api) == first
        await other.turn()

        assert parts(api)["tls.crt"] != first["tls.crt"]
        assert other.fault == Fault()

    with_api(run)


def test_a_right_that_is_missing_is_told_without_a_word_of_the_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        api.fail(403, "POST", "secrets")
        one = keeper(server, [])
        await one.turn()

        assert one.fault == Fault("CertificateNotKept", "create secrets: 403 Forbidden")

    caplog.set_level(logging.DEBUG)
    with_api(run)
    assert "PRIVATE KEY" not in caplog.text
    assert "LS0tLS1" not in caplog.text


def test_without_a_configuration_to_keep_only_the_secret_is_kept() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        keeping = Keeping(HOME, SECRET, "", NAMES)
        one = CertificateKeeper(server, keeping, now=lambda: NOW)
        await one.turn()

        assert (one.fault, bundles(api)) == (Fault(), [b"", b""])
        assert parts(api)

    with_api(run)


# ---- every replica ------------------------------------------------------------------------------


def made(now: datetime | None = None, **rules: timedelta) -> dict[str, bytes]:
    at = now or datetime.now(UTC)
    names = certificates.names_of("fodc-webhook", HOME, ("127.0.0.1",))
    return certificates.carried_out(Step.START_ANEW, Held(), names, at, Rules(**rules))


def write(folder: Path, found: dict[str, bytes]) -> None:
    for name in ("tls.crt", "tls.key"):
        (folder / name).write_bytes(found[name])


async def shown(port: int) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return ssl.DER_cert_to_PEM_cert(der).encode()


def test_a_listener_shows_the_next_certificate_to_the_next_connection(tmp_path: Path) -> None:
    """A connection that is open stays so; nothing is bound anew; a bad pair costs nothing."""

    async def run() -> None:
        figures = Figures()
        one = ServingCertificate(folder_source(tmp_path), figures.certificate_loads)
        await one.refresh()
        assert one.fault.startswith("--cert-dir: ")

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=one.context)
        port = server.sockets[0].getsockname()[1]
        first, second = made(), made()
        async with server:
            with pytest.raises(OSError):
                await shown(port)
            write(tmp_path, first)
            await one.refresh()
            assert (one.fault, await shown(port)) == ("", first["tls.crt"])
            context = ssl.create_default_context(cadata=first["ca.crt"].decode())
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)

            write(tmp_path, {**second, "tls.key": first["tls.key"]})
            await one.refresh()
            assert await shown(port) == first["tls.crt"]
            write(tmp_path, second)
            await one.refresh()
            assert await shown(port) == second["tls.crt"]
            writer.write(b"still here\n")
            assert await reader.readline() == b"still here\n"
            writer.close()
            await writer.wait_closed()

        assert figures.certificate_loads == {"ok": 2, "refused": 1}

    asyncio.run(run())


def test_a_certificate_that_ended_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, made(NOW, leaf_life=timedelta(days=1)))
    times = [NOW]
    one = ServingCertificate(folder_source(tmp_path), Counter(), now=lambda: times[-1])
    asyncio.run(one.refresh())
    assert (one.fault, one.expires_at) == ("", NOW + timedelta(days=1))
    times.append(NOW + timedelta(days=1))

    assert one.fault == "the certificate ended at 2026-11-22 12:00 UTC"


def test_a_replica_reads_the_secret_as_soon_as_it_is_there() -> None:
    async def run(api: MemoryApi, server: Cluster) -> None:
        source = secret_source(server, HOME, SECRET)
        one = ServingCertificate(source, Counter(), poll_s=0.01, now=lambda: NOW)
        task = asyncio.create_task(one.run())
        while "Secret" not in one.fault:
            await asyncio.sleep(0.005)
        assert one.fault == (
            "there is no Secret fodc-system/fodc-webhook-certificate yet; the operator makes it"
        )
        await CertificateKeeper(server, KEEPING, now=lambda: NOW).turn()
        while one.fault:
            await asyncio.sleep(0.005)
        api.fail(500, "GET", "secrets", times=1000)
        await one.refresh()

        assert one.fault == ""
        assert one.expires_at == NOW + timedelta(days=90)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with_api(run, deadline_s=2.0)


def test_a_key_with_a_password_is_refused_rather_than_asked_for(tmp_path: Path) -> None:
    found = made()
    key = serialization.load_pem_private_key(found["tls.key"], None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    write(tmp_path, {**found, "tls.key": locked})
    one = ServingCertificate(folder_source(tmp_path), Counter())
    asyncio.run(one.refresh())

    assert one.fault.startswith("tls.crt and tls.key cannot be used: ")
