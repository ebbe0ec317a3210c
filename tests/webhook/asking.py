# SPDX-License-Identifier: Apache-2.0
"""A webhook with an API server in memory, and reviews as an API server sends them."""

import asyncio
import base64
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from fodc_kube.access import Access
from fodc_kube.client import Cluster
from fodc_kube.conditions import Happened
from fodc_webhook.decide import Attempt, Decider
from fodc_webhook.figures import Figures
from fodc_webhook.handlers.running import Handlers
from fodc_webhook.inject.attempt import attempt as attempt_
from fodc_webhook.listener import Listener
from fodc_webhook.memory import Memory
from fodc_webhook.reviews import Reviews
from fodc_webhook.server import Admission
from tests.operator.memory_api.server import MemoryApi, serving
from tests.operator.servers import FAST, INJECTIONS, NAMESPACES, api_client, memory_api
from tests.webhook.patching import applied
from tests.webhook.pods import DEFAULTS, SERVER

NS = "banyandb"
OPT_IN = "fodc.banyandb.dev/inject"
SKIPPED = "fodc.banyandb.dev/not-injected"


def review(pod: dict[str, Any], *, dry_run: bool = False, namespace: str = NS) -> dict[str, Any]:
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "system:serviceaccount:kube-system:statefulset-controller"},
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
    admission: Admission
    listener: Listener
    memory: Memory
    figures: Figures
    session: aiohttp.ClientSession
    notes: list[tuple[str, str, Happened]] = field(default_factory=list)

    async def send(self, body: Any) -> dict[str, Any]:
        """The response; whatever is sent, there is one."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://{self.listener.address}/inject?timeout=2s"
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
        while heard and self.memory.policies.get(NS, name) is None:
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def asking(
    *,
    watching: bool = True,
    attempt: Attempt = attempt_,
    clock_s: Callable[[], float] = time.monotonic,
    most_connections: int = 64,
    budget_s: float = 20.0,
    **more: Any,
) -> AsyncIterator[Asking]:
    """kopf and the server without TLS; without `watching` memory stays empty but counts as read."""
    figures, notes = Figures(), []
    async with serving(memory_api()) as (api, url), api_client(url) as client:
        labels = {OPT_IN: "enabled"}
        api.store(NAMESPACES).create("", {"metadata": {"name": NS, "labels": labels}})
        cluster = Cluster(client, backoff=FAST, chance=lambda: 0.5)
        memory, elsewhere = (Memory(cluster, (), DEFAULTS) for _ in range(2))
        memory.versions.oldest = SERVER

        def tell(about: Any, happened: Happened) -> None:
            notes.append((about["kind"], about["metadata"]["name"], happened))

        reviews = Reviews(memory, tell, decider=Decider(attempt), clock_s=clock_s)
        admission = Admission(figures, tell, lambda: memory.missing, budget_s=budget_s, **more)
        listener = Listener(admission.handle, most_connections=most_connections)
        told = memory if watching else elsewhere
        for one in memory._lists:
            one._synced.set()
        handlers = Handlers(
            lambda: Access(url), told, reviews, admission, watched=(), began=lambda: None
        )
        if watching:
            for one in memory._lists:
                await one._listed()
        running = asyncio.create_task(handlers.run())
        await listener.start("127.0.0.1", 0, None)
        try:
            async with asyncio.timeout(20), aiohttp.ClientSession() as session:
                while not admission.is_connected or (watching and len(api.watches) < 2):
                    assert not running.done(), running
                    await asyncio.sleep(0.005)
                yield Asking(api, admission, listener, memory, figures, session, notes)
        finally:
            await listener.stop(1.0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
