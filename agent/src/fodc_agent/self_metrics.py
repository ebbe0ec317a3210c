# SPDX-License-Identifier: Apache-2.0
"""The agent's own figures as samples: recorded like any source, so they reach the proxy (W-06)."""

import os
import resource
from collections.abc import Iterator, Mapping
from typing import Final

from fodc_agent.bus.coordinator import SourceStatistics
from fodc_agent.uplink.caller import LineStatus
from fodc_protocol.samples import Labels, MetricType, Sample, Series

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def _sample(name: str, kind: MetricType, text: str, value: float, labels: Labels = ()) -> Sample:
    return Sample(Series(f"fodc_agent_{name}", labels, kind, text), float(value))


def _gauge(name: str, text: str, value: float, labels: Labels = ()) -> Sample:
    return _sample(name, MetricType.GAUGE, text, value, labels)


def _counter(name: str, text: str, value: float, labels: Labels = ()) -> Sample:
    return _sample(name, MetricType.COUNTER, text, value, labels)


def process_samples(version: str) -> Iterator[Sample]:
    """Yield what the kernel says of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield _gauge("build_info", "1, with the version of the agent.", 1, (("version", version),))
    cpu_s = usage.ru_utime + usage.ru_stime
    yield _counter("cpu_seconds_total", "CPU time of the agent.", cpu_s)
    yield _gauge("resident_memory_bytes", "Memory of the agent.", _resident_bytes())
    yield _gauge(
        "resident_memory_peak_bytes", "Most memory of the agent so far.", usage.ru_maxrss * 1024
    )


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - every few seconds
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def source_samples(statistics: Mapping[str, SourceStatistics]) -> Iterator[Sample]:
    """Yield what the bus knows of its sources."""
    for name, one in statistics.items():
        labels = (("source", name),)
        yield _gauge(
            "source_up", "Whether the newest reading is good.", one.last_error is None, labels
        )
        yield _counter("source_collections_total", "Readings taken.", one.collections_made, labels)
        yield _counter("source_failures_total", "Readings that failed.", one.failures, labels)
        if one.last_ok_age_s is not None:
            text = "Age of the newest good reading."
            yield _gauge("source_age_seconds", text, one.last_ok_age_s, labels)


def uplink_samples(line: LineStatus) -> Iterator[Sample]:
    """Yield how the line to the proxy does."""
    yield _gauge("proxy_connected", "Whether a proxy knows this agent.", line.up)
    yield _counter("proxy_connects_total", "Times that a proxy accepted it.", line.connects)
    yield _counter("proxy_failures_total", "Lines that failed or ended.", line.failures)


def task_samples(crashes: Mapping[str, int]) -> Iterator[Sample]:
    """Yield which tasks of the program broke how often."""
    for name, count in crashes.items():
        text = "Tasks that broke and were started again."
        yield _counter("task_crashes_total", text, count, (("task", name),))
