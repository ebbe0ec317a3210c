# SPDX-License-Identifier: Apache-2.0
"""Texts of /proc as values; formats as in proc(5).

The one idea: pure functions from text to numbers, so that every odd line of every kernel can be a
literal in a test. They raise ValueError, IndexError or KeyError for what they do not know.
"""

from typing import Final

from fodc_protocol.lean import dataclass

_LISTEN: Final = "0A"


@dataclass(frozen=True, slots=True)
class Stat:
    """Fields of /proc/<pid>/stat in the units of the kernel (ticks, pages, bytes)."""

    command: str
    state: str
    minor_faults: int
    major_faults: int
    user_ticks: int
    system_ticks: int
    threads: int
    start_ticks: int
    virtual_bytes: int
    resident_pages: int


def parse_stat(text: str) -> Stat:
    """Parse /proc/<pid>/stat; the command may hold blanks and parentheses."""
    opened, closed = text.index("("), text.rindex(")")
    rest = text[closed + 2 :].split()
    return Stat(
        command=text[opened + 1 : closed],
        state=rest[0],
        minor_faults=int(rest[7]),
        major_faults=int(rest[9]),
        user_ticks=int(rest[11]),
        system_ticks=int(rest[12]),
        threads=int(rest[17]),
        start_ticks=int(rest[19]),
        virtual_bytes=int(rest[20]),
        resident_pages=int(rest[21]),
    )


def parse_pairs(text: str) -> dict[str, int]:
    """Parse lines of "name: 12" or "name 12" (io, memory.stat, cpu.stat); others are left out."""
    pairs: dict[str, int] = {}
    for line in text.splitlines():
        words = line.replace(":", " ", 1).split()
        if len(words) >= 2 and words[1].lstrip("-").isdigit():
            pairs[words[0]] = int(words[1])
    return pairs


def parse_boot_time_s(text: str) -> int:
    """Return the Unix time of boot from /proc/stat."""
    return parse_pairs(text)["btime"]


def parse_open_files_limit(text: str) -> int | None:
    """Return the soft limit of open files from /proc/<pid>/limits, None for unlimited."""
    for line in text.splitlines():
        if line.startswith("Max open files"):
            soft = line.removeprefix("Max open files").split()[0]
            return None if soft == "unlimited" else int(soft)
    raise ValueError("no line 'Max open files'")


def parse_listeners(text: str, port: int) -> set[int]:
    """Return socket inodes that listen on `port` from /proc/net/tcp or tcp6."""
    inodes: set[int] = set()
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or words[3] != _LISTEN:
            continue
        if int(words[1].rpartition(":")[2], 16) == port:
            inodes.add(int(words[9]))
    return inodes


def split_nul(text: str) -> list[str]:
    """Split what the kernel joins by NUL (cmdline, environ); the end has a NUL or not."""
    return text.removesuffix("\0").split("\0") if text else []


def parse_environ(text: str) -> dict[str, str]:
    """Parse /proc/<pid>/environ; entries without a name are left out."""
    pairs = (entry.partition("=") for entry in split_nul(text))
    return {name: value for name, separator, value in pairs if separator and name}


@dataclass(frozen=True, slots=True)
class CgroupPaths:
    """Where a process belongs: the unified path and one path per v1 controller."""

    unified: str | None
    controllers: dict[str, str]


def parse_cgroup(text: str) -> CgroupPaths:
    """Parse /proc/<pid>/cgroup, v1 ("4:memory:/x"), v2 ("0::/x") and both at once."""
    unified: str | None = None
    controllers: dict[str, str] = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        if not names:
            unified = path
        for name in names.split(","):
            if name:
                controllers[name] = path
    return CgroupPaths(unified, controllers)
