# SPDX-License-Identifier: Apache-2.0
"""Whose events are counted, as the programs read it. Pure.

The one idea: a cgroup that is the container's own says it best. Where the node shares its cgroup
with the rest of the machine, as it does outside of containers, its process is meant alone: another
pod's database is never counted (W-24, W-26).
"""

import struct
from enum import IntEnum
from typing import Final

from fodc_protocol.lean import dataclass

_FORM: Final = struct.Struct("=IIQII")


class TargetKind(IntEnum):
    """How a task is told from others; the numbers of `target.h`."""

    NOBODY = 0
    UNIFIED = 1
    UNIFIED_BELOW = 2
    MEMORY = 3
    PROCESS = 4


@dataclass(frozen=True, slots=True)
class Target:
    """Who is meant: a cgroup by the inode of its directory, or a process in its namespace.

    `level` is the depth of a cgroup, `pid_namespace` the namespace's inode, 0 for the first one.
    """

    kind: TargetKind = TargetKind.NOBODY
    cgroup_id: int = 0
    level: int = 0
    tgid: int = 0
    pid_namespace: int = 0

    def packed(self) -> bytes:
        """Return the value of the map `target`."""
        return _FORM.pack(self.kind, self.level, self.cgroup_id, self.tgid, self.pid_namespace)

    @property
    def is_whole(self) -> bool:
        """Whether all of the container is meant."""
        return self.kind in _GROUPS


_GROUPS: Final = (TargetKind.UNIFIED, TargetKind.UNIFIED_BELOW, TargetKind.MEMORY)
NOBODY: Final = Target()


@dataclass(frozen=True, slots=True)
class Group:
    """A cgroup as a directory shows it.

    `depth` counts from the root of its hierarchy, None where that is not to be seen, as in a
    cgroup namespace; `is_shared` is whether the agent itself is in it.
    """

    cgroup_id: int
    depth: int | None
    is_shared: bool

    @property
    def is_own(self) -> bool:
        """Whether it is the node's and not everybody's."""
        return self.depth != 0 and not self.is_shared


def choose(unified: Group | None, memory: Group | None, tgid: int, pid_namespace: int) -> Target:
    """Return the target that is wide enough to hold the container and no wider."""
    if unified is not None and unified.is_own:
        if unified.depth is None:
            return Target(TargetKind.UNIFIED, unified.cgroup_id)
        return Target(TargetKind.UNIFIED_BELOW, unified.cgroup_id, unified.depth)
    if memory is not None and memory.is_own:
        return Target(TargetKind.MEMORY, memory.cgroup_id)
    return Target(TargetKind.PROCESS, tgid=tgid, pid_namespace=pid_namespace)
