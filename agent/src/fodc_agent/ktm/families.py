# SPDX-License-Identifier: Apache-2.0
"""The metrics of kernel telemetry: names of the existing agent, and ours beside them. Pure.

The one idea: a name that exists keeps its meaning where that was right. What was wrong is said
here: `le` is an upper edge (W-23), types are told (W-22), a failed call counts as an error and not
as a read, and read(2) counts files only - what waits for a network has a family of its own (W-25).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from fodc_agent.ktm.histograms import Latency, histogram_samples
from fodc_agent.sources.readings import counter, gauge
from fodc_protocol.metrics.samples import Labels, Sample

STATUS: Final = gauge(
    "ktm_status",
    "Kernel telemetry: 0 counts nothing, 1 lacks a group or counts one process instead of its "
    "container, 2 counts all that was asked for.",
)
DEGRADED: Final = gauge("ktm_degraded", "1 where kernel telemetry has status 1.")
VERDICT: Final = gauge(
    "ktm_verdict",
    "1 for what the node goes through: W1 scan, W2 memory is taken back, both harmless; slow reads "
    "W3 of pages that it gave up, W4 of the disk, W5 while memory is taken back.",
)

_Read = tuple[str, str, Labels]
"""Name, meaning and labels of one kind of operation, in the order of its map."""

_SYS: Final[tuple[_Read, ...]] = (
    ("ktm_sys_read", "read(2) of a regular file", ()),
    ("ktm_sys_read_other", "read(2) of a socket, pipe or what else is no regular file", ()),
    ("ktm_sys_pread", "pread64(2)", ()),
)
_FADVISE: Final = counter("ktm_fadvise_calls_total", "Calls of fadvise64(2).")
_DONTNEED: Final = counter(
    "ktm_fadvise_dontneed_total", "Calls of fadvise64(2) that give pages up (POSIX_FADV_DONTNEED)."
)
_ADVICES: Final = 8
_DONTNEED_ADVICE: Final = 4

_LOOKUPS: Final = counter("ktm_cache_lookups_total", "Reads that asked the page cache.")
_FILLS: Final = counter("ktm_cache_fills_total", "Pages that came into the page cache.")
_DELETES: Final = counter(
    "ktm_cache_deletes_total", "Pages that the node itself made go from the page cache."
)
_CACHE: Final = (_LOOKUPS, _FILLS, _DELETES)
"""In the order of `mm.bpf.c`, each with the program that counts it."""
_CACHE_PROGRAMS: Final = ("cache_lookup", "cache_add", "cache_delete")
_RECLAIM: Final = (
    counter(
        "ktm_memory_lru_pages_scanned_total", "Pages that the node had to look at for reclaim."
    ),
    counter("ktm_memory_lru_pages_reclaimed_total", "Pages that it took back thereby."),
    counter("ktm_memory_lru_shrink_events_total", "How often it had to shrink a list of pages."),
    counter(
        "ktm_memory_direct_reclaim_begin_total",
        "How often the node had to reclaim memory itself because the machine had none.",
    ),
    counter("ktm_memory_direct_reclaim_pages_total", "Pages that this gave."),
    counter(
        "ktm_memory_memcg_reclaim_begin_total",
        "How often the node had to reclaim memory itself because its cgroup is at its limit.",
    ),
    counter("ktm_memory_memcg_reclaim_pages_total", "Pages that this gave."),
)

_WAITS: Final = "ktm_sched_run_queue_latency_seconds"
_WAITS_TEXT: Final = "How long threads that could run waited for a processor."
_BLK: Final[tuple[_Read, ...]] = tuple(
    ("ktm_blk_io", "request to the disk, from when it was issued,", (("operation", name),))
    for name in ("read", "write", "other")
)
_FS: Final[tuple[_Read, ...]] = tuple(
    ("ktm_fs_sync", "call that waits until what was written is on the disk", (("call", name),))
    for name in ("fsync", "fdatasync")
)


_KINDS: Final[Mapping[str, Sequence[_Read]]] = {"sys": _SYS, "blk": _BLK, "fs": _FS}


class Counted(Protocol):
    """What the maps of one group hold, summed over all CPUs."""

    def latency(self, name: str, which: int) -> Latency:
        """Return a histogram of a map."""
        ...

    def number(self, name: str, which: int) -> int:
        """Return a counter of a map."""
        ...

    def runs(self, program: str) -> bool:
        """Say whether a program of the group is attached."""
        ...


def samples_of(group: str, counted: Counted) -> Iterator[Sample]:
    """Yield everything that one group has counted."""
    if read := _SAMPLES.get(group):
        yield from read(counted)


def latency_samples(group: str, latencies: Sequence[Latency]) -> Iterator[Sample]:
    """Yield the families of latency of a group, from what its map holds."""
    return _operations(_KINDS[group], latencies, has_bytes=group != "fs")


def _looked(group: str, of_map: str, counted: Counted) -> Iterator[Sample]:
    kinds = range(len(_KINDS[group]))
    return latency_samples(group, [counted.latency(of_map, which) for which in kinds])


def _sys(counted: Counted) -> Iterator[Sample]:
    yield from _looked("sys", "reads", counted)
    calls = [counted.number("advices", which) for which in range(_ADVICES)]
    yield _FADVISE.sample(sum(calls))
    yield _DONTNEED.sample(calls[_DONTNEED_ADVICE])


def _mm(counted: Counted) -> Iterator[Sample]:
    for which, family in enumerate((*_CACHE, *_RECLAIM)):
        if which >= len(_CACHE) or counted.runs(_CACHE_PROGRAMS[which]):
            yield family.sample(counted.number("counters", which))


def _sched(counted: Counted) -> Iterator[Sample]:
    return histogram_samples(_WAITS, _WAITS_TEXT, counted.latency("waits", 0))


def _blk(counted: Counted) -> Iterator[Sample]:
    return _looked("blk", "requests", counted)


def _fs(counted: Counted) -> Iterator[Sample]:
    return _looked("fs", "syncs", counted)


_SAMPLES: Final[Mapping[str, Callable[[Counted], Iterator[Sample]]]] = {
    "sys": _sys,
    "mm": _mm,
    "sched": _sched,
    "blk": _blk,
    "fs": _fs,
}


def _operations(
    kinds: Sequence[_Read], latencies: Sequence[Latency], *, has_bytes: bool
) -> Iterator[Sample]:
    """Yield latency, errors and bytes of each kind."""
    for (name, about, labels), latency in zip(kinds, latencies, strict=True):
        text = f"How long a successful {about} took."
        yield from histogram_samples(f"{name}_latency_seconds", text, latency, labels)
        text = f"How often a {about} failed."
        yield counter(f"{name}_errors_total", text).sample(latency.errors, *labels)
        if has_bytes:
            text = f"Bytes that a {about} moved."
            yield counter(f"{name}_bytes_total", text).sample(latency.bytes, *labels)
