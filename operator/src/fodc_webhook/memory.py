# SPDX-License-Identifier: Apache-2.0
"""What the webhook knows without asking: policies and namespaces, told by its handlers.

The one idea: a request is answered from memory. Only where memory has nothing that fits is the API
server asked once, briefly, since a policy may have been applied a moment before its pods.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fodc_kube import kinds
from fodc_kube.client import Cluster, Object
from fodc_kube.errors import ClusterError
from fodc_kube.listing import Listing
from fodc_kube.store import Change, Store, without_managed_fields
from fodc_webhook.decide import View
from fodc_webhook.inject.attempt import EMPTY, Book, book_of
from fodc_webhook.kinds import FODC_INJECTION
from fodc_webhook.resources.fodc_injection import Defaults
from fodc_webhook.versions import UNKNOWN, Versions

LOOK_S: Final = 0.5
"""How long a request may wait for the API server."""
LOOKED_S: Final = 1.0
"""A namespace is not looked at again before so long."""
MOST_LOOKS: Final = 8
MOST_REMEMBERED: Final = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Looked:
    view: View
    at_s: float


class Memory:
    """Read at any time; true as long as its `works` go on and the handlers tell the stores."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: tuple[str, ...],
        defaults: Defaults,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policies = Store()
        self.namespaces = Store(name_and_labels)
        self._lists = (
            Listing(cluster, FODC_INJECTION, self.policies, namespaces),
            Listing(cluster, kinds.NAMESPACE, self.namespaces),
        )
        self.versions = Versions(cluster)
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
        unread = [one.kind.plural for one in self._lists if not one.synced]
        unread += ["the server's version"] if self.versions.oldest == UNKNOWN else []
        fault = next((one.fault for one in self._lists if one.fault), "")
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

    def look_now(self) -> None:
        """List at once: the handlers have been away and begin again."""
        for one in self._lists:
            one.look_now()

    @property
    def works(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What must go on for all of it to stay true, by name."""
        lists = {f"list of {one.kind.plural}": one.run for one in self._lists}
        return {**lists, "server-version": self.versions.run}


def name_and_labels(one: Object) -> Object:
    """Return what is kept of a namespace."""
    kept: dict[str, Any] = without_managed_fields(one)["metadata"]
    names = ("name", "labels", "resourceVersion")
    return {"metadata": {name: kept[name] for name in names if name in kept}}
