# SPDX-License-Identifier: Apache-2.0
"""The client as the operator makes it."""

import asyncio
from pathlib import Path

import yaml

from fodc_kube import kinds
from fodc_kube.access import api_client
from fodc_kube.client import Cluster
from fodc_kube.informer import Informer, Selection
from tests.operator.memory_api.server import serving
from tests.operator.servers import memory_api

NAMESPACES = 150
SOON_S = 20.0


def kubeconfig_of(url: str, folder: Path) -> str:
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": url}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_watches_of_many_namespaces_leave_room_for_the_lease(tmp_path: Path) -> None:
    """Each holds a connection; with none left the leader could not renew and would end."""

    async def run() -> None:
        async with (
            serving(memory_api()) as (api, url),
            api_client(kubeconfig_of(url, tmp_path)) as client,
        ):
            server = Cluster(client)
            selection = Selection(tuple(f"n-{at}" for at in range(NAMESPACES)))
            watching = asyncio.create_task(Informer(server, kinds.POD, selection).run())
            try:
                async with asyncio.timeout(SOON_S):
                    while len(api.watches) < NAMESPACES:
                        await asyncio.sleep(0.02)
                    assert await server.get(kinds.POD, "n-0", "nobody") is None
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(run())
