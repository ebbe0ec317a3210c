# SPDX-License-Identifier: Apache-2.0
"""The series that this process can measure itself; the page computes the rest."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from pathlib import Path


def measured(start: float) -> dict[str, float]:
    """Return measured values by series; start is the Unix time at which the node started."""
    threads = float(threading.active_count())
    values = {
        "process_start_time_seconds": start,
        "process_cpu_seconds_total": time.process_time(),
        "go_goroutines": threads,
        "go_threads": threads,
        "banyandb_system_cpu_num": float(os.cpu_count() or 1),
    }
    if tracemalloc.is_tracing():
        values["go_memstats_heap_alloc_bytes"] = float(tracemalloc.get_traced_memory()[0])
    return values | proc_values(Path("/proc/self"))


def proc_values(directory: Path) -> dict[str, float]:
    """Return what /proc tells; nothing where there is none."""
    try:
        pages = (directory / "statm").read_text(encoding="ascii").split()
        open_files = sum(1 for _ in (directory / "fd").iterdir())
    except OSError:
        return {}
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return {
        "process_virtual_memory_bytes": float(int(pages[0]) * page_bytes),
        "process_resident_memory_bytes": float(int(pages[1]) * page_bytes),
        "process_open_fds": float(open_files),
    }
