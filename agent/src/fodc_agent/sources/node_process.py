# SPDX-License-Identifier: Apache-2.0
"""Finds the node's process among those that the agent can see, again when it was restarted.

The one idea: a pid alone names nobody. A process is its pid and its start time; who cannot be told
apart is not guessed at, and pid 1 is only ever the node when it says so itself (W-26, W-27).
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fodc_agent.sources.procfs import Stat, parse_listeners, parse_stat
from fodc_agent.sources.readings import Gap, GapReason, read_small

_MAX_PROCESSES: Final = 20_000
_SEARCH_PAUSE_S: Final = 5.0
"""How long several sources share one failed search."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process in one life."""

    pid: int
    start_ticks: int
    command: str


class NodeProcess:
    """Knows the node's process; ask `find` before each reading.

    By a given pid, else by who listens on `port` where file descriptors can be read, else by the
    beginning of the process name.
    """

    def __init__(
        self,
        *,
        proc: Path = Path("/proc"),
        pid: int = 0,
        name: str = "banyand",
        port: int = 0,
        own_pid: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.proc: Final = proc
        self._pid = pid
        self._name = name
        self._port = port
        self._own_pid = os.getpid() if own_pid is None else own_pid
        self._clock = clock
        self._known: Process | None = None
        self._failed: tuple[float, Gap] | None = None

    async def find(self) -> Process | Gap:
        """Return the process as it is now, or why there is none."""
        if self._known is not None and _process_at(self.proc, self._known.pid) == self._known:
            return self._known
        if self._failed is not None and self._clock() - self._failed[0] < _SEARCH_PAUSE_S:
            return self._failed[1]
        # A walk over /proc may take milliseconds on a busy host: not in the event loop.
        found = await asyncio.get_running_loop().run_in_executor(None, self._search)
        self._known = found if isinstance(found, Process) else None
        self._failed = None if isinstance(found, Process) else (self._clock(), found)
        return found

    def directory(self, process: Process) -> Path:
        """Return /proc/<pid> of a process."""
        return self.proc / str(process.pid)

    def _search(self) -> Process | Gap:
        if self._pid:
            return _process_at(self.proc, self._pid) or Gap(
                "process", GapReason.NO_PROCESS, f"there is no process {self._pid} (--node-pid)"
            )
        named = [process for process in self._visible() if self._is_named(process)]
        if self._port and (owner := self._owner(named)):
            return owner
        if len(named) == 1:
            return named[0]
        return self._nobody() if not named else self._too_many(named)

    def _visible(self) -> Iterator[Process]:
        pids = (int(path.name) for path in self.proc.iterdir() if path.name.isdigit())
        for _, pid in zip(range(_MAX_PROCESSES), pids, strict=False):
            process = _process_at(self.proc, pid)
            if process is not None and pid != self._own_pid:
                yield process

    def _is_named(self, process: Process) -> bool:
        """Compare the kernel's name (15 characters) and the program that was started."""
        if process.command.startswith(self._name[:15]):
            return True
        try:
            program = read_small(self.directory(process) / "cmdline").partition("\0")[0]
        except OSError:
            return False
        return program.rpartition("/")[2].startswith(self._name)

    def _owner(self, named: list[Process]) -> Process | None:
        """Return who listens on the port: one of the right name first, then anybody."""
        inodes = self._listening_inodes()
        if not inodes:
            return None
        links = {f"socket:[{inode}]" for inode in inodes}
        others = (process for process in self._visible() if process not in named)
        return _first_holder(self.proc, (*named, *others), links)

    def _listening_inodes(self) -> set[int]:
        inodes: set[int] = set()
        for table in ("net/tcp", "net/tcp6"):
            try:
                inodes |= parse_listeners(read_small(self.proc / table), self._port)
            except (OSError, ValueError):
                continue
        return inodes

    def _nobody(self) -> Gap:
        return Gap(
            "process",
            GapReason.NO_PROCESS,
            f"no visible process is named {self._name}*"
            + (f" or is known to listen on port {self._port}" if self._port else "")
            + "; share the process namespace (shareProcessNamespace: true) or give --node-pid",
        )

    def _too_many(self, named: list[Process]) -> Gap:
        pids = ", ".join(str(process.pid) for process in named[:8])
        return Gap(
            "process",
            GapReason.AMBIGUOUS,
            f"{len(named)} processes are named {self._name}* (pids {pids}) and their sockets "
            "cannot be read to tell which one is the node; give --node-pid",
        )


def _first_holder(proc: Path, processes: Iterable[Process], links: set[str]) -> Process | None:
    for process in processes:
        directory = proc / str(process.pid) / "fd"
        try:
            if any(_link(entry) in links for entry in directory.iterdir()):
                return process
        except OSError:
            continue  # Another user's process: it cannot be told what it holds.
    return None


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""  # Closed meanwhile.


def _process_at(proc: Path, pid: int) -> Process | None:
    try:
        stat: Stat = parse_stat(read_small(proc / str(pid) / "stat"))
    except (OSError, ValueError, IndexError):
        return None
    return Process(pid, stat.start_ticks, stat.command)
