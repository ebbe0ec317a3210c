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

_FORM: Final = struct.Struct("=IIQQII")


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

    `io_cgroup_id` is the cgroup to which block I/O is charged, 0 where that is not known; `level`
    is the depth of a cgroup, `pid_namespace` the namespace's inode, 0 for the first one.
    """

    kind: TargetKind = TargetKind.NOBODY
    cgroup_id: int = 0
    level: int = 0
    tgid: int = 0
    pid_namespace: int = 0
    io_cgroup_id: int = 0

    def packed(self) -> bytes:
        """Return the value of the map `target`."""
        groups = self.cgroup_id, self.io_cgroup_id
        return _FORM.pack(self.kind, self.level, *groups, self.tgid, self.pid_namespace)

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


def choose(
    unified: Group | None,
    memory: Group | None,
    charged: Group | None,
    tgid: int,
    pid_namespace: int,
) -> Target:
    """Return the target that is wide enough to hold the container and no wider.

    `charged` is the group to which block I/O is charged, None where no controller does.
    """
    io_cgroup_id = charged.cgroup_id if charged is not None and charged.is_own else 0
    if unified is not None and unified.is_own:
        kind = TargetKind.UNIFIED if unified.depth is None else TargetKind.UNIFIED_BELOW
        level = unified.depth or 0
        return Target(kind, unified.cgroup_id, level, io_cgroup_id=io_cgroup_id)
    if memory is not None and memory.is_own:
        return Target(TargetKind.MEMORY, memory.cgroup_id, io_cgroup_id=io_cgroup_id)
    return Target(TargetKind.PROCESS, tgid=tgid, pid_namespace=pid_namespace)
