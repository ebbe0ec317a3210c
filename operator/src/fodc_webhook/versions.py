# SPDX-License-Identifier: Apache-2.0
"""Which Kubernetes pods must be fit for, asked from time to time."""

import asyncio
import logging
from typing import Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError
from fodc_webhook.inject.server_versions import Version, kubelets_count
from fodc_webhook.inject.server_versions import oldest as oldest_of

UNKNOWN: Final[Version] = (0, 0)
VERSION_S: Final = 3600.0
VERSION_AGAIN_S: Final = 5.0
KUBELETS_S: Final = 60.0
"""How often kubelets are asked, where their age matters; a node may join at any time."""
_log = logging.getLogger(__name__)


class Versions:
    """`run` in a task; `oldest` of API server and kubelets at any time."""

    def __init__(self, cluster: Cluster) -> None:
        self.oldest = UNKNOWN
        self._known = asyncio.Event()
        self._cluster = cluster

    async def wait_known(self) -> None:
        """Return when the server has told its version once."""
        await self._known.wait()

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            server = await self._ask_version()
            if server == UNKNOWN:
                await asyncio.sleep(VERSION_AGAIN_S)
            else:
                await asyncio.sleep(KUBELETS_S if kubelets_count(server) else VERSION_S)

    async def _ask_version(self) -> tuple[int, int]:
        """Bring `oldest` up to date; returns the API server's own, UNKNOWN for unknown."""
        try:
            server = await self._cluster.server_version()
        except ClusterError as error:
            _log.warning("the API server's version is not known: %s", error.message)
            return UNKNOWN
        found = oldest_of(server, await self._kubelets() if kubelets_count(server) else ())
        if found != self.oldest:
            told = "the API server is of version %d.%d, pods are made fit for %d.%d"
            _log.info(told, *server, *found)
        self.oldest = found
        self._known.set()
        return server

    async def _kubelets(self) -> list[str] | None:
        try:
            listed = await self._cluster.list(kinds.NODE, keep=_kubelet_version)
        except ClusterError as error:
            told = "versions of kubelets are not known, the oldest allowed is assumed: %s"
            _log.warning(told, error.message)
            return None
        return [one["kubelet"] for one in listed.items]


def _kubelet_version(node: Object) -> Object:
    return {"kubelet": node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "")}
