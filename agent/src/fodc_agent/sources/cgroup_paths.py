# SPDX-License-Identifier: Apache-2.0
"""Finds the directories of the node's cgroup below the hierarchy that the agent can see.

The one idea: the path in /proc/<pid>/cgroup is written for the reader's cgroup namespace. Where it
leads outside of what is mounted, the directory is looked for by its last name and taken only if it
lists the node's pid; nothing is taken because it looks similar (W-26).
"""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.procfs import CgroupPaths, parse_cgroup
from fodc_agent.sources.readings import Gap, GapReason, gap_of, read_small

_MAX_DIRECTORIES: Final = 20_000


@dataclass(frozen=True, slots=True)
class CgroupDirectories:
    """Directories of one process: the unified one (v2) and one per v1 controller."""

    unified: Path | None
    controllers: dict[str, Path] = field(default_factory=dict)

    @property
    def is_v1(self) -> bool:
        """Whether memory is accounted by a v1 controller."""
        return "memory" in self.controllers


class NodeCgroup:
    """Knows the cgroup of the node's process; looks again when the process changes."""

    def __init__(self, node: NodeProcess, *, root: Path = Path("/sys/fs/cgroup")) -> None:
        self.root: Final = root
        self.node: Final = node
        self._known: tuple[Process, str, CgroupDirectories | Gap] | None = None

    async def find(self) -> CgroupDirectories | Gap:
        """Return the directories as they are now, or why there are none."""
        process = await self.node.find()
        if isinstance(process, Gap):
            return process
        path = self.node.directory(process) / "cgroup"
        try:
            text = read_small(path)
            paths = parse_cgroup(text)
        except OSError as error:
            return gap_of("cgroup", path, error)
        except ValueError as error:
            return Gap("cgroup", GapReason.UNREADABLE, f"{path}: unknown form: {error}")
        if self._known is None or self._known[:2] != (process, text):
            # Looking for a directory may walk a large tree: not in the event loop.
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(None, self._directories, process, paths)
            self._known = (process, text, found)
        return self._known[2]

    def _directories(self, process: Process, paths: CgroupPaths) -> CgroupDirectories | Gap:
        unified_root = self._unified_root()
        unified = None
        if unified_root is not None and paths.unified is not None:
            unified = located(unified_root, paths.unified, process.pid)
        controllers = {
            name: directory
            for name, path in paths.controllers.items()
            if (mount := self._mount_of(name)) and (directory := located(mount, path, process.pid))
        }
        if unified is None and not controllers:
            return Gap(
                "cgroup",
                GapReason.OUTSIDE_NAMESPACE,
                f"the cgroup of process {process.pid} ({paths.unified or paths.controllers}) is "
                f"not visible below {self.root}; mount the host's /sys/fs/cgroup read-only",
            )
        return CgroupDirectories(unified, controllers)

    def _unified_root(self) -> Path | None:
        for candidate in (self.root, self.root / "unified"):
            if (candidate / "cgroup.controllers").exists():
                return candidate
        return None

    def _mount_of(self, controller: str) -> Path | None:
        """Return where a v1 controller is mounted, alone or with others ("cpu,cpuacct")."""
        alone = self.root / controller
        if alone.is_dir():
            return alone
        try:
            names = os.listdir(self.root)  # noqa: PTH208 - names are enough
        except OSError:
            return None
        together = [name for name in names if controller in name.split(",")]
        return self.root / together[0] if together else None


def located(mount: Path, path: str, pid: int) -> Path | None:
    """Return the directory of a cgroup path below `mount`, None when it is not to be seen."""
    if ".." not in path.split("/"):
        direct = mount / path.lstrip("/")
        if direct.is_dir():
            return direct
    return _searched(mount, path.rstrip("/").rpartition("/")[2], pid)


def _searched(mount: Path, name: str, pid: int) -> Path | None:
    """Walk for a directory of this name that lists the pid."""
    if not name or name == "..":
        return None
    for number, (directory, _, _) in enumerate(os.walk(mount)):
        if number > _MAX_DIRECTORIES:
            return None
        if directory.rpartition("/")[2] == name and _lists(Path(directory), pid):
            return Path(directory)
    return None


def _lists(directory: Path, pid: int) -> bool:
    try:
        return str(pid) in read_small(directory / "cgroup.procs").split()
    except OSError:
        return False
