# SPDX-License-Identifier: Apache-2.0
"""The label by which the Services find the leader's pod."""

import asyncio
import logging
from typing import Final

from fodc_kube import kinds
from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError

AGAIN_S: Final = 5.0
REMOVAL_S: Final = 2.0
_log = logging.getLogger(__name__)


class LeaderLabel:
    """Sets and removes the label of the own pod; does nothing where there is no pod."""

    def __init__(self, cluster: Cluster, namespace: str, pod_name: str, label: str) -> None:
        self._cluster = cluster
        self._pod = (namespace, pod_name)
        self._label = label

    @property
    def is_wanted(self) -> bool:
        """Whether there is a pod to label."""
        return all(self._pod) and bool(self._label)

    async def set_until_done(self) -> None:
        """Set it, again and again while that fails: without it no Service leads here."""
        while self.is_wanted:
            if await self._write("true"):
                return
            await asyncio.sleep(AGAIN_S)

    async def remove(self) -> None:
        """Remove it; a standby that was killed as leader must not be found any more."""
        if self.is_wanted:
            try:
                async with asyncio.timeout(REMOVAL_S):
                    await self._write(None)
            except TimeoutError:
                _log.warning("label %s may still be on pod %s/%s", self._label, *self._pod)

    async def _write(self, value: str | None) -> bool:
        try:
            await self._cluster.patch(
                kinds.POD, *self._pod, {"metadata": {"labels": {self._label: value}}}
            )
        except ClusterError as error:
            _log.error("label %s on pod %s/%s: %s", self._label, *self._pod, error.message)
            return False
        return True
