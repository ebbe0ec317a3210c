# SPDX-License-Identifier: Apache-2.0
"""The agent's own figures as samples: recorded like any source, so they reach the proxy (W-06)."""

import resource
from collections.abc import Iterator, Mapping

from fodc_agent.bus.breaker import BreakerState
from fodc_agent.bus.coordinator import SourceStatistics
from fodc_agent.uplink.caller import LineStatus
from fodc_protocol.link.event_queue import EventQueue
from fodc_protocol.metrics.samples import Labels, MetricType, Sample, Series


def _sample(name: str, kind: MetricType, text: str, value: float, labels: Labels = ()) -> Sample:
    return Sample(Series(f"fodc_agent_{name}", labels, kind, text), float(value))


def _gauge(name: str, text: str, value: float, labels: Labels = ()) -> Sample:
    return _sample(name, MetricType.GAUGE, text, value, labels)


def _counter(name: str, text: str, value: float, labels: Labels = ()) -> Sample:
    return _sample(name, MetricType.COUNTER, text, value, labels)


def memory_samples() -> Iterator[Sample]:
    """Yield the high-water mark, which the kernel tells here only."""
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    yield _gauge("resident_memory_peak_bytes", "Most memory of the agent so far.", peak_bytes)


def source_samples(statistics: Mapping[str, SourceStatistics]) -> Iterator[Sample]:
    """Yield what the bus knows of its sources."""
    for name, one in statistics.items():
        labels = (("source", name),)
        yield _gauge(
            "source_up", "Whether the newest reading is good.", one.last_error is None, labels
        )
        yield _counter("source_collections_total", "Readings taken.", one.collections_made, labels)
        yield _counter("source_failures_total", "Readings that failed.", one.failures, labels)
        text = "Whether the source is left alone for a moment after failures."
        yield _gauge("source_left_alone", text, one.breaker is BreakerState.OPEN, labels)
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


def recording_samples(failures: Mapping[str, int]) -> Iterator[Sample]:
    """Yield how many readings of which source could not be recorded."""
    for source, count in failures.items():
        text = "Readings that came and could not be recorded."
        yield _counter("recording_failures_total", text, count, (("source", source),))


def occurrence_samples(
    queue: EventQueue,
    *,
    is_armed: bool,
    memory_percent: float | None,
    begun: int,
    cooled: int,
    refused: int,
) -> Iterator[Sample]:
    """Yield what became of occurrences, and how close the node is to its memory limit."""
    states = {
        "produced": queue.produced,
        "delivered": queue.delivered,
        "gapped": queue.gapped,
    }
    text = "Occurrences: produced is delivered and gapped and those that wait."
    for state, count in states.items():
        yield _counter("occurrences_total", text, count, (("state", state),))
    text = "Occurrences that wait for a proxy to store them."
    yield _gauge("occurrences_waiting", text, len(queue.waiting))
    text = "Whether profiles are taken when the node is short of memory."
    yield _gauge("pressure_armed", text, is_armed)
    if memory_percent is not None:
        text = "Resident memory of the node in percent of its limit."
        yield _gauge("pressure_memory_percent", text, memory_percent)
    yield _counter("pressure_captures_total", "Times that its profiles were taken.", begun)
    text = "Readings above the threshold within the cool-down."
    yield _counter("pressure_skipped_cooldown_total", text, cooled)
    text = "Captures of the agent's own for which the disk had no room."
    yield _counter("own_captures_refused_total", text, refused)


def own_samples(
    statistics: Mapping[str, SourceStatistics],
    failures: Mapping[str, int],
    line: LineStatus,
    crashes: Mapping[str, int],
) -> Iterator[Sample]:
    """Yield everything that the agent says of itself."""
    yield from memory_samples()
    yield from source_samples(statistics)
    yield from recording_samples(failures)
    yield from uplink_samples(line)
    yield from task_samples(crashes)
