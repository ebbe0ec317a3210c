# SPDX-License-Identifier: Apache-2.0
"""What the webhook knows without asking: policies and namespaces, kept by informers.

The one idea: a request is answered from memory. Only where memory has nothing that fits is the API
server asked once, briefly, since a policy may have been applied a moment before its pods.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError
from fodc_kube.informer import Change, Informer, Selection, without_managed_fields
from fodc_operator.injection.attempt import EMPTY, Book, book_of
from fodc_operator.injection.server_versions import kubelets_count, oldest
from fodc_operator.resources.fodc_injection import Defaults
from fodc_operator.resources.kinds import FODC_INJECTION

LOOK_S: Final = 0.5
"""How long a request may wait for the API server."""
LOOKED_S: Final = 1.0
"""A namespace is not looked at again before so long."""
MOST_LOOKS: Final = 8
MOST_REMEMBERED: Final = 256
VERSION_S: Final = 3600.0
VERSION_AGAIN_S: Final = 5.0
KUBELETS_S: Final = 60.0
"""How often kubelets are asked, where their age matters; a node may join at any time."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one namespace; `labels` is None for one that is not known."""

    book: Book = EMPTY
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Looked:
    view: View
    at_s: float


class Known:
    """`run` in a task; read at any time."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: tuple[str, ...],
        defaults: Defaults,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policies = Informer(cluster, FODC_INJECTION, Selection(namespaces))
        self.namespaces = Informer(cluster, kinds.NAMESPACE, keep=_name_and_labels)
        self.server_version = (0, 0)
        """The oldest of API server and kubelets; (0, 0) before it is known."""
        self._cluster = cluster
        self._watched = frozenset(namespaces)
        self._defaults = defaults
        self._clock_s = clock_s
        self._books: dict[str, Book] = {}
        self._looked: OrderedDict[str, _Looked] = OrderedDict()
        self._looking: dict[str, asyncio.Task[View]] = {}
        self.policies.on_change(self._changed)

    @property
    def defaults(self) -> Defaults:
        """What a policy gets where it says nothing."""
        return self._defaults

    @property
    def missing(self) -> str:
        """What has not been read yet, in words; empty when all has been."""
        parts = {
            "FodcInjections": self.policies.synced,
            "namespaces": self.namespaces.synced,
            "the server's version": self.server_version != (0, 0),
        }
        unread = [name for name, is_read in parts.items() if not is_read]
        fault = self.policies.fault or self.namespaces.fault
        return f"{', '.join(unread)} not read yet{f': {fault}' if fault else ''}" if unread else ""

    def view(self, namespace: str) -> View:
        """Return what memory has of a namespace."""
        return View(self.book(namespace), self.labels(namespace))

    def book(self, namespace: str) -> Book:
        """Return the policies of a namespace, read once for each change."""
        if namespace not in self._books:
            bodies = self.policies.of_namespace(namespace)
            if not bodies:
                return EMPTY
            self._books[namespace] = book_of(bodies, self._defaults)
        return self._books[namespace]

    def labels(self, namespace: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, None for one that is not known."""
        found = self.namespaces.get("", namespace)
        return None if found is None else found["metadata"].get("labels") or {}

    def _changed(self, change: Change) -> None:
        self._books.pop(change.namespace, None)
        self._looked.pop(change.namespace, None)

    # ---- asking -------------------------------------------------------------------------------

    async def look(self, namespace: str) -> View:
        """Ask the API server about a namespace, or return what was answered just now.

        Takes `LOOK_S` at most; what is not answered by then is as memory has it.
        """
        if self._watched and namespace not in self._watched:
            return self.view(namespace)
        before = self._looked.get(namespace)
        if before is not None and self._clock_s() - before.at_s < LOOKED_S:
            return before.view
        task = self._looking.get(namespace)
        if task is None:
            if len(self._looking) >= MOST_LOOKS:
                return self.view(namespace)
            task = asyncio.create_task(self._ask(namespace), name=f"look-{namespace}")
            self._looking[namespace] = task
            task.add_done_callback(lambda _: self._looking.pop(namespace, None))
        return await asyncio.shield(task)

    async def _ask(self, namespace: str) -> View:
        view = self.view(namespace)
        try:
            async with asyncio.timeout(LOOK_S):
                listed, found = await asyncio.gather(
                    self._cluster.list(FODC_INJECTION, namespace, deadline_s=LOOK_S),
                    self._cluster.get(kinds.NAMESPACE, "", namespace),
                )
        except (TimeoutError, ClusterError) as error:
            _log.warning("namespace %s was not looked at: %s", namespace, str(error) or "no answer")
        else:
            labels = None if found is None else found["metadata"].get("labels") or {}
            view = View(book_of(listed.items, self._defaults), labels)
        self._looked[namespace] = _Looked(view, self._clock_s())
        if len(self._looked) > MOST_REMEMBERED:
            self._looked.popitem(last=False)
        return view

    # ---- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep all of it until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.policies.run(), name="injection-policies")
            group.create_task(self.namespaces.run(), name="injection-namespaces")
            group.create_task(self._follow_version(), name="server-version")

    async def _follow_version(self) -> None:
        while True:
            server = await self._ask_version()
            if server == (0, 0):
                await asyncio.sleep(VERSION_AGAIN_S)
            else:
                await asyncio.sleep(KUBELETS_S if kubelets_count(server) else VERSION_S)

    async def _ask_version(self) -> tuple[int, int]:
        """Bring `server_version` up to date; returns the API server's own, (0, 0) for unknown."""
        try:
            server = await self._cluster.server_version()
        except ClusterError as error:
            _log.warning("the API server's version is not known: %s", error.message)
            return 0, 0
        found = oldest(server, await self._kubelets() if kubelets_count(server) else ())
        if found != self.server_version:
            told = "the API server is of version %d.%d, pods are made fit for %d.%d"
            _log.info(told, *server, *found)
        self.server_version = found
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


def _name_and_labels(one: Object) -> Object:
    kept: dict[str, Any] = without_managed_fields(one)["metadata"]
    names = ("name", "labels", "resourceVersion")
    return {"metadata": {name: kept[name] for name in names if name in kept}}
