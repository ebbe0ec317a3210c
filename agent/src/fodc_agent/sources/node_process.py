# SPDX-License-Identifier: Apache-2.0
"""Finds the node's process among those that the agent can see, again when it was restarted.

The one idea: a pid alone names nobody. A process is its pid and its start time; who cannot be told
apart is not guessed at, and pid 1 is only ever the node when it says so itself (W-26, W-27). Here
is read what `candidates` judges.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from fodc_agent.lanes import Lane, StuckError
from fodc_agent.sources.candidates import Candidate, Wanted, choose, place_of
from fodc_agent.sources.procfs import Stat, parse_listeners, parse_stat, split_nul
from fodc_agent.sources.readings import Gap, GapReason, Sheet, SourceReading, read_small
from fodc_protocol.lean import dataclass

_T = TypeVar("_T")

_MAX_PROCESSES: Final = 20_000
_SEARCH_PAUSE_S: Final = 5.0
"""How long several sources share one failed search."""
_CONFIRM_S: Final = 60.0
"""How long a process is taken for the node without another look at who else is there."""
_SEARCH_S: Final = 3.0
_ENDED: Final = frozenset("ZX")
_PAUSE: Final = "pause"
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One process in one life."""

    pid: int
    start_ticks: int
    command: str


class NodeProcess:
    """Knows the node's process; ask `find` before each reading.

    By a given pid, else by who listens on `port` where file descriptors can be read, else by the
    beginning of the process name, its command, pod and container.
    """

    def __init__(
        self,
        *,
        proc: Path = Path("/proc"),
        pid: int = 0,
        name: str = "banyand",
        port: int = 0,
        container: str = "",
        pod_uid: str = "",
        flavor: str = "",
        own_pid: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what was told of the node; `on_change` hears of another process or none."""
        self.proc: Final = proc
        self.clock: Final = clock
        self.known: Process | None = None
        """The process as it was found last."""
        self._pid = pid
        self._wanted = Wanted(name, port, container, pod_uid)
        self._flavor = flavor
        self._own_pid = os.getpid() if own_pid is None else own_pid
        self._on_change = on_change
        self._found_at_s = 0.0
        self._failed: tuple[float, Gap] | None = None
        self._told: Process | None = None
        self._sockets: dict[Process, tuple[Path, str]] = {}
        self._lane = Lane("node-search", timeout_s=_SEARCH_S)

    async def find(self) -> Process | Gap:
        """Return the process as it is now, or why there is none.

        A search that hangs, as reading of a process may, leaves the one that is known.
        """
        try:
            found = await self._lane.run(self._looked_for)
        except StuckError as stuck:
            return self.known or Gap("process", GapReason.HUNG, str(stuck))
        if self.known != self._told:
            self._told = self.known
            self._on_change()
        return found

    async def look(self, lane: Lane, read: Callable[[Process], _T]) -> _T | Gap:
        """Return what `read` makes of the process in `lane`, or why there is none.

        Whether one that is known still lives is seen there as well: that needs no search.
        """
        known = self.known
        if known is not None and self.clock() - self._found_at_s < _CONFIRM_S:
            made = await lane.run(partial(self._if_it_lives, known, read))
            if made is not None:
                return made
        found = await self.find()
        return found if isinstance(found, Gap) else await lane.run(partial(read, found))

    def _if_it_lives(self, known: Process, read: Callable[[Process], _T]) -> _T | None:
        return read(known) if self.lives(known) else None

    def _looked_for(self) -> Process | Gap:
        """Look whether what is known still holds, else search; in the lane, one after the other."""
        now_s = self.clock()
        if self.known is not None and self.lives(self.known):
            if now_s - self._found_at_s < _CONFIRM_S:
                return self.known
            if self._still_listens(self.known):
                self._found_at_s = now_s
                return self.known
        elif self._failed is not None and now_s - self._failed[0] < _SEARCH_PAUSE_S:
            return self._failed[1]
        found = self._search()
        self.known = found if isinstance(found, Process) else None
        self._found_at_s = self.clock()
        self._failed = None if isinstance(found, Process) else (self._found_at_s, found)
        return found

    def _still_listens(self, process: Process) -> bool:
        """Say whether a process has the socket open by which it was found.

        Whoever has it listens on the node's port, beside which nobody else counts; the tables of
        all sockets, which are long beside a busy node, need not be read for that.
        """
        descriptor, link = self._sockets.get(process, (None, ""))
        return descriptor is not None and _link(descriptor) == link

    def lives(self, process: Process) -> bool:
        """Say whether this process is still there, in the same life."""
        return _process_at(self.proc, process.pid) == process

    def resident_bytes(self, process: Process) -> int | None:
        """Return the resident memory of a process, None when it has ended. Blocks."""
        stat = _stat_at(self.proc, process.pid)
        if stat is None or _process_of(process.pid, stat) != process:
            return None
        return stat.resident_pages * _PAGE_BYTES

    def reading_of_one_life(self, sheet: Sheet, process: Process) -> SourceReading:
        """Return the reading, or only a gap when the process has ended while it was read.

        So figures of two lives, or of half a one, are never in one row.
        """
        if self.lives(process):
            return sheet.reading()
        emptied = Sheet(sheet.source)
        text = "the node's process ended while it was read; its next life is read from the start"
        emptied.missing([Gap("process", GapReason.RESTARTED, text)])
        return emptied.reading()

    def directory(self, process: Process) -> Path:
        """Return /proc/<pid> of a process."""
        return self.proc / str(process.pid)

    @property
    def sees_others(self) -> bool:
        """Whether processes of other containers can be seen: the pod shares its namespace.

        Pid 1 of a container that shares nothing is the container's own program.
        """
        first = _process_at(self.proc, 1)
        if self._own_pid == 1 or first is None:
            return False
        if first.command == _PAUSE:
            return True
        own = _text(self.proc / str(self._own_pid) / "cgroup")
        return not own or own != _text(self.proc / "1" / "cgroup")

    def _search(self) -> Process | Gap:
        if self._pid:
            return _process_at(self.proc, self._pid) or Gap(
                "process", GapReason.NO_PROCESS, f"there is no process {self._pid} (--node-pid)"
            )
        visible = {process.pid: process for process in self._visible()}
        found = choose(self._candidates(visible.values()), self._wanted_here())
        if isinstance(found, Candidate):
            return visible[found.pid]
        return self._because_alone(found)

    def _wanted_here(self) -> Wanted:
        told = self._wanted
        own = _text(self.proc / str(self._own_pid) / "cgroup")
        return Wanted(told.name, told.port, told.container, told.pod_uid, own)

    def _because_alone(self, gap: Gap) -> Gap:
        """Name the true reason where the agent's pod shows it nothing but itself."""
        if gap.reason is not GapReason.NO_PROCESS or not self._wanted.pod_uid or self.sees_others:
            return gap
        reason = GapReason.FLAVOR_BASIC if self._flavor == "basic" else GapReason.NOT_SHARED
        return Gap(
            "process",
            reason,
            "the pod does not share its process namespace, so the node's process cannot be seen; "
            "flavor Process shares it",
        )

    # ---- what is read of them ------------------------------------------------------------------

    def _visible(self) -> Iterator[Process]:
        pids = (int(path.name) for path in self.proc.iterdir() if path.name.isdigit())
        for _, pid in zip(range(_MAX_PROCESSES), pids, strict=False):
            process = _process_at(self.proc, pid)
            if process is not None and pid != self._own_pid:
                yield process

    def _candidates(self, visible: Iterable[Process]) -> list[Candidate]:
        """Return those of the right name, and whoever else listens on the node's port."""
        named: list[Process] = []
        others: list[Process] = []
        for process in visible:
            (named if self._is_named(process) else others).append(process)
        links = self._listening_links()
        self._sockets.clear()
        listening = [self._listens(process, links) for process in named]
        known = list(zip(named, listening, strict=True))
        if links and True not in listening:
            owner = next((one for one in others if self._listens(one, links)), None)
            known += [(owner, True)] if owner is not None else []
        return [self._candidate(process, listens=listens) for process, listens in known]

    def _candidate(self, process: Process, *, listens: bool | None) -> Candidate:
        directory = self.directory(process)
        cgroup = _text(directory / "cgroup")
        return Candidate(
            process.pid,
            process.command,
            tuple(split_nul(_text(directory / "cmdline"))),
            place_of(_text(directory / "mountinfo"), cgroup),
            cgroup,
            listens,
        )

    def _is_named(self, process: Process) -> bool:
        """Compare the kernel's name (15 characters) and the program that was started."""
        name = self._wanted.name
        if process.command.startswith(name[:15]):
            return True
        program = _text(self.directory(process) / "cmdline").partition("\0")[0]
        return program.rpartition("/")[2].startswith(name)

    def _listening_links(self) -> set[str]:
        """Return where descriptors lead that hold a socket of the node's port."""
        inodes: set[int] = set()
        for table in ("net/tcp", "net/tcp6") if self._wanted.port else ():
            try:
                inodes |= parse_listeners(_text(self.proc / table), self._wanted.port)
            except ValueError:
                continue
        return {f"socket:[{inode}]" for inode in inodes}

    def _listens(self, process: Process, links: set[str]) -> bool | None:
        """Say whether a process holds one of these sockets, None when that cannot be read."""
        if not links:
            return None
        try:
            for descriptor in (self.directory(process) / "fd").iterdir():
                if (link := _link(descriptor)) in links:
                    self._sockets[process] = descriptor, link
                    return True
        except OSError:
            return None  # Another user's process: it cannot be told what it holds.
        return False


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""  # Closed meanwhile.


def _text(path: Path) -> str:
    try:
        return read_small(path)
    except OSError:
        return ""


def _process_at(proc: Path, pid: int) -> Process | None:
    stat = _stat_at(proc, pid)
    return None if stat is None else _process_of(pid, stat)


def _stat_at(proc: Path, pid: int) -> Stat | None:
    """Return what the kernel says of a process that has not ended."""
    try:
        stat = parse_stat(read_small(proc / str(pid) / "stat"))
    except (OSError, ValueError, IndexError):
        return None
    return None if stat.state in _ENDED else stat


def _process_of(pid: int, stat: Stat) -> Process:
    return Process(pid, stat.start_ticks, stat.command)
