# SPDX-License-Identifier: Apache-2.0
"""The metrics of kernel telemetry: names of the existing agent, and ours beside them. Pure.

The one idea: a name that exists keeps its meaning where that was right. What was wrong is said
here: `le` is an upper edge (W-23), types are told (W-22), a failed call counts as an error and not
as a read, and read(2) counts files only - what waits for a network has a family of its own (W-25).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from fodc_agent.ktm.histograms import Latency, histogram_samples
from fodc_agent.sources.readings import counter, gauge
from fodc_protocol.metrics.samples import Sample

STATUS: Final = gauge(
    "ktm_status",
    "Kernel telemetry: 0 counts nothing, 1 lacks a group or counts one process instead of its "
    "container, 2 counts all that was asked for.",
)
DEGRADED: Final = gauge("ktm_degraded", "1 where kernel telemetry has status 1.")

_FADVISE: Final = counter("ktm_fadvise_calls_total", "Calls of fadvise64(2).")
_DONTNEED: Final = counter(
    "ktm_fadvise_dontneed_total", "Calls of fadvise64(2) that give pages up (POSIX_FADV_DONTNEED)."
)
DONTNEED_ADVICE: Final = 4

READS: Final = (
    ("ktm_sys_read", "read(2) of regular files"),
    ("ktm_sys_read_other", "read(2) of sockets, pipes and all else that is no regular file"),
    ("ktm_sys_pread", "pread64(2)"),
)
"""Name and meaning, in the order in which `sys.bpf.c` counts them."""


def read_samples(which: int, latency: Latency) -> Iterator[Sample]:
    """Yield latency, bytes and errors of one kind of read."""
    name, about = READS[which]
    yield from operation_samples(name, about, latency)
    text = f"Bytes that {about} gave."
    yield counter(f"{name}_bytes_total", text).sample(latency.bytes)


def operation_samples(name: str, about: str, latency: Latency) -> Iterator[Sample]:
    """Yield latency and errors of one kind of operation."""
    text = f"How long a successful {about} took."
    yield from histogram_samples(f"{name}_latency_seconds", text, latency)
    yield counter(f"{name}_errors_total", f"Failed {about}.").sample(latency.errors)


def advice_samples(calls: Sequence[int]) -> Iterator[Sample]:
    """Yield what was advised, from the number of calls by advice."""
    yield _FADVISE.sample(sum(calls))
    yield _DONTNEED.sample(calls[DONTNEED_ADVICE])
