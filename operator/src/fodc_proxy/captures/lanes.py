# SPDX-License-Identifier: Apache-2.0
"""Work in lanes: what is put into one lane is done in order, lanes go beside each other.

The one idea: order matters for one capture and for one record, never between two of them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Job: TypeAlias = Callable[[], Awaitable[None]]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    jobs: deque[tuple[Job, int]] = field(default_factory=deque)
    waiting_bytes: int = 0
    task: "asyncio.Task[None] | None" = None


class Lanes:
    """Belongs to an event loop; a job that fails is logged and does not stop its lane."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def put(self, name: str, job: Job, size_bytes: int = 0) -> None:
        """Do this after all that is in the lane already."""
        lane = self._lanes.setdefault(name, _Lane())
        lane.jobs.append((job, size_bytes))
        lane.waiting_bytes += size_bytes
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(name, lane), name=f"lane {name}")

    def is_busy(self, name: str) -> bool:
        """Whether something in this lane is not done."""
        return name in self._lanes

    def waiting(self, name: str) -> tuple[int, int]:
        """Return how many jobs wait in a lane, and with how many bytes."""
        lane = self._lanes.get(name)
        return (0, 0) if lane is None else (len(lane.jobs), lane.waiting_bytes)

    def clear(self, name: str) -> None:
        """Drop what waits in a lane; what is being done goes on."""
        if name in self._lanes:
            self._lanes[name].jobs.clear()
            self._lanes[name].waiting_bytes = 0

    async def _work(self, name: str, lane: _Lane) -> None:
        try:
            while lane.jobs:
                job, size_bytes = lane.jobs.popleft()
                lane.waiting_bytes -= size_bytes
                try:
                    await job()
                except Exception:  # noqa: BLE001 - one job must not cost the others
                    _log.exception("work in lane %s failed", name)
        finally:
            del self._lanes[name]

    async def reached(self, name: str) -> None:
        """Wait until all that is in a lane now is done."""
        if name in self._lanes:
            done = asyncio.Event()

            async def note() -> None:
                done.set()

            self.put(name, note)
            await done.wait()

    async def settled(self) -> None:
        """Wait until every lane is empty."""
        while tasks := [lane.task for lane in self._lanes.values() if lane.task is not None]:
            await asyncio.wait(tasks)

    async def stop(self) -> None:
        """End all work where it stands."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
