# SPDX-License-Identifier: Apache-2.0
"""What the node's cgroup allows and uses: memory with its events, CPU with throttling, I/O.

The one idea: version 1 and 2 of the interface say the same in different words; here both become
the same metrics, so that nobody who looks at them has to know which one a host has.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane
from fodc_agent.sources.cgroup_paths import CgroupDirectories, NodeCgroup
from fodc_agent.sources.limits import Limit, limit_v1, lowest_limit
from fodc_agent.sources.node_process import Process
from fodc_agent.sources.procfs import parse_pairs
from fodc_agent.sources.readings import (
    Family,
    Gap,
    Sheet,
    SourceReading,
    counter,
    gauge,
    nothing_but,
)

MEMORY: Final = gauge("fodc_node_memory_current_bytes", "Memory that the node's cgroup uses.")
WORKING_SET: Final = gauge(
    "fodc_node_memory_working_set_bytes",
    "Memory in use without inactive page cache: what eviction and OOM decisions look at.",
)
LIMIT: Final = gauge(
    "fodc_node_memory_limit_bytes",
    "Lowest memory limit of the node's cgroup and those above it; absent when there is none.",
)
LIMITED: Final = gauge(
    "fodc_node_memory_limited",
    "1 when a memory limit is set, 0 when none is; absent when that cannot be read.",
)
PEAK: Final = gauge("fodc_node_memory_peak_bytes", "Highest memory use of the node's cgroup.")
EVENTS: Final = counter(
    "fodc_node_memory_events_total",
    "Memory events of the node's cgroup: max means the limit was hit, oom_kill a killed process.",
)
STAT: Final = gauge("fodc_node_memory_stat_bytes", "Memory of the node's cgroup by kind.")
ACTIVITY: Final = counter(
    "fodc_node_memory_activity_total",
    "Page faults and refaults of the node's cgroup; refaults mean that the cache is too small.",
)
CPU: Final = counter("fodc_node_cpu_seconds_total", "CPU time of the node's cgroup.")
CPU_LIMIT: Final = gauge(
    "fodc_node_cpu_limit_cores",
    "Lowest CPU limit of the node's cgroup and those above it; absent when there is none.",
)
PERIODS: Final = counter("fodc_node_cpu_periods_total", "Enforcement periods of the CPU limit.")
THROTTLED: Final = counter(
    "fodc_node_cpu_throttled_periods_total", "Periods in which the CPU limit stopped the node."
)
THROTTLED_TIME: Final = counter(
    "fodc_node_cpu_throttled_seconds_total", "Time for which the CPU limit stopped the node."
)
IO: Final = counter(
    "fodc_node_io_bytes_total",
    "Bytes that the node's cgroup read or wrote, by device; a mapped device and the disk beneath "
    "it count the same bytes.",
)
IO_OPERATIONS: Final = counter(
    "fodc_node_io_operations_total", "Read and write operations of the node's cgroup, by device."
)

# Kinds of memory: our name, name in v2, name in v1.
_KINDS: Final = (
    ("anon", "anon", "total_rss"),
    ("file", "file", "total_cache"),
    ("inactive_file", "inactive_file", "total_inactive_file"),
    ("active_file", "active_file", "total_active_file"),
    ("shmem", "shmem", "total_shmem"),
    ("mapped", "file_mapped", "total_mapped_file"),
    ("dirty", "file_dirty", "total_dirty"),
    ("writeback", "file_writeback", "total_writeback"),
    ("slab", "slab", ""),
    ("sock", "sock", ""),
    ("kernel_stack", "kernel_stack", ""),
)
_ACTIVITIES: Final = (
    ("fault", "pgfault", "total_pgfault"),
    ("major_fault", "pgmajfault", "total_pgmajfault"),
    ("refault_file", "workingset_refault_file", "total_workingset_refault_file"),
    ("refault_anon", "workingset_refault_anon", "total_workingset_refault_anon"),
)


class CgroupSource:
    """Reads the cgroup of the node's process."""

    name: Final = "cgroup"
    ttl_s: Final = 0.0
    timeout_s: Final = 5.0

    def __init__(self, cgroup: NodeCgroup) -> None:
        self._cgroup = cgroup
        self._lane = Lane(self.name)

    async def collect(self, at_ms: int) -> SourceReading:  # noqa: ARG002 - the bus's signature
        """Return what the kernel accounts; what it does not offer is a gap."""
        made = await self._cgroup.node.look(self._lane, self._read)
        return nothing_but(self.name, made) if isinstance(made, Gap) else made

    def _read(self, process: Process) -> SourceReading | Gap:
        found = self._cgroup.seen(process)
        if isinstance(found, Gap):
            return found
        sheet = Sheet(self.name)
        if found.is_v1:
            _add_v1(sheet, found)
        elif found.unified is not None:
            _add_v2(sheet, found.unified, found.root)
        return self._cgroup.node.reading_of_one_life(sheet, process)


# ---- version 2 --------------------------------------------------------------------------------


def _add_v2(sheet: Sheet, directory: Path, root: Path) -> None:
    current = sheet.read("memory.current", directory / "memory.current", int)
    stat = sheet.read("memory.stat", directory / "memory.stat", parse_pairs) or {}
    limit = lowest_limit(
        directory,
        root,
        lambda at: _read_limit(sheet, at, "memory.max", parse_limit, must=at == directory),
    )
    _add_memory(sheet, current, stat, limit, column=1)
    events = sheet.read("memory.events", directory / "memory.events", parse_pairs) or {}
    for name, value in events.items():
        sheet.add(EVENTS, value, ("event", name))
    if (directory / "memory.peak").exists():
        sheet.add(PEAK, sheet.read("memory.peak", directory / "memory.peak", int))
    _add_cpu_v2(sheet, directory, root)
    _add_io_v2(sheet, directory)


def parse_limit(text: str) -> float:
    """Return bytes of memory.max, infinity for "max"."""
    word = text.strip()
    return math.inf if word == "max" else int(word)


def _read_limit(
    sheet: Sheet, directory: Path, name: str, parse: Callable[[str], float], *, must: bool = False
) -> float | None:
    """Return a limit, infinity for none; None where the group has no such file or hides it.

    One that `must` be there leaves a gap when it is not.
    """
    path = directory / name
    return sheet.read(name, path, parse) if must or path.exists() else None


def _add_cpu_v2(sheet: Sheet, directory: Path, root: Path) -> None:
    stat = sheet.read("cpu.stat", directory / "cpu.stat", parse_pairs) or {}
    for mode, key in (("user", "user_usec"), ("system", "system_usec")):
        sheet.add(CPU, _scaled(stat.get(key), 1e-6), ("mode", mode))
    if not (directory / "cpu.max").exists():
        _add_throttling(sheet, stat, "throttled_usec", 1e-6)
        return
    limit = lowest_limit(
        directory, root, lambda at: _read_limit(sheet, at, "cpu.max", parse_cpu_max)
    )
    sheet.add(CPU_LIMIT, limit.value)
    if limit.set_by != directory:
        stat = sheet.read("cpu.stat", limit.set_by / "cpu.stat", parse_pairs) or {}
    _add_throttling(sheet, stat, "throttled_usec", 1e-6)


def _add_throttling(sheet: Sheet, stat: Mapping[str, int], key: str, unit_s: float) -> None:
    """Add what the group says that sets the limit: there the periods are counted."""
    sheet.add(PERIODS, stat.get("nr_periods"))
    sheet.add(THROTTLED, stat.get("nr_throttled"))
    sheet.add(THROTTLED_TIME, _scaled(stat.get(key), unit_s))


def parse_cpu_max(text: str) -> float:
    """Return cores from "200000 100000" (quota and period in µs), infinity for "max ..."."""
    quota, period = text.split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _add_io_v2(sheet: Sheet, directory: Path) -> None:
    devices = sheet.read("io.stat", directory / "io.stat", parse_io_stat) or {}
    for device, counts in devices.items():
        for family, direction, key in (
            (IO, "read", "rbytes"),
            (IO, "write", "wbytes"),
            (IO_OPERATIONS, "read", "rios"),
            (IO_OPERATIONS, "write", "wios"),
        ):
            sheet.add(family, counts.get(key, 0), ("direction", direction), ("device", device))


def parse_io_stat(text: str) -> dict[str, dict[str, int]]:
    """Read lines such as "259:0 rbytes=1 wbytes=2 rios=3", counts by device."""
    devices: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        device, *words = line.split() or [""]
        pairs = (word.partition("=") for word in words)
        counts = {key: int(value) for key, _, value in pairs if value.isdigit()}
        if counts:
            devices[device] = counts
    return devices


# ---- version 1 --------------------------------------------------------------------------------


def _add_v1(sheet: Sheet, found: CgroupDirectories) -> None:
    _add_memory_v1(sheet, found.controllers["memory"])
    if cpu := found.controllers.get("cpu"):
        _add_throttling_v1(sheet, cpu, found.root)
    if accounting := found.controllers.get("cpuacct"):
        ticks = sheet.read("cpuacct.stat", accounting / "cpuacct.stat", parse_pairs) or {}
        for mode in ("user", "system"):
            # User-visible ticks are 1/100 s on every architecture.
            sheet.add(CPU, _scaled(ticks.get(mode), 0.01), ("mode", mode))
    if block := found.controllers.get("blkio"):
        _add_io_v1(sheet, IO, block / "blkio.throttle.io_service_bytes")
        _add_io_v1(sheet, IO_OPERATIONS, block / "blkio.throttle.io_serviced")


def _add_memory_v1(sheet: Sheet, directory: Path) -> None:
    current = sheet.read("memory.current", directory / "memory.usage_in_bytes", int)
    stat = sheet.read("memory.stat", directory / "memory.stat", parse_pairs) or {}
    own = sheet.read("memory.max", directory / "memory.limit_in_bytes", int)
    _add_memory(sheet, current, stat, limit_v1(own, stat, directory), column=2)
    sheet.add(PEAK, sheet.read("memory.peak", directory / "memory.max_usage_in_bytes", int))
    hits = sheet.read("memory.failcnt", directory / "memory.failcnt", int)
    sheet.add(EVENTS, hits, ("event", "max"))
    oom = sheet.read("memory.events", directory / "memory.oom_control", parse_pairs) or {}
    sheet.add(EVENTS, oom.get("oom_kill"), ("event", "oom_kill"))


def _add_throttling_v1(sheet: Sheet, directory: Path, mount: Path) -> None:
    limit = lowest_limit(directory, mount, lambda at: _quota_v1(sheet, at))
    sheet.add(CPU_LIMIT, limit.value)
    stat = sheet.read("cpu.stat", limit.set_by / "cpu.stat", parse_pairs) or {}
    _add_throttling(sheet, stat, "throttled_time", 1e-9)


def _quota_v1(sheet: Sheet, directory: Path) -> float | None:
    if not (directory / "cpu.cfs_quota_us").exists():
        return None
    quota = sheet.read("cpu.max", directory / "cpu.cfs_quota_us", int)
    period = sheet.read("cpu.max", directory / "cpu.cfs_period_us", int)
    if quota is None or not period:
        return None
    return quota / period if quota > 0 else math.inf


def _add_io_v1(sheet: Sheet, family: Family, path: Path) -> None:
    devices = sheet.read("io.stat", path, parse_blkio) or {}
    for device, counts in devices.items():
        for direction in ("read", "write"):
            count = counts.get(direction, 0)
            sheet.add(family, count, ("direction", direction), ("device", device))


def parse_blkio(text: str) -> dict[str, dict[str, int]]:
    """Read lines such as "8:0 Read 4096", counts by device with keys in lower case."""
    devices: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            devices.setdefault(words[0], {})[words[1].lower()] = int(words[2])
    return devices


# ---- both ---------------------------------------------------------------------------------------


def _add_memory(
    sheet: Sheet, current: int | None, stat: Mapping[str, int], limit: Limit, *, column: int
) -> None:
    sheet.add(MEMORY, current)
    kinds = {row[0]: stat.get(row[column]) for row in _KINDS}
    inactive = kinds["inactive_file"]
    if current is not None and inactive is not None:
        sheet.add(WORKING_SET, max(current - inactive, 0))
    if limit.known:
        sheet.add(LIMITED, 0 if limit.value is None else 1)
    sheet.add(LIMIT, limit.value)
    for kind, value in kinds.items():
        sheet.add(STAT, value, ("kind", kind))
    for row in _ACTIVITIES:
        sheet.add(ACTIVITY, stat.get(row[column]), ("kind", row[0]))


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor
