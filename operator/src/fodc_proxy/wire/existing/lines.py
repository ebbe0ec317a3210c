# SPDX-License-Identifier: Apache-2.0
"""Samples of Go agents, rendered: the hottest loop of the proxy.

The one idea: a label arrives as the raw bytes of its map entry, in random order, and the same
entries come again and again, from one sample, scrape and agent to the next.  So a table has for
each entry the name and the text that it is rendered as, and a sample is a few look-ups and a join:
nothing is kept of a series, however many a fleet has.  What labels of a proxy or an agent mean
depends on whose sample it is: their entries are in the table only while that agent is read.

A message is rendered in steps, so that heartbeats are answered in between; messages take turns, so
the table needs no lock.
"""

import math
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Final, Protocol, TypeAlias

from fodc_protocol.metrics.families import FamilyBlock, family_name
from fodc_protocol.metrics.grammar import (
    format_value,
    label_name,
    metric_name,
    render_labels,
)
from fodc_protocol.metrics.samples import (
    OWNED_BY_PROXY,
    SAYS_NOTHING,
    Labels,
    MetricType,
    with_identity,
    with_node_labels,
)
from fodc_protocol.metrics.soundness import OURS, Admitted, Unsound
from fodc_proxy.queries.pages.windows import Column, shared_times
from fodc_proxy.wire.bounds import time_ms
from fodc_proxy.wire.existing.codec import (
    StreamMetricsRequest,
    check_count,
    label_pair,
    pieces_of,
    view_of_metrics,
)

_MOST_ENTRIES: Final = 100_000
_MOST_ENTRY_BYTES: Final = 16 * 1024 * 1024
_LONGEST_ENTRY: Final = 4096
_LONGEST_HELP: Final = 4096
_MOST_NAMES: Final = 10_000
_MOST_WIDTHS: Final = 8
_MOST_KEPT_LABELS: Final = 32
_STEP_METRICS: Final = 128
_STEP_LINES: Final = 1024
# Counted before it is parsed from here on: a parsed sample takes fifty times its shortest bytes.
_COUNTED_BYTES: Final = 1024 * 1024
_MOST_METRICS: Final = 400_000
# Integers below this are printed by `str(int(…))` as `format_value` prints them, only faster.
_EXACT: Final = 1e15
_COMPONENTS: Final = frozenset({MetricType.HISTOGRAM, MetricType.SUMMARY})
# Labels of a node begin so; what those of one agent mean depends on what it registered.
_STAMPED_PREFIX: Final = "node_"

_OrderKey: TypeAlias = tuple[str, int, float]
_Texts: TypeAlias = dict[str, str]
"""Rendered pairs by the name of the label."""


class _Metric(Protocol):
    """What is read of a sample."""

    name: str
    type: int
    value: float
    description: str

    @property
    def labels(self) -> Sequence[bytes]:
        """Raw map entries."""


@dataclass(slots=True)
class _Lines:
    """A family: values by what stands before them; `keys` orders histograms and summaries."""

    name: str
    kind: MetricType
    help: str
    lines: dict[str, str] = field(default_factory=dict)
    keys: list[_OrderKey] = field(default_factory=list)
    refused: Unsound | None = None
    duplicates: int = 0

    def block(self) -> FamilyBlock:
        """Return the family with its components in order."""
        lines = [prefix + value for prefix, value in self.lines.items()]
        if self.keys:
            order = sorted(range(len(lines)), key=self.keys.__getitem__)
            lines = [lines[place] for place in order]
        text = "\n".join([*lines, ""]).encode("utf-8", "replace")
        return FamilyBlock(self.name, self.kind, self.help, text, len(lines))


@dataclass(frozen=True, slots=True)
class _Name:
    """What a sample name and type mean: the key of the family, the place among its components.

    `ordered` gives the texts of so many labels in their order.
    """

    family: tuple[str, bool]
    kind: MetricType
    place: int
    is_bucket: bool
    ordered: dict[int, Callable[[_Texts], Iterable[str]]]


# Not frozen: one is made per name and message, and freezing costs five times the making.
@dataclass(slots=True)
class _Slot:
    """Where the samples of one name go; `place` is -1 where order does not matter."""

    name: str
    place: int
    ordered: dict[int, Callable[[_Texts], Iterable[str]]]
    family: _Lines
    lines: dict[str, str]
    keys: list[_OrderKey]

    def key(self, texts: _Texts, labels: str) -> _OrderKey:
        """Order by instance, then buckets by bound, then sum and count."""
        bound = texts.get("le") or texts.get("quantile")
        if not bound:
            return f",{labels},", self.place, 0.0
        return f",{labels},".replace(f",{bound},", ",", 1), self.place, _bound(bound)


@dataclass(frozen=True, slots=True)
class _Agent:
    """What differs by agent: labels of samples that tell none, and entries that are its alone."""

    node_labels: Labels
    identity: Labels
    told: dict[str, str]
    base: _Texts
    entries: list[bytes] = field(default_factory=list)

    def labels_of(self, own: Labels) -> Labels:
        """Return the labels of a sample: its own, those of the node (M18), the identity above."""
        return with_identity(with_node_labels(own, self.node_labels), self.identity)


class MetricsDecoder:
    """Reads StreamMetricsRequest; keeps the tables over all agents and scrapes."""

    def __init__(self) -> None:
        self._pairs: dict[bytes, tuple[str, str]] = {}
        self._pair_bytes = 0
        self._names: dict[tuple[str, int], _Name] = {}

    def page(self, data: bytes, node_labels: Labels = (), identity: Labels = ()) -> Admitted:
        """Return the latest values as family blocks with the labels of node and identity (§7.3).

        Of equal series the first stays. Raises WireError for garbage.
        """
        found = [one for one in self.steps(data, node_labels, identity) if one is not None]
        return found[0]

    def steps(
        self, data: bytes, node_labels: Labels = (), identity: Labels = ()
    ) -> Generator[Admitted | None, None, None]:
        """Yield what `page` returns, and None before it after every half millisecond of work.

        Nothing else may be read with this decoder in between.
        """
        self._make_room()
        agent = _agent_of(node_labels, identity)
        slots: dict[str, _Slot] = {}
        families: dict[tuple[str, bool], _Lines] = {}
        try:
            for some in _few_by_few(data):
                self._render(some, agent, slots, families)
                yield None
        finally:
            for entry in agent.entries:
                del self._pairs[entry]
        yield from _admitted(families.values())

    @staticmethod
    def _metrics(data: bytes) -> StreamMetricsRequest:
        if len(data) > _COUNTED_BYTES:
            check_count("metrics", data, _MOST_METRICS)
        return view_of_metrics(data)

    def _render(
        self,
        metrics: Iterable[_Metric],
        agent: _Agent,
        slots: dict[str, _Slot],
        families: dict[tuple[str, bool], _Lines],
    ) -> None:
        """Add some samples to the lines of their families."""
        pair_of, base = self._pairs.__getitem__, agent.base
        for metric in metrics:
            name = metric.name
            slot = slots.get(name)
            if slot is None:
                legal = metric_name(name)
                slot = slots.get(legal) or self._slot_of(legal, metric, families)
                slots[name] = slots[legal] = slot
            raw = metric.labels[:]  # a plain list is quicker to go through
            try:
                texts = dict(map(pair_of, raw))
            except KeyError:
                texts = self._read(raw, agent, slot)
            else:
                if len(texts) == len(raw):
                    texts.update(base)
                else:
                    texts = self._read(raw, agent, slot)
            if "" in texts:
                del texts[""]
            try:
                labels = ",".join(slot.ordered[len(texts)](texts))
            except KeyError:
                labels = _in_order(slot, texts)
            number = metric.value
            if not number.is_integer():
                value = repr(number)
                if "e" in value or "n" in value:
                    value = format_value(number)
            elif 0 < number < _EXACT:
                value = str(int(number))
            else:
                value = format_value(number)
            prefix = f"{slot.name}{{{labels}}} " if labels else slot.name + " "
            lines = slot.lines
            if prefix in lines:
                slot.family.duplicates += 1
                continue
            lines[prefix] = value
            if slot.place >= 0:
                slot.keys.append(slot.key(texts, labels))

    def columns(
        self, data: bytes, node_labels: Labels, now_ms: int, identity: Labels = ()
    ) -> tuple[Column, ...]:
        """Return the samples as columns; a sample without time has the message's, else `now_ms`."""
        message = self._metrics(data)
        common = message.timestamp
        common_ms = common.seconds * 1000 + common.nanos // 1_000_000 or now_ms
        columns: dict[tuple[str, frozenset[bytes]], Column] = {}
        for metric in message.metrics:
            key = (metric.name, frozenset(metric.labels))
            column = columns.get(key)
            if column is None:
                own = with_node_labels(tuple(map(label_pair, metric.labels)), node_labels)
                labels = with_identity(own, identity)
                column = Column(metric.name, labels, metric.description, array("q"), array("d"))
                columns[key] = column
            time = metric.timestamp
            at_ms = time.seconds * 1000 + time.nanos // 1_000_000 or common_ms
            column.times_ms.append(time_ms("metrics.timestamp", at_ms))
            column.values.append(metric.value)
        return shared_times(columns.values())

    # ---- tables ---------------------------------------------------------------------------------

    def _make_room(self) -> None:
        if len(self._pairs) > _MOST_ENTRIES or self._pair_bytes > _MOST_ENTRY_BYTES:
            self._pairs.clear()
            self._names.clear()  # it holds names of labels too
            self._pair_bytes = 0
        if len(self._names) > _MOST_NAMES:
            self._names.clear()

    def _read(self, raw: Sequence[bytes], agent: _Agent, slot: _Slot) -> _Texts:
        """Return the texts of labels of which some are not in the table, or come twice."""
        pairs = [self._pairs.get(entry) or self._learnt(entry, agent) for entry in raw]
        known = [pair for pair in pairs if pair is not None]
        own = dict(known)
        if len(own) == len(raw):
            return own | agent.base
        return _in_full(raw, agent, slot)

    def _learnt(self, entry: bytes, agent: _Agent) -> tuple[str, str] | None:
        """Return what an entry is rendered as, None where that needs the whole sample.

        Very long ones, and more than fit, are not kept.
        """
        name, value = _legal_pair(entry)
        if not value:
            pair = "", ""  # for Prometheus an empty label is no label
        elif name.startswith("__"):
            return None
        elif name in agent.told and value in {agent.told[name], *SAYS_NOTHING}:
            pair = name, _text(name, agent.told[name])
        elif name in agent.told or (agent.identity and name in OWNED_BY_PROXY):
            return None
        else:
            pair = name, _text(name, value)
            if agent.base.get(name, pair[1]) != pair[1]:
                return None
        if len(entry) <= _LONGEST_ENTRY and len(self._pairs) < 2 * _MOST_ENTRIES:
            self._pairs[entry] = pair
            if name in OWNED_BY_PROXY or name.startswith(_STAMPED_PREFIX):
                agent.entries.append(entry)
            else:
                self._pair_bytes += len(entry)
        return pair

    def _slot_of(
        self, name: str, metric: _Metric, families: dict[tuple[str, bool], _Lines]
    ) -> _Slot:
        """Open the slot of a sample name; the first sample fixes type and help of its family."""
        known = self._names.get((name, metric.type))
        if known is None:
            known = self._names[name, metric.type] = _name_of(name, metric.type)
        family = families.get(known.family)
        if family is None:
            family = _Lines(known.family[0], known.kind, metric.description[:_LONGEST_HELP])
            families[known.family] = family
        elif not family.help:
            family.help = metric.description[:_LONGEST_HELP]
        is_ordered = known.is_bucket or family.kind in _COMPONENTS
        place = known.place if is_ordered else -1
        return _Slot(name, place, known.ordered, family, family.lines, family.keys)


def _agent_of(node_labels: Labels, identity: Labels) -> _Agent:
    told = dict(identity)
    labels = with_identity(with_node_labels((), node_labels), identity)
    base = {name: _text(name, value) for name, value in labels}
    return _Agent(node_labels, identity, told, base)


def _legal_pair(entry: bytes) -> tuple[str, str]:
    """Return name and value of an entry as they may stand on a page; raises WireError."""
    name, value = label_pair(entry)
    return label_name(name), value.replace("\0", "\ufffd")


def _text(name: str, value: str) -> str:
    return render_labels(((name, value),))[1:-1]


def _in_full(raw: Sequence[bytes], agent: _Agent, slot: _Slot) -> _Texts:
    """Return the texts of labels that contradict each other or the agent: the first counts."""
    own: dict[str, str] = {}
    for name, value in map(_legal_pair, raw):
        if value:
            own.setdefault(name, value)
    if any(name.startswith("__") for name in own):
        slot.family.refused = Unsound.RESERVED_LABEL
    return {name: _text(name, value) for name, value in agent.labels_of(tuple(own.items()))}


def _in_order(slot: _Slot, texts: _Texts) -> str:
    """Join texts in the order of a page, and remember the order of so many labels."""
    names = sorted(texts, key=texts.__getitem__)
    if 1 < len(names) <= _MOST_KEPT_LABELS and len(slot.ordered) < _MOST_WIDTHS:
        slot.ordered[len(names)] = itemgetter(*names)
    return ",".join([texts[name] for name in names])


def _few_by_few(data: bytes) -> Iterator[Sequence[_Metric]]:
    """Yield the samples of a message; of a large one no more are parsed than are looked at."""
    is_large = len(data) > _COUNTED_BYTES
    for piece in pieces_of("metrics", data, _MOST_METRICS, _STEP_METRICS) if is_large else (data,):
        metrics = iter(view_of_metrics(piece).metrics)
        while some := list(islice(metrics, _STEP_METRICS)):
            yield some


def _admitted(families: Iterable[_Lines]) -> Generator[Admitted | None, None, None]:
    """Yield the families that may stand on a page, each series once; None as `steps` does."""
    blocks: list[FamilyBlock] = []
    refused: list[tuple[str, Unsound]] = []
    duplicates = lines = 0
    for family in families:
        reason = Unsound.RESERVED_NAME if family.name.startswith(OURS) else family.refused
        if reason is not None:
            refused.append((family.name, reason))
            continue
        duplicates += family.duplicates
        blocks.append(family.block())
        lines += blocks[-1].samples
        if lines >= _STEP_LINES:
            lines = 0
            yield None
    yield Admitted(tuple(blocks), tuple(refused), duplicates)


def _name_of(name: str, number: int) -> _Name:
    kind = MetricType.of(number)
    is_untyped = kind is MetricType.UNSPECIFIED
    place = 1 if name.endswith("_sum") else 2 if name.endswith("_count") else 0
    is_bucket = is_untyped and name.endswith("_bucket")
    return _Name((family_name(name, kind), is_untyped), kind, place, is_bucket, {})


def _bound(text: str) -> float:
    """Return the number in `le="…"`."""
    try:
        value = float(text.partition('"')[2][:-1])
    except ValueError:
        return 0.0
    return 0.0 if math.isnan(value) else value
