# SPDX-License-Identifier: Apache-2.0
"""What a node leaves on its host: what is there, and what has come since.

The one idea: compare everything by name, before and after; what other nodes on this host have is
known by their names and does not count.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.kubelet import place
from e2e.kubelet.place import Place

FOLDERS: Final = ("/run", "/run/netns", "/var/lib", "/var/lib/cni", "/var/log", "/etc/cni", "/opt")
BUILDERS: Final = "/var/lib/containers/"
"""Where images are built, which other tests do at the same time."""
FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
KERNELS: Final = "/fodc-test-"
"""Cgroups that the tests of kernel telemetry make, which may run at the same time."""
_NAMESPACES: Final = ("mnt", "net", "pid", "ipc", "uts")


def of_host() -> set[str]:
    """Return links, routes, mounts, cgroups, files and settings as lines."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = [line for line in mounts if not line.split()[4].startswith(BUILDERS)]
    lines = {f"link {path.name}" for path in Path("/sys/class/net").iterdir()}
    lines |= {f"route {line}" for line in place.ip("route", "show").stdout.splitlines()}
    lines |= {f"mount {line.split()[4]}" for line in mounts}
    groups = (f"cgroup {path}" for top in place.hierarchies() for path in _folders(top))
    lines |= {line for line in groups if KERNELS not in line}
    lines |= {f"file {path}" for folder in FOLDERS for path in _entries(Path(folder))}
    return lines | {f"forwarding {FORWARDING.read_text().strip()}"}


def _folders(top: Path) -> list[Path]:
    return [path for path in _entries(top) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def come(before: set[str], own: Place) -> list[str]:
    """Return what has come since, without what belongs to other nodes than this."""
    new = sorted(of_host() - before)
    return [line for line in new if not _is_foreign(line, own)]


def _is_foreign(line: str, own: Place) -> bool:
    names = re.findall(r"\bfodck(\d+)|fodc-kubelet-(\d+)", line)
    return bool(names) and str(own.number) not in {number for pair in names for number in pair}


# ---- processes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """A process and all below it: names by identity, and the namespaces that they are in."""

    names: dict[tuple[int, int], str]
    namespaces: frozenset[str]

    def left(self) -> list[str]:
        """Return which of the processes live, and who is in one of the namespaces."""
        alive = [f"process {name}" for key, name in self.names.items() if _key(key[0]) == key]
        inside = [pid for pid in _pids() if _key(pid) and _namespaces(pid) & self.namespaces]
        return alive + [f"in a namespace: {pid} {_name(pid)}" for pid in inside]


def family(pid: int) -> Family:
    """Return the processes below this one, and the namespaces that are theirs alone."""
    parents = {one: parent for one in _pids() if (parent := _parent(one))}
    members = {pid}
    while grown := {one for one, parent in parents.items() if parent in members} - members:
        members |= grown
    names = {key: _name(one) for one in members if (key := _key(one))}
    theirs = {name for one in members for name in _namespaces(one)}
    return Family(names, frozenset(theirs - _namespaces(os.getpid())))


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def _stat(pid: int) -> list[str]:
    """Return the fields after the name; none of what has ended, reaped or not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    fields = text.rpartition(") ")[2].split()
    return [] if fields[0] == "Z" else fields


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _key(pid: int) -> tuple[int, int] | None:
    fields = _stat(pid)
    return (pid, int(fields[19])) if fields else None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _namespaces(pid: int) -> frozenset[str]:
    return frozenset(_links(Path(f"/proc/{pid}/ns/{kind}") for kind in _NAMESPACES))


def _links(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            yield str(path.readlink())
        except OSError:
            continue  # It has ended.
