# SPDX-License-Identifier: Apache-2.0
"""A store that is kept by list and watch, for pods in a set of namespaces that changes.

The one idea: a list replaces the whole store, so that nothing that was deleted unseen survives;
the watch then changes it object by object, and whatever goes wrong ends in another list. kopf
watches what it was started with, hence this.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from fodc_kube.client import Cluster, Watched
from fodc_kube.errors import ClusterError, ExpiredError
from fodc_kube.kinds import Kind
from fodc_kube.retrying import Backoff
from fodc_kube.store import Keep, Store, without_managed_fields

WATCH_S: Final = 60
"""A connection that has died in silence is noticed after so long, and a little."""
_LONG_S: Final = 1.0
"""A watch that ended sooner has not served: the next one waits a moment."""
_BACKOFF: Final = Backoff(first_s=0.2, longest_s=10.0)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of the kind are of interest; no namespaces means all of them."""

    namespaces: tuple[str, ...] = ()
    labels: str = ""
    fields: str = ""

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """Namespaces that are watched one by one; None is all in one."""
        return self.namespaces or (None,)


EVERYTHING: Final = Selection()


class Informer(Store):
    """`run` in a task; read at any time. Belongs to one event loop."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        selection: Selection = EVERYTHING,
        *,
        keep: Keep = without_managed_fields,
        backoff: Backoff = _BACKOFF,
        watch_s: int = WATCH_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(keep)
        self.kind = kind
        self.fault = ""
        """Why the store may be old, in words; empty while a watch runs."""
        self._cluster = cluster
        self._selection = selection
        self._backoff = backoff
        self._watch_s = watch_s
        self._chance = chance
        self._waiting = set(selection.scopes)
        self._faults: dict[str | None, str] = {}
        self._synced = asyncio.Event()

    # ---- reading ------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether everything has been listed once; from then on it stays so."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return when everything has been listed once."""
        await self._synced.wait()

    # ---- keeping ------------------------------------------------------------------------------

    async def run(self) -> None:
        """List and watch until cancelled; no failure ends it."""
        async with asyncio.TaskGroup() as group:
            for scope in self._selection.scopes:
                name = f"informer-{self.kind.plural}-{scope or 'all'}"
                group.create_task(self._follow(scope), name=name)

    async def _follow(self, scope: str | None) -> None:
        failures, version = 0, ""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                version = version or await self._list(scope)
                async for event in self._events(scope, version):
                    version = event.resource_version or version
                    self._take(event)
                self._heard(scope)
            except ExpiredError:
                version = ""
            except ClusterError as error:
                # A broken connection goes on where it was; a refusal may be about the version.
                version = "" if error.status else version
                self._failed(scope, error.message)
            except Exception as error:  # noqa: BLE001 - nothing ends unseen
                # Whatever the server sent or a hook of ours made of it: nothing ends unseen.
                _log.exception("%s: what came could not be taken in", self.kind.plural)
                version = ""
                self._failed(scope, f"{type(error).__name__}: {error}")
            # Who is sent away again and again waits ever longer.
            lasted_s = asyncio.get_running_loop().time() - began
            failures = 0 if lasted_s >= _LONG_S else failures + 1
            if failures:
                await asyncio.sleep(self._backoff.wait_s(failures - 1, None, self._chance))

    async def _list(self, scope: str | None) -> str:
        chosen = self._selection
        listed = await self._cluster.list(
            self.kind, scope, label_selector=chosen.labels, field_selector=chosen.fields
        )
        self.replace(listed.items, listed.resource_version, scope)
        self._heard(scope)
        self._waiting.discard(scope)
        if not self._waiting:
            self._synced.set()
        return listed.resource_version

    async def _events(self, scope: str | None, version: str) -> AsyncIterator[Watched]:
        chosen, lasts_s = self._selection, round(self._watch_s * (1 + self._chance() / 2))
        async with self._cluster.watch(
            self.kind,
            scope,
            version,
            label_selector=chosen.labels,
            field_selector=chosen.fields,
            lasts_s=lasts_s,
        ) as events:
            self._heard(scope)
            async for event in events:
                yield event

    def _take(self, event: Watched) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                self.put(event.object)
            case "DELETED":
                self.remove(event.object)
            case _:
                return

    def _heard(self, scope: str | None) -> None:
        if self._faults.pop(scope, None) is not None:
            _log.info("%s are watched again", self.kind.plural)
        self.fault = "; ".join(self._faults.values())

    def _failed(self, scope: str | None, why: str) -> None:
        if scope not in self._faults:
            _log.warning("%s are not watched: %s", self.kind.plural, why)
        self._faults[scope] = why
        self.fault = "; ".join(self._faults.values())
