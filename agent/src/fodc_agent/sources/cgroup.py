# SPDX-License-Identifier: Apache-2.0
"""What the node's cgroup allows and uses: memory with its events, CPU with throttling, I/O.

The one idea: version 1 and 2 of the interface say the same in different words; here both become
the same metrics, so that nobody who looks at them has to know which one a host has.
"""

from functools import partial
from pathlib import Path
from typing import Final

from fodc_agent.bus.timetable import Tier
from fodc_agent.lanes import Lane
from fodc_agent.sources.cgroup_paths import CgroupDirectories, NodeCgroup
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
LIMITED: Final = gauge("fodc_node_memory_limited", "1 when a memory limit is set, 0 when none is.")
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
    "fodc_node_cpu_limit_cores", "CPU limit of the node's cgroup; absent when there is none."
)
PERIODS: Final = counter("fodc_node_cpu_periods_total", "Enforcement periods of the CPU limit.")
THROTTLED: Final = counter(
    "fodc_node_cpu_throttled_periods_total", "Periods in which the CPU limit stopped the node."
)
THROTTLED_TIME: Final = counter(
    "fodc_node_cpu_throttled_seconds_total", "Time for which the CPU limit stopped the node."
)
IO: Final = counter("fodc_node_io_bytes_total", "Bytes that the node's cgroup read or wrote.")
IO_OPERATIONS: Final = counter(
    "fodc_node_io_operations_total", "Read and write operations of the node's cgroup on devices."
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
# v1 writes "no limit" as the highest page-aligned number.
_NO_LIMIT_V1: Final = 1 << 62


class CgroupSource:
    """Reads the cgroup of the node's process."""

    name: Final = "cgroup"
    tier: Final = Tier.NORMAL
    floor_s: Final = 1.0
    ttl_s: Final = 5.0
    timeout_s: Final = 5.0

    def __init__(self, cgroup: NodeCgroup) -> None:
        self._cgroup = cgroup
        self._lane = Lane(self.name)

    async def collect(self, at_ms: int) -> SourceReading:  # noqa: ARG002 - the bus's signature
        """Return what the kernel accounts; what it does not offer is a gap."""
        process = await self._cgroup.node.find()
        if isinstance(process, Gap):
            return nothing_but(self.name, process)
        found = await self._cgroup.of(process)
        if isinstance(found, Gap):
            return nothing_but(self.name, found)
        return await self._lane.run(partial(self._read, process, found))

    def _read(self, process: Process, found: CgroupDirectories) -> SourceReading:
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
    _add_memory(sheet, current, stat, _limit_v2(sheet, directory, root), column=1)
    events = sheet.read("memory.events", directory / "memory.events", parse_pairs) or {}
    for name, value in events.items():
        sheet.add(EVENTS, value, ("event", name))
    if (directory / "memory.peak").exists():
        sheet.add(PEAK, sheet.read("memory.peak", directory / "memory.peak", int))
    _add_cpu_v2(sheet, directory)
    _add_io_v2(sheet, directory)


def parse_limit(text: str) -> int | None:
    """Return bytes of memory.max, None for "max"."""
    word = text.strip()
    return None if word == "max" else int(word)


def _limit_v2(sheet: Sheet, directory: Path, root: Path) -> int | None:
    """Return the lowest limit from the cgroup up to the root: a pod's binds its containers."""
    lowest = sheet.read("memory.max", directory / "memory.max", parse_limit)
    for parent in directory.parents:
        path = parent / "memory.max"
        if parent == root or root not in parent.parents or not path.exists():
            break
        above = sheet.read("memory.max", path, parse_limit)
        lowest = above if lowest is None else min(lowest, above or lowest)
    return lowest


def _add_cpu_v2(sheet: Sheet, directory: Path) -> None:
    stat = sheet.read("cpu.stat", directory / "cpu.stat", parse_pairs) or {}
    for mode, key in (("user", "user_usec"), ("system", "system_usec")):
        sheet.add(CPU, _scaled(stat.get(key), 1e-6), ("mode", mode))
    sheet.add(PERIODS, stat.get("nr_periods"))
    sheet.add(THROTTLED, stat.get("nr_throttled"))
    sheet.add(THROTTLED_TIME, _scaled(stat.get("throttled_usec"), 1e-6))
    if (directory / "cpu.max").exists():
        sheet.add(CPU_LIMIT, sheet.read("cpu.max", directory / "cpu.max", parse_cpu_max))


def parse_cpu_max(text: str) -> float | None:
    """Return cores from "200000 100000" (quota and period in µs), None for "max ..."."""
    quota, period = text.split()
    return None if quota == "max" else int(quota) / int(period)


def _add_io_v2(sheet: Sheet, directory: Path) -> None:
    io = sheet.read("io.stat", directory / "io.stat", parse_io_stat)
    for family, direction, key in (
        (IO, "read", "rbytes"),
        (IO, "write", "wbytes"),
        (IO_OPERATIONS, "read", "rios"),
        (IO_OPERATIONS, "write", "wios"),
    ):
        if io is not None:
            sheet.add(family, io.get(key, 0), ("direction", direction))


def parse_io_stat(text: str) -> dict[str, int]:
    """Sum lines such as "259:0 rbytes=1 wbytes=2 rios=3" over all devices."""
    sums: dict[str, int] = {}
    for line in text.splitlines():
        for word in line.split()[1:]:
            key, _, value = word.partition("=")
            if value.isdigit():
                sums[key] = sums.get(key, 0) + int(value)
    return sums


# ---- version 1 --------------------------------------------------------------------------------


def _add_v1(sheet: Sheet, found: CgroupDirectories) -> None:
    _add_memory_v1(sheet, found.controllers["memory"])
    if cpu := found.controllers.get("cpu"):
        _add_throttling_v1(sheet, cpu)
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
    _add_memory(sheet, current, stat, limit_v1(own, stat), column=2)
    sheet.add(PEAK, sheet.read("memory.peak", directory / "memory.max_usage_in_bytes", int))
    hits = sheet.read("memory.failcnt", directory / "memory.failcnt", int)
    sheet.add(EVENTS, hits, ("event", "max"))
    oom = sheet.read("memory.events", directory / "memory.oom_control", parse_pairs) or {}
    sheet.add(EVENTS, oom.get("oom_kill"), ("event", "oom_kill"))


def limit_v1(own: int | None, stat: dict[str, int]) -> int | None:
    """Return the limit in force, None when there is none.

    That of the groups above is a line of memory.stat and no file of its own (W-57).
    """
    known = [own, stat.get("hierarchical_memory_limit")]
    limits = [limit for limit in known if limit is not None and 0 < limit < _NO_LIMIT_V1]
    return min(limits, default=None)


def _add_throttling_v1(sheet: Sheet, directory: Path) -> None:
    stat = sheet.read("cpu.stat", directory / "cpu.stat", parse_pairs) or {}
    sheet.add(PERIODS, stat.get("nr_periods"))
    sheet.add(THROTTLED, stat.get("nr_throttled"))
    sheet.add(THROTTLED_TIME, _scaled(stat.get("throttled_time"), 1e-9))
    quota = sheet.read("cpu.max", directory / "cpu.cfs_quota_us", int)
    period = sheet.read("cpu.max", directory / "cpu.cfs_period_us", int)
    if quota is not None and period and quota > 0:
        sheet.add(CPU_LIMIT, quota / period)


def _add_io_v1(sheet: Sheet, family: Family, path: Path) -> None:
    sums = sheet.read("io.stat", path, parse_blkio)
    for direction in ("read", "write"):
        if sums is not None:
            sheet.add(family, sums.get(direction, 0), ("direction", direction))


def parse_blkio(text: str) -> dict[str, int]:
    """Sum lines such as "8:0 Read 4096" over all devices, keys in lower case."""
    sums: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            kind = words[1].lower()
            sums[kind] = sums.get(kind, 0) + int(words[2])
    return sums


# ---- both ---------------------------------------------------------------------------------------


def _add_memory(
    sheet: Sheet, current: int | None, stat: dict[str, int], limit: int | None, *, column: int
) -> None:
    sheet.add(MEMORY, current)
    kinds = {row[0]: stat.get(row[column]) for row in _KINDS}
    inactive = kinds["inactive_file"]
    if current is not None and inactive is not None:
        sheet.add(WORKING_SET, max(current - inactive, 0))
    sheet.add(LIMITED, 0 if limit is None else 1)
    sheet.add(LIMIT, limit)
    for kind, value in kinds.items():
        sheet.add(STAT, value, ("kind", kind))
    for row in _ACTIVITIES:
        sheet.add(ACTIVITY, stat.get(row[column]), ("kind", row[0]))


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor
