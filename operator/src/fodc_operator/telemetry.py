# SPDX-License-Identifier: Apache-2.0
"""What the operator tells of itself: families `fodc_operator_*` on the proxy's /metrics."""

from collections.abc import Iterator, Mapping

from fodc_kube.client import CallMetrics
from fodc_operator.mirror.writer import Mirror
from fodc_operator.resources.fodcnode import NodePhase
from fodc_protocol.metrics.samples import MetricType, Sample, Series


def gauge(name: str, text: str, value: float, **labels: str) -> Sample:
    """Return one gauge of the operator."""
    series = Series(f"fodc_operator_{name}", tuple(labels.items()), MetricType.GAUGE, text)
    return Sample(series, float(value))


def counter(name: str, text: str, value: float, **labels: str) -> Sample:
    """Return one counter of the operator."""
    told = tuple(labels.items())
    series = Series(f"fodc_operator_{name}_total", told, MetricType.COUNTER, text)
    return Sample(series, float(value))


def leadership_samples(*, leads: bool) -> Iterator[Sample]:
    """Return whether this replica leads."""
    yield gauge("leader", "Whether this replica leads.", leads)


def mirror_samples(mirror: Mirror) -> Iterator[Sample]:
    """Return nodes by phase and how they were written."""
    phases, metrics = mirror.phases(), mirror.metrics
    for phase in NodePhase:
        yield gauge("nodes", "FodcNodes by phase.", phases[phase], phase=phase.value)
    for outcome, number in sorted(metrics.writes.items()):
        yield counter(
            "status_writes", "Writes of a status.", number, kind="FodcNode", outcome=outcome
        )
    for cause, names in sorted(metrics.refused.items()):
        yield gauge("mirror_refused", "Nodes that cannot be mirrored.", len(names), cause=cause)
    yield gauge("mirror_waiting", "Nodes whose news are not written yet.", mirror.waiting)
    yield counter("mirror_calls", "Calls that changed a FodcNode.", metrics.calls)
    yield counter("mirror_news", "Changes that were written at once.", metrics.news)
    yield counter(
        "mirror_news_seconds", "Seconds from a change to its write.", metrics.news_seconds
    )


def call_samples(metrics: CallMetrics) -> Iterator[Sample]:
    """Return the calls of the API server."""
    calls, seconds = "Calls of the API server.", "Seconds spent in calls of the API server."
    for (verb, resource, code), number in sorted(metrics.calls.items()):
        yield counter("api_calls", calls, number, verb=verb, resource=resource, code=code)
    for (verb, resource), took_s in sorted(metrics.seconds.items()):
        yield counter("api_call_seconds", seconds, took_s, verb=verb, resource=resource)
    yield counter("api_retries", "Calls that were repeated.", metrics.retries)


def keeping_samples(ends: Mapping[str, int], events_dropped: int) -> Iterator[Sample]:
    """Return what had to be begun again, and what of the Events was lost."""
    text = "How often a part that must go on has ended and was begun again."
    for part, number in sorted(ends.items()):
        yield counter("restarts", text, number, part=part)
    text = "Events that were not written because too many waited."
    yield counter("events_dropped", text, events_dropped)
