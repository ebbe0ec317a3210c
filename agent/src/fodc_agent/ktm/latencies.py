# SPDX-License-Identifier: Apache-2.0
"""How long calls took in a stretch of time: what was counted in it, as OpenMetrics text. Pure.

The one idea: the programs count for ever, so a stretch is the difference of two looks at the same
counters. What it holds are the families of `/metrics` with the same names and bounds, of this
stretch alone: `_created` is when it began, the time of every sample when it ended.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fodc_agent.ktm.families import Counted, latency_samples
from fodc_agent.ktm.histograms import Latency
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.grammar import format_value, sample_prefix
from fodc_protocol.metrics.samples import Sample, Series

MAPS: Final[Mapping[str, tuple[str, int]]] = {"sys": ("reads", 3), "blk": ("requests", 3)}
"""Of each group that counts latencies: its map, and how many kinds of call are in it."""
_LAST: Final = ("_count", "_total")
"""How the last sample of a set of labels ends, after which it is told when that began."""
_PARTS: Final = ("_bucket", "_sum", *_LAST)

Look = tuple[Latency, ...]
"""What one map held at one moment, by kind of call."""


def look_at(group: str, counted: Counted) -> Look:
    """Return what a group has counted until now; raises what `counted` raises."""
    name, kinds = MAPS[group]
    return tuple(counted.latency(name, which) for which in range(kinds))


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was counted between two looks at a group."""

    group: str
    before: Look
    after: Look

    @property
    def calls(self) -> int:
        """How many calls ended in it, failed ones too."""
        return sum(one.count + one.errors for one in self.since())

    def since(self) -> Look:
        """Return the difference."""
        return tuple(map(_less, self.after, self.before))

    def text(self, began_ms: int, ended_ms: int) -> bytes:
        """Return OpenMetrics text, `# EOF` last; times are Unix milliseconds."""
        samples = latency_samples(self.group, self.since())
        return b"".join(_lines(samples, began_ms / 1000, ended_ms / 1000)) + b"# EOF\n"


def _less(now: Latency, then: Latency) -> Latency:
    return Latency(
        tuple(a - b for a, b in zip(now.slots, then.slots, strict=True)),
        now.sum_ns - then.sum_ns,
        now.count - then.count,
        now.bytes - then.bytes,
        now.errors - then.errors,
    )


def _lines(samples: Iterable[Sample], began_s: float, ended_s: float) -> Iterator[bytes]:
    """Yield families one after the other: a format that lets none be told in two places."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(_family(sample.series.name), []).append(sample)
    for name, members in families.items():
        series = members[0].series
        yield f"# HELP {name} {series.help}\n# TYPE {name} {series.type.name.lower()}\n".encode()
        for sample in members:
            yield _line(sample.series, sample.value, ended_s)
            if sample.series.name.endswith(_LAST):
                created = Series(f"{name}_created", sample.series.labels)
                yield _line(created, began_s, ended_s)


def _family(name: str) -> str:
    return next((name.removesuffix(part) for part in _PARTS if name.endswith(part)), name)


def _line(series: Series, value: float, at_s: float) -> bytes:
    return (
        f"{sample_prefix(series.name, series.labels)} {format_value(value)} {at_s:.3f}\n".encode()
    )
