# SPDX-License-Identifier: Apache-2.0
"""How much memory the node has of how much it may have.

The one idea: a node that leaks may be dead before the sources have come round twice, so where its
limit is known the size of its process is read by itself, one small file, and its limit as soon as
there is a process.
"""

from functools import partial
from typing import Final

from fodc_agent.bus.coordinator import Coordinator
from fodc_agent.lanes import Lane
from fodc_agent.occurrences.rules import Memory
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.settings import Settings
from fodc_agent.sources.cgroup import LIMIT, CgroupSource
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.process import RESIDENT, ProcessSource
from fodc_agent.sources.readings import value_in

_PAGE_RSS: Final = "process_resident_memory_bytes"
_PAGE_LIMIT: Final = "banyandb_memory_protector_cgroup_limit_bytes"


class NodeMemory:
    """Reads the memory of one node; without `node` its own `page` is all there is."""

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        coordinator: Coordinator,
        page: str,
        node: NodeProcess | None,
    ) -> None:
        self._told_bytes = settings.node_memory_limit_bytes
        self._recorder = recorder
        self._coordinator = coordinator
        self._page = page
        self._node = node
        self._lane = Lane("node-memory")
        self._first_limit_bytes: float | None = None
        self._has_begun = False

    async def begins(self) -> None:
        """Read the limit of a process that has begun, before the round in which it is recorded."""
        reading = await self._coordinator.demand(CgroupSource.name, max_age_s=0.0)
        self._first_limit_bytes = value_in(reading.payload, LIMIT.name)
        self._has_begun = True

    async def read(self, *, anew: bool) -> Memory | None:
        """Return what it is, None while memory or its limit is not known.

        `anew` reads it now, as is done once for each process that has begun; else it is what the
        sources have read.
        """
        limit = self._limit_bytes()
        if limit is None or limit <= 0:
            return None  # whatever it has, nothing follows from it
        anew, self._has_begun = anew or self._has_begun, False
        resident = await self._resident_bytes(anew=anew)
        return None if resident is None else Memory(round(resident), round(limit))

    async def _resident_bytes(self, *, anew: bool) -> float | None:
        node = self._node
        if node is None or node.known is None:
            return self._recorder.value(_PAGE_RSS, source=self._page)
        if not anew:
            return self._recorder.value(RESIDENT.name, source=ProcessSource.name)
        try:
            return await self._lane.run(partial(node.resident_bytes, node.known))
        except OSError:  # a machine that hangs tells nothing
            return None

    def _limit_bytes(self) -> float | None:
        recorder = self._recorder
        return (
            self._told_bytes
            or recorder.value(LIMIT.name, source=CgroupSource.name)
            or self._first_limit_bytes
            or recorder.value(_PAGE_LIMIT, source=self._page)
        )
