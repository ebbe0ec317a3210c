# SPDX-License-Identifier: Apache-2.0
"""Secrets go into the operator by every way that takes one; status, Events and logs have none."""

import asyncio
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fodc_operator import settings as own
from fodc_protocol.errors import OptionError
from tests.operator.memory_api.server import EVENTS, NODES, REQUESTS, MemoryApi
from tests.operator.mirror.fleet import registration
from tests.operator.program.test_operator import NS, Replica, one_replica
from tests.operator.servers import INJECTIONS, PODS

KINDS = {"DiagnosticRequest": REQUESTS, "FodcInjection": INJECTIONS}
PURPOSE = "purpose-hunter2-4f1e"
ANNOTATION = "annotation-hunter2-77ab"
ODD = "odd-field-hunter2-0c9d"
ENVIRONMENT = "environment-hunter2-3e3e"
ARGUMENT = "argument-hunter2-5b5b"
LAST_WORDS = "last-words-hunter2-8d8d"
TOKEN = "wrong-token-hunter2-1a1a"
QUERY = "query-hunter2-2c2c"
SECRETS = (PURPOSE, ANNOTATION, ODD, ENVIRONMENT, ARGUMENT, LAST_WORDS, TOKEN, QUERY)


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    return {
        "apiVersion": "fodc.banyandb.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NS,
            "annotations": {applied: ANNOTATION, "fodc.banyandb.dev/note": f"token={ANNOTATION}"},
        },
        "spec": spec,
    }


def requests() -> Iterable[dict[str, Any]]:
    """One that is carried out, and some with fields that a server with an old kind let pass.

    Values of fields that there are stand in the object itself, which has the same readers.
    """
    captures = [{"type": "HeapSnapshot"}]
    told = {"all": True}
    yield resource(
        "DiagnosticRequest",
        "good",
        {"target": told, "captures": captures, "purpose": f"password={PURPOSE}"},
    )
    odd: list[dict[str, Any]] = [
        {"target": told, "captures": captures, "password": ODD},
        {"target": {**told, "credentials": {"password": ODD}}, "captures": captures},
        {"target": told, "captures": [{"type": "HeapSnapshot", "token": ODD}]},
        {"target": told, "captures": captures, "execution": {"headers": [f"Bearer {ODD}"]}},
    ]
    for number, spec in enumerate(odd):
        yield resource("DiagnosticRequest", f"odd-{number}", spec)


def injections() -> Iterable[dict[str, Any]]:
    selector = {"matchLabels": {"app": "banyandb"}}
    yield resource("FodcInjection", "good", {"podSelector": selector})
    for number, more in enumerate(({"password": ODD}, {"agent": {"token": ODD}})):
        yield resource("FodcInjection", f"odd-{number}", {"podSelector": selector, **more})


def database() -> dict[str, Any]:
    """A pod that was told secrets, and said one as it ended."""
    container = {
        "name": "banyandb",
        "image": "banyandb:1",
        "args": ["data", f"--password={ARGUMENT}", "--token", ARGUMENT],
        "env": [{"name": "ROOT_PASSWORD", "value": ENVIRONMENT}],
    }
    ended = {
        "exitCode": 2,
        "reason": "Error",
        "message": f"panic: cannot log in with password={LAST_WORDS}",
        "startedAt": "2026-11-29T11:00:00Z",
        "finishedAt": "2026-11-29T12:00:00Z",
        "containerID": "containerd://1",
    }
    status = {
        "name": "banyandb",
        "restartCount": 1,
        "containerID": "containerd://2",
        "state": {"running": {"startedAt": "2026-11-29T12:00:01Z"}},
        "lastState": {"terminated": ended},
    }
    metadata = {
        "name": "data-0",
        "namespace": NS,
        "labels": {"app": "banyandb"},
        "annotations": {"deploy-token": ANNOTATION},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": "worker-1", "containers": [container]},
        "status": {"phase": "Running", "podIP": "10.0.0.9", "containerStatuses": [status]},
    }


async def ask_in_every_wrong_way(one: Replica) -> list[str]:
    """Ask over HTTP with secrets in heads, queries and bodies; return what was answered."""
    base = f"http://{one.operator.proxy.http_address}"
    body = {"target": {"all": True}, "captures": [{"profile": "cpu"}], "password": QUERY}
    told = []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        for path in ("/cluster", f"/cluster?access_token={QUERY}", f"/metrics?token={QUERY}"):
            async with session.get(base + path) as answer:
                told.append(await answer.text())
        async with session.post(base + "/diagnostics/requests", json=body) as answer:
            told.append(await answer.text())
    return told


def test_no_secret_is_in_status_conditions_events_logs_audit_or_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    audit = tmp_path / "audit"

    async def run() -> list[str]:
        async with one_replica(tmp_path, f"--audit-log={audit}") as (api, one):
            api.store(PODS).create(NS, database())
            await one.leads()
            one.operator.proxy.registry.register(registration("data-0"))
            for wanted in (*requests(), *injections()):
                api.store(KINDS[wanted["kind"]]).create(NS, wanted)
            await one.until(lambda: all(has_status(api, kind) for kind in KINDS))
            await one.until(lambda: api.store(NODES).listed(NS))
            told = await ask_in_every_wrong_way(one)
            told.append((await one.ask("/metrics"))[1])
            told.append(json.dumps((await one.ask("/readyz"))[1]))
            told.append(json.dumps((await one.ask("/incidents"))[1]))
            told += [json.dumps(status) for status in written(api)]
            told += [json.dumps(event) for event in api.store(EVENTS).listed(None)]
            return told

    told = asyncio.run(run())
    everything = "\n".join([*told, caplog.text, audit.read_text()])

    assert [secret for secret in SECRETS if secret in everything] == []
    # It would have been seen: what was asked was understood, refused and told of.
    assert '"Accepted"' in everything
    assert "createDiagnosticRequest" in audit.read_text()


def has_status(api: MemoryApi, kind: str) -> bool:
    found = api.store(KINDS[kind]).listed(NS)
    return bool(found) and all("conditions" in one.get("status", {}) for one in found)


def written(api: MemoryApi) -> list[Any]:
    """What the operator has written into objects: all but what others put there."""
    found = [one for kind in (REQUESTS, INJECTIONS, NODES) for one in api.store(kind).listed(NS)]
    return [one.get("status") for one in found] + api.store(NODES).listed(NS)


@pytest.mark.parametrize(
    "argument",
    [
        f"--http-oidc-issuer=https://fodc:{QUERY}@issuer.example",
        f"--artifact-store=s3://key:{QUERY}@bucket/path",
        f"--artifact-store=ftp://key:{QUERY}@bucket/path",
        f"--http-oidc-issuer=https://issuer.example?client_secret={QUERY}",
        f"--no-such-option={QUERY}",
    ],
)
def test_a_setting_that_cannot_be_used_is_named_without_its_value(argument: str) -> None:
    with pytest.raises(OptionError) as caught:
        own.settings_of(own.resolved([argument, "--http-oidc-audience=fodc"], {}))

    assert QUERY not in caught.value.message
    assert argument.partition("=")[0] in caught.value.message
