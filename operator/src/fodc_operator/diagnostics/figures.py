# SPDX-License-Identifier: Apache-2.0
"""What the controller counts, as samples of `fodc_operator_*` families."""

from collections import Counter
from collections.abc import Mapping

from fodc_api.words import RequestPhase
from fodc_protocol.metrics.samples import MetricType, Sample, Series
from fodc_proxy.captures.model import Request


class Figures:
    """Counters of one process; implements `ports.Meter`."""

    def __init__(self) -> None:
        self.status_writes: Counter[str] = Counter()
        self.requests_ended: Counter[tuple[str, str]] = Counter()
        self.capture_seconds: Counter[str] = Counter()
        self.capture_bytes: Counter[str] = Counter()

    def wrote(self, outcome: str) -> None:
        """Count a write of a status; the outcome is ok or why not."""
        self.status_writes[outcome] += 1

    def ended(self, phase: str, reason: str, request: Request | None) -> None:
        """Count a request that has ended and what it captured."""
        self.requests_ended[phase, reason] += 1
        results = [] if request is None else [r for t in request.targets for r in t.results]
        for result in results:
            if result.artifact_id:
                # Counter holds whole numbers by its type only; milliseconds keep the fractions.
                self.capture_seconds[result.profile] += result.elapsed_ms
                self.capture_bytes[result.profile] += result.size_bytes

    def samples(self, phases: Mapping[str, int], waiting: int, oldest_s: float) -> list[Sample]:
        """Return all families; the arguments are what stands now."""
        by_phase = [
            _gauge("requests", "DiagnosticRequests by phase.", phases.get(phase, 0), phase=phase)
            for phase in RequestPhase
        ]
        return [
            *by_phase,
            _gauge("requests_waiting", "Requests that wait for their turn.", waiting),
            _gauge("requests_waiting_oldest_seconds", "Age of the oldest of them.", oldest_s),
            *self._counters(),
        ]

    def _counters(self) -> list[Sample]:
        ended, writes = "Requests that ended in this process.", "Writes of a status."
        seconds, size = "Seconds of stored captures.", "Bytes of stored captures."
        return [
            *(
                _counter("requests_ended", ended, number, phase=phase, reason=reason)
                for (phase, reason), number in sorted(self.requests_ended.items())
            ),
            *(
                _counter("capture_seconds", seconds, total_ms / 1000, profile=profile)
                for profile, total_ms in sorted(self.capture_seconds.items())
            ),
            *(
                _counter("capture_bytes", size, total, profile=profile)
                for profile, total in sorted(self.capture_bytes.items())
            ),
            *(
                _counter("status_writes", writes, number, kind="DiagnosticRequest", outcome=outcome)
                for outcome, number in sorted(self.status_writes.items())
            ),
        ]


def _gauge(name: str, text: str, value: float, **labels: str) -> Sample:
    series = Series(f"fodc_operator_{name}", tuple(labels.items()), MetricType.GAUGE, text)
    return Sample(series, float(value))


def _counter(name: str, text: str, value: float, **labels: str) -> Sample:
    told = tuple(labels.items())
    return Sample(
        Series(f"fodc_operator_{name}_total", told, MetricType.COUNTER, text), float(value)
    )
