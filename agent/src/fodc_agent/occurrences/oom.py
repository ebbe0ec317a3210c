# SPDX-License-Identifier: Apache-2.0
"""How often the kernel has killed in the node's cgroup, also just after the node was killed.

The one idea: the cgroup goes with its container, and a file that is open stays readable for as long
as it is there; so the file is opened while the node lives and asked again in the moment it ends.
"""

import os
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import Process
from fodc_agent.sources.procfs import parse_pairs
from fodc_agent.sources.readings import Gap

_READ_BYTES: Final = 4096


class OomCounter:
    """The counter of one node; `follow` it from each new process on."""

    def __init__(self, cgroup: NodeCgroup) -> None:
        self._cgroup = cgroup
        self._lane = Lane("oom-kills")
        self._file: int | None = None

    async def follow(self, process: Process) -> int | None:
        """Open the counter of this process's cgroup and return it, None where there is none."""
        found = await self._cgroup.of(process)
        self.close()
        if isinstance(found, Gap):
            return None
        if found.is_v1:
            path = found.controllers["memory"] / "memory.oom_control"
        elif found.unified is not None:
            path = found.unified / "memory.events"
        else:
            return None
        try:
            self._file = await self._lane.run(partial(_open, path))
        except OSError:
            return None
        return await self.count()

    async def count(self) -> int | None:
        """Return the counter as it is now, None when it has gone with its cgroup."""
        file = self._file
        if file is None:
            return None
        try:
            return await self._lane.run(partial(_count, file))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._lane.soon(partial(os.close, self._file))
            self._file = None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _count(file: int) -> int | None:
    return parse_pairs(os.pread(file, _READ_BYTES, 0).decode("ascii", "replace")).get("oom_kill")
