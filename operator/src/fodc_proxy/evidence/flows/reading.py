# SPDX-License-Identifier: Apache-2.0
"""What a node's page says of its flows and of itself, pure.

The one idea: senders count by receiver (`banyandb_queue_pub_…` with remote_node, remote_role,
remote_tier and operation), so one page gives all flows that leave a node.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fodc_protocol.metrics.families import FamilyBlock

_LINE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_PUBLISHED: Final = "banyandb_queue_pub_total_"
_ERRORS: Final = re.compile(r"banyandb_\w+_(err|errors)(_total)?")
_MEMORY: Final = ("fodc_node_process_resident_memory_bytes", "process_resident_memory_bytes")
_LIMIT: Final = ("fodc_node_memory_limit_bytes", "banyandb_memory_protector_cgroup_limit_bytes")
_MOST_FLOWS: Final = 1000

Key: TypeAlias = tuple[str, str, str, str]
"""Receiver, its role, its tier and the operation."""


@dataclass(slots=True)
class Counts:
    """Counters of one flow since the start of the node; `buckets` by upper bound."""

    started: float | None = None
    finished: float = 0.0
    errors: float | None = None
    groups: set[str] = field(default_factory=set)
    buckets: dict[float, float] = field(default_factory=dict)

    @property
    def in_flight(self) -> float | None:
        """Messages begun and not ended; None where the begun ones are not told."""
        return None if self.started is None else max(0.0, self.started - self.finished)


@dataclass(slots=True)
class Reading:
    """What one page says; None is what it does not."""

    flows: dict[Key, Counts] = field(default_factory=dict)
    memory_bytes: float | None = None
    memory_limit_bytes: float | None = None
    errors: float | None = None

    @property
    def in_flight(self) -> float | None:
        """Messages begun and not ended, of all flows that tell it."""
        told = [one.in_flight for one in self.flows.values() if one.in_flight is not None]
        return sum(told) if told else None


def reading_of(blocks: Iterable[FamilyBlock]) -> Reading:
    """Return what a page says; lines that are none are passed over."""
    found = Reading()
    values: dict[str, float] = {}
    for block in blocks:
        if block.name.startswith(_PUBLISHED):
            for name, labels, value in _samples(block.text):
                _take(found, name.removeprefix(_PUBLISHED), labels, value)
        elif block.name in _MEMORY or block.name in _LIMIT:
            for name, _, value in _samples(block.text):
                values[name] = max(value, values.get(name, 0.0))
        elif _ERRORS.fullmatch(block.name):
            told = sum(value for _, _, value in _samples(block.text))
            found.errors = (found.errors or 0.0) + told
    found.memory_bytes = next((values[name] for name in _MEMORY if name in values), None)
    # A limit of 0 is none.
    found.memory_limit_bytes = next((values[name] for name in _LIMIT if values.get(name)), None)
    return found


def _samples(text: bytes) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for line in text.decode("utf-8", "replace").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield match[1], dict(_LABEL.findall(match[2] or "")), value


def _take(found: Reading, what: str, labels: Mapping[str, str], value: float) -> None:
    key = (
        labels.get("remote_node", "")[:256],
        labels.get("remote_role", "")[:64],
        labels.get("remote_tier", "")[:64],
        labels.get("operation", "")[:64],
    )
    if not key[0] or (key not in found.flows and len(found.flows) >= _MOST_FLOWS):
        return
    counts = found.flows.setdefault(key, Counts())
    if group := labels.get("group", ""):
        counts.groups.add(group[:256])
    match what:
        case "started":
            counts.started = (counts.started or 0.0) + value
        case "finished":
            counts.finished += value
        case "err" | "error" | "errors":
            counts.errors = (counts.errors or 0.0) + value
        case "latency_bucket":
            bound = _bound(labels.get("le", ""))
            if bound is not None:
                counts.buckets[bound] = counts.buckets.get(bound, 0.0) + value
        case _:
            pass


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return the value below which this share lies, None without a sample.

    As Prometheus does: linear within a bucket, and the highest finite bound for the last one.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    rank = share * buckets[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        held = buckets[bound]
        if held >= rank:
            if math.isinf(bound):
                return low
            inside = held - below
            return low + (bound - low) * ((rank - below) / inside if inside > 0 else 1.0)
        low, below = bound, held
    return low
