# SPDX-License-Identifier: Apache-2.0
"""Events about pods that were let in without an agent, written away from the request.

The one idea: whoever answers only leaves a note; the queue is bounded, says how many it dropped,
and the same note about the same object is written once in a while only.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fodc_operator.cluster.client import Cluster, EventType
from fodc_operator.cluster.errors import ClusterError
from fodc_operator.cluster.kinds import Kind
from fodc_operator.resources.fodc_injection import Policy

MOST_WAITING: Final = 128
MOST_REMEMBERED: Final = 1024
SAME_AGAIN_S: Final = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """One Event to be; `policy` is None where none is known, then it is about the namespace."""

    namespace: str
    policy: Policy | None
    reason: str
    message: str

    @property
    def subject(self) -> tuple[str, str, str]:
        """What is told once in a while only."""
        return (self.namespace, self.policy.name if self.policy else "", self.reason)


class Reports:
    """`tell` at any time; `run` in a task."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        dropped: Callable[[], None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._dropped = dropped
        self._clock_s = clock_s
        self._waiting: asyncio.Queue[Note] = asyncio.Queue(MOST_WAITING)
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def tell(self, note: Note) -> None:
        """Leave a note; never waits."""
        now_s = self._clock_s()
        if now_s - self._told.get(note.subject, -SAME_AGAIN_S) < SAME_AGAIN_S:
            return
        try:
            self._waiting.put_nowait(note)
        except asyncio.QueueFull:
            self._dropped()
            return
        self._told[note.subject] = now_s
        self._told.move_to_end(note.subject)
        if len(self._told) > MOST_REMEMBERED:
            self._told.popitem(last=False)

    async def run(self) -> None:
        """Write what is left here, one after the other, until cancelled."""
        while True:
            note = await self._waiting.get()
            try:
                await self._cluster.event(
                    _regarding(note), EventType.WARNING, note.reason, note.message
                )
            except ClusterError as error:
                _log.warning("an Event in %s was not written: %s", note.namespace, error.message)


def _regarding(note: Note) -> Mapping[str, Any]:
    """Return what the Event is about; a namespace's stands in the namespace itself."""
    policy, kind = note.policy, Kind.FODC_INJECTION if note.policy else Kind.NAMESPACE
    metadata = {"namespace": note.namespace, "name": policy.name if policy else note.namespace}
    if policy:
        metadata["uid"] = policy.uid
    return {"apiVersion": kind.value.api_version, "kind": kind.value.kind, "metadata": metadata}
