# SPDX-License-Identifier: Apache-2.0
"""A webhook with an API server in memory, and reviews as an API server sends them."""

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from fodc_kube.conditions import Happened
from fodc_operator.injection.known import Known
from fodc_operator.injection.webhook import Webhook
from fodc_operator.injection.webhook_figures import WebhookFigures
from tests.operator.injection.patching import applied
from tests.operator.injection.pods import DEFAULTS, SERVER
from tests.operator.memory_api.server import MemoryApi
from tests.operator.servers import INJECTIONS, NAMESPACES, cluster

NS = "banyandb"
OPT_IN = "fodc.banyandb.dev/inject"
SKIPPED = "fodc.banyandb.dev/not-injected"


def review(pod: dict[str, Any], *, dry_run: bool = False, namespace: str = NS) -> dict[str, Any]:
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": namespace,
        "object": pod,
        "dryRun": dry_run,
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def agents(pod: dict[str, Any]) -> int:
    spec = pod["spec"]
    found = [*spec.get("initContainers", []), *spec["containers"]]
    return sum(one["name"] == "fodc-agent" for one in found)


@dataclass
class Asking:
    """The webhook, what it counted and told, and the API server that it may look at."""

    api: MemoryApi
    webhook: Webhook
    known: Known
    figures: WebhookFigures
    session: aiohttp.ClientSession
    notes: list[tuple[str, str, Happened]] = field(default_factory=list)

    async def send(self, body: Any) -> dict[str, Any]:
        """The response; whatever is sent, there is one."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://{self.webhook.address}/inject?timeout=2s"
        async with self.session.post(url, data=io.BytesIO(data)) as answer:
            assert answer.status == 200
            said = json.loads(await answer.read())
        assert (said["apiVersion"], said["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        return dict(said["response"])

    async def made(self, pod: dict[str, Any], **more: Any) -> tuple[dict[str, Any], list[str]]:
        """The pod as it is created, and the warnings."""
        response = await self.send(review(pod, **more))
        assert response["allowed"] is True, response
        steps = json.loads(base64.b64decode(response.get("patch", "") or b"W10="))
        return applied(steps, pod), response.get("warnings", [])

    def counted(self) -> dict[tuple[str, str], int]:
        """Reviews by outcome and reason, dry runs apart from nothing."""
        found: dict[tuple[str, str], int] = {}
        for (outcome, reason, _), number in self.figures.requests.items():
            found[outcome, reason] = found.get((outcome, reason), 0) + number
        return found

    async def policy(self, name: str = "db", *, heard: bool = True, **spec: Any) -> None:
        """Apply a FodcInjection, and wait until memory has it."""
        selector = {"podSelector": {"matchLabels": {"app": "banyandb-data"}}}
        body = {"metadata": {"name": name}, "spec": {**selector, **spec}}
        self.api.store(INJECTIONS).create(NS, body)
        while heard and self.known.policies.get(NS, name) is None:
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def asking(*, watching: bool = True, **more: Any) -> AsyncIterator[Asking]:
    """Serve without TLS; without `watching` memory stays empty but counts as read."""
    figures, notes = WebhookFigures(), []
    async with cluster() as (api, server), aiohttp.ClientSession() as session:
        labels = {OPT_IN: "enabled"}
        api.store(NAMESPACES).create("", {"metadata": {"name": NS, "labels": labels}})
        known = Known(server, (), DEFAULTS)
        known.server_version = SERVER

        def tell(about: Any, happened: Happened) -> None:
            notes.append((about["kind"], about["metadata"]["name"], happened))

        webhook = Webhook(known, figures, tell, **more)
        tasks = [asyncio.create_task(one.run()) for one in (known.policies, known.namespaces)]
        await known.policies.wait_synced()
        await known.namespaces.wait_synced()
        if not watching:
            await ended(tasks)
        await webhook.start("127.0.0.1", 0, None)
        try:
            async with asyncio.timeout(20):
                yield Asking(api, webhook, known, figures, session, notes)
        finally:
            await webhook.stop()
            await ended(tasks)


async def ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
