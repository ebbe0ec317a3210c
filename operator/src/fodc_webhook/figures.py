# SPDX-License-Identifier: Apache-2.0
"""What the webhook counts, as samples of `fodc_webhook_*` families."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from fodc_protocol.metrics.samples import MetricType, Sample, Series

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_PREFIX: Final = "fodc_webhook"


class Figures:
    """Counters of one process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, bool]] = Counter()
        """By outcome, reason and whether it was a dry run."""
        self.in_flight = 0
        self.certificate_loads: Counter[str] = Counter()
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._seconds = 0.0

    def answered(self, outcome: str, reason: str, took_s: float, *, dry_run: bool = False) -> None:
        """Count a request and how long its answer took."""
        self.requests[outcome, reason, dry_run] += 1
        self._buckets[bisect_left(BOUNDS_S, took_s)] += 1
        self._seconds += took_s

    def samples(
        self,
        *,
        certificate_expiry_s: float,
        ready: bool,
        connections: int,
        connections_dropped: int,
        events_dropped: int,
        restarts: Mapping[str, int],
    ) -> Iterator[Sample]:
        """Return all families; the arguments are what stands now, the expiry in Unix seconds."""
        text = "Reviews of objects by what was answered."
        for (outcome, reason, dry_run), number in sorted(self.requests.items()):
            labels = {"outcome": outcome, "reason": reason, "dry_run": str(dry_run).lower()}
            yield _counter("requests_total", text, number, **labels)
        yield from self._histogram()
        yield _gauge("requests_in_flight", "Reviews that are being answered.", self.in_flight)
        text = "When the certificate that is served ends, in Unix seconds; 0 for none."
        yield _gauge("certificate_expiry_seconds", text, certificate_expiry_s)
        for outcome, number in sorted(self.certificate_loads.items()):
            text = "Certificates that were taken into service, or could not be."
            yield _counter("certificate_loads_total", text, number, outcome=outcome)
        yield _gauge("connections", "Connections of API servers.", connections)
        text = "Connections that had to make room for newer ones."
        yield _counter("connections_dropped_total", text, connections_dropped)
        text = "Events that were not written because too many waited."
        yield _counter("events_dropped_total", text, events_dropped)
        text = "How often a part that must go on has ended and was begun again."
        for part, number in sorted(restarts.items()):
            yield _counter("restarts_total", text, number, part=part)
        yield _gauge("ready", "Whether this replica's webhook works.", ready)

    def _histogram(self) -> Iterator[Sample]:
        name, text = f"{_PREFIX}_seconds", "How long an answer took, from its arrival."
        total = 0
        for bound, number in zip((*map(str, BOUNDS_S), "+Inf"), self._buckets, strict=True):
            total += number
            labels = (("le", bound),)
            yield Sample(Series(f"{name}_bucket", labels, MetricType.HISTOGRAM, text), total)
        yield Sample(Series(f"{name}_sum", (), MetricType.HISTOGRAM, text), self._seconds)
        yield Sample(Series(f"{name}_count", (), MetricType.HISTOGRAM, text), total)


def _gauge(name: str, text: str, value: float, **labels: str) -> Sample:
    told = tuple(labels.items())
    return Sample(Series(f"{_PREFIX}_{name}", told, MetricType.GAUGE, text), float(value))


def _counter(name: str, text: str, value: float, **labels: str) -> Sample:
    told = tuple(labels.items())
    return Sample(Series(f"{_PREFIX}_{name}", told, MetricType.COUNTER, text), float(value))
