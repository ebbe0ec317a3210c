# SPDX-License-Identifier: Apache-2.0
"""Samples of Go agents, rendered: the hottest loop of the proxy.

The one idea: the samples of all agents look alike but for their values and a few labels such as
`pod_name`.  A label arrives as the raw bytes of its map entry, each entry has a random number, and
the sum of a sample's numbers names its set of labels whatever their order.  Under that sum a
template is kept, in which the labels that differ by agent are places to fill, so that the labels
of a fleet are sorted and joined once and not per agent and scrape.  Numbers have 56 random bits, so
that sums stay machine integers: two of ten thousand sets share one with a chance of about one in a
billion.

A message is rendered without a pause, so the tables need no lock.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Final, Protocol, TypeAlias

from fodc_protocol.metrics.families import FamilyBlock, family_name
from fodc_protocol.metrics.grammar import format_value, render_labels, sample_prefix
from fodc_protocol.metrics.samples import MetricType, with_node_labels
from fodc_proxy.queries.pages.windows import Column, shared_times
from fodc_proxy.wire.codec import shared
from fodc_proxy.wire.existing.codec import label_pair, view_of_metrics

_MOST_ENTRIES: Final = 100_000
_MOST_TEMPLATES: Final = 50_000
# Integers below this are printed by `str(int(…))` as `format_value` prints them, only faster.
_EXACT: Final = 1e15
_TYPES: Final = {kind.value: kind for kind in MetricType}
_COMPONENTS: Final = frozenset({MetricType.HISTOGRAM, MetricType.SUMMARY})
_BOUND_NAMES: Final = frozenset({"le", "quantile"})
# Labels that an agent stamps on (nearly) all of its samples; those of its node begin with `node_`.
_STAMPED: Final = frozenset({"pod_name", "container_name"})
_STAMPED_PREFIX: Final = "node_"

NodeLabels: TypeAlias = tuple[tuple[str, str], ...]
_OrderKey: TypeAlias = tuple[str, int, float]
_Template: TypeAlias = tuple[str, _OrderKey]


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
    """Sample lines of one family as they come; `keys` orders those of histograms and summaries."""

    name: str
    kind: MetricType
    help: str
    lines: list[str] = field(default_factory=list)
    keys: list[_OrderKey] = field(default_factory=list)

    def block(self) -> FamilyBlock:
        """Return the family with its components in order."""
        lines = self.lines
        if self.keys:
            order = sorted(range(len(lines)), key=self.keys.__getitem__)
            lines = [lines[place] for place in order]
        text = "\n".join([*lines, ""]).encode("utf-8", "replace")
        return FamilyBlock(self.name, self.kind, self.help, text, len(lines))


# Not frozen: one is made per name and message, and freezing costs five times the making.
@dataclass(slots=True)
class _Slot:
    """Where the samples of one name go; `place` is -1 where order does not matter."""

    name: str
    append: Callable[[str], None]
    keys: list[_OrderKey]
    place: int
    templates: dict[int, _Template | None]


@dataclass(frozen=True, slots=True)
class _Name:
    """What a sample name and type mean: the key of the family, the place among its components."""

    family: tuple[str, bool]
    kind: MetricType
    place: int
    is_bucket: bool
    templates: dict[int, _Template | None]


@dataclass(slots=True)
class _Shape:
    """Templates for agents with the same names of stamped and node labels.

    By sample name, type and sum: name and labels with `%s` for what differs by agent, and the
    order among the components of a family; None where a sample's own labels clash with those names
    or lack some, so that it is rendered in full.
    """

    names: dict[tuple[str, int], _Name] = field(default_factory=dict)
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """One label entry: its rendered pair, its name, its bound if it is one."""

    name: str
    text: str
    bound: float | None

    @property
    def is_stamped(self) -> bool:
        """Say whether agents put this label on all samples."""
        return self.name in _STAMPED or self.name.startswith(_STAMPED_PREFIX)


@dataclass(frozen=True, slots=True)
class _Agent:
    """What differs by agent: stamped entries, labels to add, and all their values in order.

    `added` are the labels of the node that the agent does not stamp itself, `overlay` all of them.
    """

    stamped: dict[bytes, _Entry]
    added: dict[str, str]
    overlay: dict[str, str]
    shape: _Shape
    fill: tuple[str, ...]


class MetricsDecoder:
    """Reads StreamMetricsRequest; keeps the tables over all agents and scrapes."""

    def __init__(self) -> None:
        self._random = SystemRandom()
        self._entries: dict[bytes, _Entry] = {}
        self._numbers: dict[bytes, int] = {}
        self._stamped_numbers: dict[str, int] = {}
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def blocks(self, data: bytes, node_labels: NodeLabels) -> list[FamilyBlock]:
        """Return the latest values as family blocks with the node's labels added (§7.3).

        Raises WireError for garbage.
        """
        metrics = view_of_metrics(data).metrics
        if not metrics:
            return []
        self._make_room()
        agent = self._agent_of(metrics[0], node_labels)
        own = {entry: self._numbers[entry] for entry in agent.stamped}
        for entry, known in agent.stamped.items():
            self._numbers[entry] = self._stamped_number(known.name)
        try:
            return self._rendered(metrics, agent)
        finally:
            self._numbers.update(own)

    def _rendered(self, metrics: Sequence[_Metric], agent: _Agent) -> list[FamilyBlock]:
        slots: dict[str, _Slot] = {}
        families: dict[tuple[str, bool], _Lines] = {}
        number_of, fill = self._numbers.__getitem__, agent.fill
        for metric in metrics:
            name = metric.name
            try:
                slot = slots[name]
            except KeyError:
                slot = slots[name] = _slot_of(metric, families, agent.shape)
            raw = metric.labels[:]  # a plain list is quicker to go through
            try:
                found = slot.templates[sum(map(number_of, raw))]
            except KeyError:
                found = self._learn(slot, raw, agent)
            number = metric.value
            if number.is_integer() and 0 < number < _EXACT:
                value = str(int(number))
            else:
                value = repr(number)
                if value[-2:] == ".0":
                    value = value[:-2]
                elif "e" in value or "n" in value:
                    value = format_value(number)
            if found is not None:
                slot.append(found[0] % fill + value)
            else:
                found = self._in_full(slot, raw, agent)
                slot.append(found[0] + value)
            if slot.place >= 0:
                slot.keys.append(found[1])
        return [family.block() for family in families.values()]

    def columns(self, data: bytes, node_labels: NodeLabels, now_ms: int) -> tuple[Column, ...]:
        """Return the samples as columns; a sample without time has the message's, else `now_ms`."""
        message = view_of_metrics(data)
        common = message.timestamp
        common_ms = common.seconds * 1000 + common.nanos // 1_000_000 or now_ms
        columns: dict[tuple[str, frozenset[bytes]], Column] = {}
        for metric in message.metrics:
            key = (metric.name, frozenset(metric.labels))
            column = columns.get(key)
            if column is None:
                labels = with_node_labels(tuple(map(label_pair, metric.labels)), node_labels)
                column = Column(metric.name, labels, metric.description, array("q"), array("d"))
                columns[key] = column
            time = metric.timestamp
            column.times_ms.append(time.seconds * 1000 + time.nanos // 1_000_000 or common_ms)
            column.values.append(metric.value)
        return shared_times(columns.values())

    # ---- tables ---------------------------------------------------------------------------------

    def _make_room(self) -> None:
        if len(self._entries) > _MOST_ENTRIES:
            self._entries.clear()
            self._numbers.clear()
            self._shapes.clear()
        if sum(shape.count for shape in self._shapes.values()) > _MOST_TEMPLATES:
            self._shapes.clear()

    def _number(self) -> int:
        return self._random.getrandbits(56)

    def _stamped_number(self, name: str) -> int:
        number = self._stamped_numbers.get(name)
        if number is None:
            number = self._stamped_numbers[name] = self._number()
        return number

    def _entry(self, raw: bytes) -> _Entry:
        entry = self._entries.get(raw)
        if entry is None:
            name, value = label_pair(raw)
            bound = _bound(value) if name in _BOUND_NAMES else None
            entry = _Entry(name, render_labels(((name, value),))[1:-1], bound)
            self._entries[raw] = entry
            self._numbers[raw] = self._number()
        return entry

    def _agent_of(self, first: _Metric, node_labels: NodeLabels) -> _Agent:
        known = {raw: self._entry(raw) for raw in first.labels}
        stamped = {raw: entry for raw, entry in known.items() if entry.is_stamped}
        overlay = {n: render_labels(((n, v),))[1:-1] for n, v in with_node_labels((), node_labels)}
        names = {entry.name for entry in stamped.values()}
        added = {name: text for name, text in overlay.items() if name not in names}
        texts = sorted([*(entry.text for entry in stamped.values()), *added.values()])
        heads = [_halves(text) for text in texts]
        shape = self._shapes.setdefault(tuple(head for head, _ in heads), _Shape())
        return _Agent(stamped, added, overlay, shape, tuple(value for _, value in heads))

    def _learn(self, slot: _Slot, raw: Sequence[bytes], agent: _Agent) -> _Template | None:
        """Make the template of a set of labels that has not been met yet."""
        names = {self._entry(one).name for one in raw}
        regular = agent.added.keys().isdisjoint(names) and agent.stamped.keys() <= set(raw)
        template = self._template(slot, raw, agent) if regular else None
        slot.templates[sum([self._numbers[one] for one in raw])] = template
        agent.shape.count += 1
        return template

    def _template(self, slot: _Slot, raw: Sequence[bytes], agent: _Agent) -> _Template:
        pairs = [f'{_halves(text)[0]}"%s"' for text in agent.added.values()]
        own = [self._entries[one] for one in raw if one not in agent.stamped]
        pairs += [f'{_halves(entry.text)[0]}"%s"' for entry in agent.stamped.values()]
        pairs += [entry.text.replace("%", "%%") for entry in own]
        return sample_prefix(slot.name, ()) + _braced(pairs), self._order_key(slot, own)

    def _in_full(self, slot: _Slot, raw: Sequence[bytes], agent: _Agent) -> _Template:
        """Render labels that fit no template: an own label wins over one of the node (M18)."""
        entries = [self._entry(one) for one in raw]
        names = {entry.name for entry in entries}
        pairs = [entry.text for entry in entries]
        pairs += [text for name, text in agent.overlay.items() if name not in names]
        own = [entry for entry in entries if not entry.is_stamped]
        return sample_prefix(slot.name, ()) + _braced(pairs), self._order_key(slot, own)

    @staticmethod
    def _order_key(slot: _Slot, own: Sequence[_Entry]) -> _OrderKey:
        """Order by instance, then buckets by bound, then sum and count."""
        bound = next((entry.bound for entry in own if entry.bound is not None), 0.0)
        instance = ",".join(sorted(entry.text for entry in own if entry.bound is None))
        return shared(instance), slot.place, bound


def _braced(pairs: list[str]) -> str:
    """Return labels and the blank before the value."""
    return f"{{{','.join(sorted(pairs))}}} " if pairs else " "


def _halves(text: str) -> tuple[str, str]:
    """Split `name="value"` into `name=` and the value without its quotes."""
    at = text.index("=")
    return text[: at + 1], text[at + 2 : -1]


def _slot_of(metric: _Metric, families: dict[tuple[str, bool], _Lines], shape: _Shape) -> _Slot:
    """Open the slot of a sample name; the first sample fixes type and help of its family."""
    name, kind = metric.name, metric.type
    known = shape.names.get((name, kind))
    if known is None:
        known = shape.names[name, kind] = _name_of(name, kind)
    family = families.get(known.family)
    if family is None:
        family = _Lines(known.family[0], known.kind, metric.description)
        families[known.family] = family
    elif not family.help:
        family.help = metric.description
    ordered = known.is_bucket or family.kind in _COMPONENTS
    place = known.place if ordered else -1
    return _Slot(name, family.lines.append, family.keys, place, known.templates)


def _name_of(name: str, number: int) -> _Name:
    kind = _TYPES.get(number, MetricType.UNTYPED)
    is_untyped = kind is MetricType.UNSPECIFIED
    place = 1 if name.endswith("_sum") else 2 if name.endswith("_count") else 0
    is_bucket = is_untyped and name.endswith("_bucket")
    return _Name((family_name(name, kind), is_untyped), kind, place, is_bucket, {})


def _bound(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return 0.0 if math.isnan(value) else value
