# SPDX-License-Identifier: Apache-2.0
"""Looks at the directories of the node's cgroups, for `target` to choose. Blocks on small files."""

import os
from pathlib import Path
from typing import Final

from fodc_agent.ktm.target import Group, Target, choose
from fodc_agent.sources.cgroup_paths import CgroupDirectories
from fodc_agent.sources.node_process import Process
from fodc_agent.sources.procfs import CgroupPaths, parse_cgroup
from fodc_agent.sources.readings import read_small

_FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC
_ROOT_INODE: Final = 1
_MEMORY: Final = "memory"
_BLOCK_IO: Final = "blkio"


def target_of(proc: Path, process: Process, directories: CgroupDirectories | None) -> Target:
    """Return whose events are to be counted; raises OSError when the process has ended."""
    own, paths = _paths(proc / "self"), _paths(proc / str(process.pid))

    def of_version_1(controller: str) -> Group | None:
        directory = directories.controllers.get(controller) if directories is not None else None
        shared = own.controllers.get(controller) == paths.controllers.get(controller)
        return _group(directory, is_shared=shared)

    unified = directories.unified if directories is not None else None
    unified_group = _group(unified, is_shared=own.unified == paths.unified)
    charged = unified_group if _charges_io(unified) else of_version_1(_BLOCK_IO)
    memory = of_version_1(_MEMORY)
    return choose(unified_group, memory, charged, process.pid, _pid_namespace(proc))


def _charges_io(unified: Path | None) -> bool:
    """Whether the unified hierarchy charges block I/O to this group and not to one above it."""
    return unified is not None and (unified / "io.stat").exists()


def _paths(directory: Path) -> CgroupPaths:
    return parse_cgroup(read_small(directory / "cgroup"))


def _pid_namespace(proc: Path) -> int:
    inode = (proc / "self" / "ns" / "pid").stat().st_ino
    return 0 if inode == _FIRST_PID_NAMESPACE else inode


def _group(directory: Path | None, *, is_shared: bool) -> Group | None:
    """Return what the kernel calls this directory: the id of a cgroup is its inode."""
    if directory is None:
        return None
    status = directory.stat()
    return Group(status.st_ino, _depth(directory, status), is_shared)


def _depth(directory: Path, status: os.stat_result) -> int | None:
    """Count up to the root of the hierarchy, whose inode is 1; a namespace hides it."""
    inode = status.st_ino
    for depth, above in enumerate((directory, *directory.parents)):
        found = above.stat() if depth else status
        if found.st_dev != status.st_dev:
            return None
        inode = found.st_ino
        if inode == _ROOT_INODE:
            return depth
    return None
