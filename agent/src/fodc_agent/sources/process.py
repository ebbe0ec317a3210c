# SPDX-License-Identifier: Apache-2.0
"""The node's process as the kernel counts it: CPU, memory, threads, files, I/O, OOM score."""

import os
from pathlib import Path
from typing import Final

from fodc_agent.lanes import Lane
from fodc_agent.sources import procfs
from fodc_agent.sources.node_process import NodeProcess, Process
from fodc_agent.sources.readings import Gap, Sheet, SourceReading, counter, gauge, nothing_but

CPU: Final = counter("fodc_node_process_cpu_seconds_total", "CPU time of the node's process.")
RESIDENT: Final = gauge(
    "fodc_node_process_resident_memory_bytes", "Resident memory of the node's process."
)
VIRTUAL: Final = gauge(
    "fodc_node_process_virtual_memory_bytes", "Virtual memory of the node's process."
)
THREADS: Final = gauge("fodc_node_process_threads", "Threads of the node's process.")
FAULTS: Final = counter(
    "fodc_node_process_page_faults_total",
    "Page faults of the node's process; major ones had to read from disk.",
)
START: Final = gauge(
    "fodc_node_process_start_time_seconds", "Unix time at which the node's process started."
)
OPEN_FILES: Final = gauge("fodc_node_process_open_fds", "Open file descriptors of the node.")
MAX_FILES: Final = gauge("fodc_node_process_max_fds", "Limit of open file descriptors.")
STORAGE: Final = counter(
    "fodc_node_process_storage_bytes_total",
    "Bytes that the node caused to be read from or written to storage.",
)
REQUESTED: Final = counter(
    "fodc_node_process_io_bytes_total",
    "Bytes of read and write calls of the node, page cache and sockets included.",
)
CALLS: Final = counter("fodc_node_process_io_calls_total", "Read and write calls of the node.")
SWITCHES: Final = counter(
    "fodc_node_process_context_switches_total",
    "Context switches of the node's main thread; involuntary ones mean a wait for CPU.",
)
OOM_SCORE: Final = gauge(
    "fodc_node_process_oom_score", "How likely the kernel kills the node first, 0 to 2000."
)


class ProcessSource:
    """Reads /proc/<pid> of the node's process."""

    name: Final = "process"
    ttl_s: Final = 0.0
    timeout_s: Final = 5.0

    def __init__(
        self, node: NodeProcess, *, ticks_per_s: int | None = None, page_bytes: int | None = None
    ) -> None:
        self._node = node
        self._lane = Lane(self.name)
        self._ticks_per_s = ticks_per_s or os.sysconf("SC_CLK_TCK")
        self._boot_s: float | None = None
        self._page_bytes = page_bytes or os.sysconf("SC_PAGE_SIZE")

    async def collect(self, at_ms: int) -> SourceReading:  # noqa: ARG002 - the bus's signature
        """Return what the kernel says; parts that need a permission may be gaps."""
        made = await self._node.look(self._lane, self._read)
        return nothing_but(self.name, made) if isinstance(made, Gap) else made

    def _read(self, process: Process) -> SourceReading:
        sheet = Sheet(self.name)
        directory = self._node.directory(process)
        self._add_stat(sheet, process)
        _add_files(sheet, directory)
        _add_io(sheet, directory)
        _add_switches(sheet, directory)
        sheet.add(OOM_SCORE, sheet.read("oom_score", directory / "oom_score", int))
        return self._node.reading_of_one_life(sheet, process)

    def _add_stat(self, sheet: Sheet, process: Process) -> None:
        path = self._node.directory(process) / "stat"
        stat = sheet.read("stat", path, procfs.parse_stat)
        if stat is None:
            return
        sheet.add(CPU, stat.user_ticks / self._ticks_per_s, ("mode", "user"))
        sheet.add(CPU, stat.system_ticks / self._ticks_per_s, ("mode", "system"))
        sheet.add(RESIDENT, stat.resident_pages * self._page_bytes)
        sheet.add(VIRTUAL, stat.virtual_bytes)
        sheet.add(THREADS, stat.threads)
        sheet.add(FAULTS, stat.minor_faults, ("kind", "minor"))
        sheet.add(FAULTS, stat.major_faults, ("kind", "major"))
        if self._boot_s is None:
            self._boot_s = sheet.read(
                "boot_time", self._node.proc / "stat", procfs.parse_boot_time_s
            )
        if self._boot_s is not None:
            sheet.add(START, self._boot_s + stat.start_ticks / self._ticks_per_s)


def _add_files(sheet: Sheet, directory: Path) -> None:
    sheet.count_entries(OPEN_FILES, "open_fds", directory / "fd")
    sheet.add(MAX_FILES, sheet.read("limits", directory / "limits", procfs.parse_open_files_limit))


def _add_io(sheet: Sheet, directory: Path) -> None:
    io = sheet.read("io", directory / "io", procfs.parse_pairs) or {}
    for direction, storage, asked, calls in (
        ("read", "read_bytes", "rchar", "syscr"),
        ("write", "write_bytes", "wchar", "syscw"),
    ):
        label = ("direction", direction)
        sheet.add(STORAGE, io.get(storage), label)
        sheet.add(REQUESTED, io.get(asked), label)
        sheet.add(CALLS, io.get(calls), label)


def _add_switches(sheet: Sheet, directory: Path) -> None:
    status = sheet.read("status", directory / "status", procfs.parse_pairs) or {}
    sheet.add(SWITCHES, status.get("voluntary_ctxt_switches"), ("kind", "voluntary"))
    sheet.add(SWITCHES, status.get("nonvoluntary_ctxt_switches"), ("kind", "involuntary"))
