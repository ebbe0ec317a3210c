# SPDX-License-Identifier: Apache-2.0
"""What one metric series and one sample of it are.

The one idea: a sample that was not taken is a value of its own (`ABSENT`), distinct from the NaN
that a node may export, so that rows of doubles can say "nothing here" without a second array.
"""

import math
import struct
from collections.abc import Container, Iterable
from enum import IntEnum
from typing import Final, TypeAlias

from fodc_protocol.lean import dataclass

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

    @classmethod
    def of(cls, number: int) -> "MetricType":
        """Return the type of a number on the wire; one that is not known here is UNTYPED."""
        return _BY_NUMBER.get(number, cls.UNTYPED)

    @property
    def text(self) -> str:
        """Word after `# TYPE name`; empty for UNSPECIFIED, which has no word."""
        return "" if self is MetricType.UNSPECIFIED else self.name.lower()


_BY_NUMBER: Final = {int(kind): kind for kind in MetricType}


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


OWNED_BY_PROXY: Final = frozenset({"pod_name", "namespace", "cluster"})
"""Labels that say whose a series is: a value that a node gave itself is kept under another name."""
SAYS_NOTHING: Final = frozenset({"", "ROLE_UNSPECIFIED"})
"""Values by which a node does not contradict what its agent registered."""


def with_identity(labels: Labels, identity: Labels) -> Labels:
    """Return `labels` with those of the agent's identity, which win over equal names.

    As Prometheus does with the labels of a target, a value that loses is kept as `exported_…`.
    A label of `OWNED_BY_PROXY` that the identity does not have is moved as well: no agent can
    write series under the name of another. Without an identity nothing changes.
    """
    if not identity:
        return labels
    told = dict(identity)
    if all(name not in OWNED_BY_PROXY and name not in told for name, _ in labels):
        return labels + identity
    taken = {name for name, _ in labels} | told.keys()
    kept: list[tuple[str, str]] = []
    for name, value in labels:
        if name not in OWNED_BY_PROXY and name not in told:
            kept.append((name, value))
        elif value not in SAYS_NOTHING and told.get(name) != value:
            exported = exported_name(name, taken)
            taken.add(exported)
            kept.append((exported, value))
    return (*kept, *identity)


def exported_name(name: str, taken: Container[str]) -> str:
    """Return `exported_name`, with as many prefixes as it takes to be a new name."""
    exported = f"exported_{name}"
    while exported in taken:
        exported = f"exported_{exported}"
    return exported
