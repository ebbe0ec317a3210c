# SPDX-License-Identifier: Apache-2.0
"""A store kept whole by a list from time to time, beside somebody else's watch.

The one idea: handlers of a framework tell what happens; that a list is complete, and what was
deleted while nobody watched, only a list of one's own tells.
"""

import asyncio
import contextlib
import logging
from typing import Final

from fodc_kube.client import Cluster
from fodc_kube.errors import ClusterError
from fodc_kube.kinds import Kind
from fodc_kube.store import Store

EVERY_S: Final = 120.0
AGAIN_S: Final = 1.0
_log = logging.getLogger(__name__)


class Listing:
    """`run` in a task, which ends only by being cancelled."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        store: Store,
        namespaces: tuple[str, ...] = (),
        *,
        every_s: float = EVERY_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self.kind = kind
        self.fault = ""
        """Why the last list failed, empty when it did not."""
        self._cluster = cluster
        self._store = store
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._every_s = every_s
        self._again_s = again_s
        self._synced = asyncio.Event()
        self._wanted = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether everything has been listed once; from then on it stays so."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return when everything has been listed once."""
        await self._synced.wait()

    def look_now(self) -> None:
        """List at once rather than in its turn: the watch has been away."""
        self._wanted.set()

    async def run(self) -> None:
        """List again and again."""
        while True:
            self._wanted.clear()
            pause_s = self._every_s if await self._listed() else self._again_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()

    async def _listed(self) -> bool:
        try:
            for scope in self._scopes:
                found = await self._cluster.list(self.kind, scope)
                self._store.replace(found.items, found.resource_version, scope)
        except (ClusterError, KeyError, TypeError) as error:
            said = error.message if isinstance(error, ClusterError) else repr(error)
            if said != self.fault:
                _log.warning("%s cannot be listed: %s", self.kind.plural, said)
            self.fault = said
            return False
        if self.fault:
            _log.info("%s are listed again", self.kind.plural)
        self.fault = ""
        self._synced.set()
        return True
