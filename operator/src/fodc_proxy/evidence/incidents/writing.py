# SPDX-License-Identifier: Apache-2.0
"""Writes incidents down, each as it is when its turn comes.

The one idea: a write runs in a task of its own, so who waits for it may go away; what changes while
it runs is written by the next one, which everybody shares who came meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from fodc_protocol.errors import FodcError
from fodc_proxy.evidence.incidents.model import Incident
from fodc_proxy.storage.records import Records

_log = logging.getLogger(__name__)


class Writing:
    """Belongs to an event loop; `find` returns an incident as it is."""

    def __init__(self, records: Records[Incident], find: Callable[[str], Incident | None]) -> None:
        self._records = records
        self._find = find
        self._stored: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._next: dict[str, asyncio.Task[None]] = {}

    def restored(self, incidents: Iterable[Incident]) -> None:
        """These are stored as they are."""
        self._stored.update({one.id: one.revision for one in incidents})

    def is_behind(self, incident: Incident) -> bool:
        """Whether it is not stored as it is."""
        return self._stored.get(incident.id, 0) < incident.revision

    async def written(self, incident_id: str) -> None:
        """Return when it is stored as it is now, or later; raises StorageError."""
        incident = self._find(incident_id)
        if incident is None or not self.is_behind(incident):
            return
        await asyncio.shield(self._soon(incident_id))

    def soon(self, incident_id: str) -> None:
        """Store it; a failure is logged, and tried again by whoever asks next."""
        self._soon(incident_id)

    def _soon(self, incident_id: str) -> "asyncio.Task[None]":
        task = self._next.get(incident_id)
        if task is None:
            before = self._running.get(incident_id)
            work = self._write(incident_id, before)
            task = asyncio.create_task(work, name=f"incident {incident_id}")
            task.add_done_callback(lambda done: self._done(incident_id, done))
            self._next[incident_id] = task
        return task

    async def _write(self, incident_id: str, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        self._running[incident_id] = self._next.pop(incident_id)
        incident = self._find(incident_id)
        if incident is None:
            await self._records.remove(incident_id)
            self._stored.pop(incident_id, None)
        elif self.is_behind(incident):
            await self._records.save(incident)
            self._stored[incident_id] = incident.revision

    def _done(self, incident_id: str, task: "asyncio.Task[None]") -> None:
        if self._running.get(incident_id) is task:
            del self._running[incident_id]
        if self._next.get(incident_id) is task:  # cancelled before its turn
            del self._next[incident_id]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, FodcError):
            _log.warning("incident %s is not stored: %s", incident_id, error.message)
        elif error is not None:
            _log.error("incident %s is not stored", incident_id, exc_info=error)

    async def settled(self) -> None:
        """Wait until nothing is being written."""
        while tasks := [*self._running.values(), *self._next.values()]:
            await asyncio.wait(tasks)

    async def stop(self) -> None:
        """End all writes where they stand."""
        tasks = [*self._running.values(), *self._next.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
