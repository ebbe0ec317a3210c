# SPDX-License-Identifier: Apache-2.0
"""Finds the directories of the node's cgroup: in the agent's own view, else in the node's.

The one idea: the path in /proc/<pid>/cgroup is written for the reader's cgroup namespace. Where it
leads outside of what is mounted, the directory is looked for by its last name, and after that in
the mounts that the node itself has (`root` in /proc/<pid>), where a container sees its own cgroup.
Either is taken only if it lists the node's pid; nothing is taken because it looks similar (W-26).
"""

import os
from collections.abc import Callable
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane, StuckError
from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.procfs import CgroupPaths, parse_cgroup
from fodc_agent.sources.readings import Gap, GapReason, gap_of, read_small
from fodc_protocol.lean import dataclass

_MAX_DIRECTORIES: Final = 20_000
_RETRY_S: Final = 60.0
_NODE_VIEW: Final = "root/sys/fs/cgroup"

Find = Callable[[Path, str], Path | None]
"""Finds the directory of a path below a mount."""


@dataclass(frozen=True, slots=True)
class CgroupDirectories:
    """Directories of one process: the unified one (v2) and one per v1 controller.

    `root` is the hierarchy in which they lie: nothing above it can be seen.
    """

    unified: Path | None
    controllers: dict[str, Path] = field(default_factory=dict)
    root: Path = Path("/sys/fs/cgroup")

    @property
    def is_v1(self) -> bool:
        """Whether memory is accounted by a v1 controller."""
        return "memory" in self.controllers

    def suffices(self, paths: CgroupPaths) -> bool:
        """Whether that hierarchy is here which accounts the memory of these paths."""
        return self.is_v1 if "memory" in paths.controllers else self.unified is not None


@dataclass(frozen=True, slots=True)
class _Known:
    process: Process
    text: str
    found: CgroupDirectories | Gap
    at_s: float


class NodeCgroup:
    """Knows the cgroup of the node's process; looks again when the process changes."""

    def __init__(self, node: NodeProcess, *, root: Path = Path("/sys/fs/cgroup")) -> None:
        self.root: Final = root
        self.node: Final = node
        self._known: _Known | None = None
        self._lane = Lane("cgroup-search")

    async def of(self, process: Process) -> CgroupDirectories | Gap:
        """Return the directories as they are now, or why there are none."""
        try:
            return await self._lane.run(partial(self.seen, process))
        except StuckError as stuck:
            return Gap("cgroup", GapReason.HUNG, str(stuck))

    def seen(self, process: Process) -> CgroupDirectories | Gap:
        """Return the same, for a lane of the caller's."""
        path = self.node.directory(process) / "cgroup"
        try:
            text = read_small(path)
            paths = parse_cgroup(text)
        except OSError as error:
            return gap_of("cgroup", path, error)
        except ValueError as error:
            return Gap("cgroup", GapReason.UNREADABLE, f"{path}: unknown form: {error}")
        known = self._known
        if known is None or not self._holds(known, process, text):
            found = self._directories(process, paths)
            known = self._known = _Known(process, text, found, self.node.clock())
        return known.found

    def _holds(self, known: _Known, process: Process, text: str) -> bool:
        """Say whether what is known is still right; what was not found is looked for anew."""
        if (known.process, known.text) != (process, text):
            return False
        return not isinstance(known.found, Gap) or self.node.clock() - known.at_s < _RETRY_S

    def _directories(self, process: Process, paths: CgroupPaths) -> CgroupDirectories | Gap:
        """Look in our own view first: it may show the limits of the whole pod as well."""
        here = directories_below(self.root, paths, _finder(located, process.pid))
        if here.suffices(paths):
            return here
        view = self.node.directory(process) / _NODE_VIEW
        try:
            os.listdir(view)  # noqa: PTH208 - only whether it is permitted
            there = directories_below(view, paths, _finder(_in_view, process.pid))
        except OSError as error:
            why, there = f"; {gap_of('cgroup', view, error).message}", CgroupDirectories(None)
        else:
            why = f", nor does {view} list it"
        if there.suffices(paths):
            return there
        if here.unified is not None or here.controllers:
            return here
        return self._not_visible(process, paths, why)

    def _not_visible(self, process: Process, paths: CgroupPaths, why: str) -> Gap:
        return Gap(
            "cgroup",
            GapReason.OUTSIDE_NAMESPACE,
            f"the cgroup of process {process.pid} ({paths.unified or paths.controllers}) is not "
            f"visible below {self.root}{why}; run the agent as the node's user and group (flavor "
            "Process) or mount the host's /sys/fs/cgroup read-only",
        )


def _finder(find: Callable[[Path, str, int], Path | None], pid: int) -> Find:
    return lambda mount, path: find(mount, path, pid)


# ---- one hierarchy ------------------------------------------------------------------------------


def directories_below(root: Path, paths: CgroupPaths, find: Find) -> CgroupDirectories:
    """Return what `find` sees below one hierarchy, of version 1, 2 or both."""
    unified_root = _unified_root(root)
    unified = None
    if unified_root is not None and paths.unified is not None:
        unified = find(unified_root, paths.unified)
    controllers = {
        name: directory
        for name, path in paths.controllers.items()
        if (mount := _mount_of(root, name)) and (directory := find(mount, path))
    }
    return CgroupDirectories(unified, controllers, root)


def _unified_root(root: Path) -> Path | None:
    for candidate in (root, root / "unified"):
        if (candidate / "cgroup.controllers").exists():
            return candidate
    return None


def _mount_of(root: Path, controller: str) -> Path | None:
    """Return where a v1 controller is mounted, alone or with others ("cpu,cpuacct")."""
    alone = root / controller
    if alone.is_dir():
        return alone
    try:
        names = os.listdir(root)  # noqa: PTH208 - names are enough
    except OSError:
        return None
    together = [name for name in names if controller in name.split(",")]
    return root / together[0] if together else None


def _in_view(mount: Path, path: str, pid: int) -> Path | None:
    """Return the node's directory in its own mounts: mostly their root, and only if it says so."""
    if _lists(mount, pid):
        return mount
    direct = mount / path.lstrip("/")
    if ".." not in path.split("/") and _lists(direct, pid):
        return direct
    return _searched(mount, path.rstrip("/").rpartition("/")[2], pid)


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
