# SPDX-License-Identifier: Apache-2.0
"""Events about objects, written away from whoever has something to tell.

The one idea: telling never waits and never fails; the queue is bounded and counts what it drops,
and what may come in a flood is told once in a while only.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from fodc_kube.client import EventType
from fodc_kube.conditions import Happened
from fodc_kube.errors import ClusterError
from fodc_kube.kinds import Kind

MOST_WAITING: Final = 256
MOST_REMEMBERED: Final = 1024
SAME_AGAIN_S: Final = 60.0
_log = logging.getLogger(__name__)


class Cluster(Protocol):
    """The API server (`client.Cluster`)."""

    async def event(
        self,
        regarding: Mapping[str, Any],
        type: EventType,  # noqa: A002 - Kubernetes' word
        reason: str,
        message: str,
    ) -> None:
        """Tell people about an object; may raise ClusterError."""


def reference(kind: Kind, namespace: str, name: str, uid: str = "") -> dict[str, Any]:
    """Return what an Event is about, where its object is not at hand."""
    metadata = {"namespace": namespace, "name": name, **({"uid": uid} if uid else {})}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


class Events:
    """`tell` at any time; `run` in a task, which ends only by being cancelled."""

    def __init__(self, cluster: Cluster, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self._cluster = cluster
        self._clock_s = clock_s
        self._waiting: asyncio.Queue[tuple[Mapping[str, Any], Happened]] = asyncio.Queue(
            MOST_WAITING
        )
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def tell(self, regarding: Mapping[str, Any], happened: Happened) -> None:
        """Leave an Event to be written."""
        try:
            self._waiting.put_nowait((regarding, happened))
        except asyncio.QueueFull:
            self.dropped += 1

    def tell_seldom(self, regarding: Mapping[str, Any], happened: Happened) -> None:
        """The same, unless this reason was told of this object a moment ago."""
        meta = regarding["metadata"]
        subject = (str(meta.get("namespace", "")), str(meta["name"]), happened.reason)
        now_s = self._clock_s()
        if now_s - self._told.get(subject, float("-inf")) < SAME_AGAIN_S:
            return
        if self._waiting.full():
            self.dropped += 1
            return
        self.tell(regarding, happened)
        self._told[subject] = now_s
        self._told.move_to_end(subject)
        if len(self._told) > MOST_REMEMBERED:
            self._told.popitem(last=False)

    async def run(self) -> None:
        """Write what is left here, one after the other."""
        while True:
            regarding, happened = await self._waiting.get()
            kind = EventType.WARNING if happened.is_warning else EventType.NORMAL
            try:
                await self._cluster.event(regarding, kind, happened.reason, happened.message)
            except ClusterError as error:
                name = regarding["metadata"]["name"]
                _log.warning("event %s on %s is lost: %s", happened.reason, name, error.message)
