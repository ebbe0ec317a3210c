# SPDX-License-Identifier: Apache-2.0
"""Histograms as the programs count them, and as Prometheus reads them. Pure.

The one idea: slot s holds durations below 2^s µs that no slot before it holds, the last one the
rest. So the labels `le` are those of the existing agent, and now they are upper edges (W-23).
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from fodc_agent.sources.readings import Family
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Labels, MetricType, Sample, Series

SLOTS: Final = 33
VALUE: Final = struct.Struct(f"={SLOTS}QQQQQ")
BOUNDS: Final = (*(repr((1 << slot) / 1e6) for slot in range(SLOTS - 1)), "+Inf")


@dataclass(frozen=True, slots=True)
class Latency:
    """Durations of one kind of operation; `errors` are not among them."""

    slots: tuple[int, ...] = (0,) * SLOTS
    sum_ns: int = 0
    count: int = 0
    bytes: int = 0
    errors: int = 0


def latency_of(per_cpu: bytes) -> Latency:
    """Return the sum over all CPUs of what a map holds for one key."""
    totals = summed(per_cpu, VALUE)
    return Latency(totals[:SLOTS], *totals[SLOTS:])


def summed(per_cpu: bytes, form: struct.Struct) -> tuple[int, ...]:
    """Return the sum of each number over all copies."""
    return tuple(map(sum, zip(*form.iter_unpack(per_cpu), strict=True)))


def histogram_samples(
    name: str, text: str, latency: Latency, labels: Labels = ()
) -> Iterator[Sample]:
    """Yield buckets, sum in seconds and count."""

    def sample(suffix: str, value: float, *more: tuple[str, str]) -> Sample:
        series = Series(name + suffix, (*labels, *more), MetricType.HISTOGRAM, text)
        return Sample(series, float(value))

    cumulated = 0
    for bound, held in zip(BOUNDS, latency.slots, strict=True):
        cumulated += held
        yield sample("_bucket", cumulated, ("le", bound))
    yield sample("_sum", latency.sum_ns / 1e9)
    yield sample("_count", cumulated)


def counted(families: Sequence[Family], values: Sequence[int]) -> Iterator[Sample]:
    """Yield one sample for each family."""
    for family, value in zip(families, values, strict=True):
        yield family.sample(value)
