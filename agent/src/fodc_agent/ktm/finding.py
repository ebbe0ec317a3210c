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


def target_of(proc: Path, process: Process, directories: CgroupDirectories | None) -> Target:
    """Return whose events are to be counted; raises OSError when the process has ended."""
    own = _paths(proc / "self")
    paths = _paths(proc / str(process.pid))
    unified = memory = None
    if directories is not None:
        unified = _group(directories.unified, is_shared=own.unified == paths.unified)
        shared = own.controllers.get(_MEMORY) == paths.controllers.get(_MEMORY)
        memory = _group(directories.controllers.get(_MEMORY), is_shared=shared)
    return choose(unified, memory, process.pid, _pid_namespace(proc))


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
