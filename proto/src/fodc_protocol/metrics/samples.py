# SPDX-License-Identifier: Apache-2.0
"""What one metric series and one sample of it are.

The one idea: a sample that was not taken is a value of its own (`ABSENT`), distinct from the NaN
that a node may export, so that rows of doubles can say "nothing here" without a second array.
"""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Label pairs (name, value) in the order in which they arrived."""


class MetricType(IntEnum):
    """Type of a metric with the numbers of the existing wire contract."""

    UNSPECIFIED = 0
    GAUGE = 1
    COUNTER = 2
    HISTOGRAM = 3
    SUMMARY = 4
    UNTYPED = 5

    @property
    def text(self) -> str:
        """Word after `# TYPE name`; empty for UNSPECIFIED, which has no word."""
        return "" if self is MetricType.UNSPECIFIED else self.name.lower()


@dataclass(frozen=True, slots=True)
class Series:
    """One series: sample name (with `_bucket` and the like), labels, family type and help."""

    name: str
    labels: Labels
    type: MetricType = MetricType.UNSPECIFIED
    help: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a series; the time belongs to the row or page that holds it."""

    series: Series
    value: float


_ABSENT_BITS: Final = struct.pack("<Q", 0x7FF8_0000_0000_F0DC)
ABSENT: Final[float] = struct.unpack("<d", _ABSENT_BITS)[0]
"""Quiet NaN with a payload of its own: "this row holds no sample of this series"."""

_pack_double = struct.Struct("<d").pack


def is_absent(value: float) -> bool:
    """Say whether `value` is the `ABSENT` mark, by its bits; any other NaN is a real sample."""
    return math.isnan(value) and _pack_double(value) == _ABSENT_BITS


_STAMPED_BY_AGENT: Final = frozenset({"pod_name", "container_name"})


def with_node_labels(labels: Labels, node_labels: Iterable[tuple[str, str]]) -> Labels:
    """Return `labels` with each node label `k=v` added as `node_k` (§7.3, M17).

    Left out: empty values, the keys `pod_name` and `container_name`, and every name that the
    sample has already (M18). The bare key is never used, so a tier `type=hot` leaves the sample's
    own `type` alone.
    """
    taken = {name for name, _ in labels}
    added: list[tuple[str, str]] = []
    for key, value in node_labels:
        name = f"node_{key}"
        if value and key not in _STAMPED_BY_AGENT and name not in taken:
            taken.add(name)
            added.append((name, value))
    return labels + tuple(added)
