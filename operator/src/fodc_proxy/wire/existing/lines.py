# SPDX-License-Identifier: Apache-2.0
"""Samples of Go agents, rendered: the hottest loop of the proxy.

The one idea: the samples of all agents look alike but for their values and a few labels such as
`pod_name`.  A label arrives as the raw bytes of its map entry, each entry has a random number, and
the sum of a sample's numbers names its set of labels whatever their order.  Under that sum a
template is kept, in which the labels that differ by agent are places to fill, so that the labels
of a fleet are sorted and joined once and not per agent and scrape.  Numbers have 56 random bits, so
that sums stay machine integers: two of ten thousand sets share one with a chance of about one in a
billion.

A message is rendered in steps, so that heartbeats are answered in between; messages take turns, so
the tables need no lock.
"""

import math
from array import array
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Final, Protocol, TypeAlias

from fodc_protocol.metrics.families import FamilyBlock, family_name
from fodc_protocol.metrics.grammar import (
    format_value,
    label_name,
    metric_name,
    render_labels,
    sample_prefix,
)
from fodc_protocol.metrics.samples import (
    OWNED_BY_PROXY,
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
    label_entry,
    label_pair,
    view_of_metrics,
)
from fodc_proxy.wire.shared import shared

_MOST_ENTRIES: Final = 100_000
_MOST_ENTRY_BYTES: Final = 16 * 1024 * 1024
_LONGEST_ENTRY: Final = 4096
_LONGEST_HELP: Final = 4096
_MOST_TEMPLATES: Final = 50_000
# Counted before it is parsed from here on: a parsed sample takes fifty times its shortest bytes.
_STEP_METRICS: Final = 256
_COUNTED_BYTES: Final = 1024 * 1024
_MOST_METRICS: Final = 400_000
# Integers below this are printed by `str(int(…))` as `format_value` prints them, only faster.
_EXACT: Final = 1e15
_COMPONENTS: Final = frozenset({MetricType.HISTOGRAM, MetricType.SUMMARY})
_BOUND_NAMES: Final = frozenset({"le", "quantile"})
# Labels that an agent stamps on (nearly) all of its samples; those of its node begin with `node_`.
_STAMPED: Final = frozenset({"pod_name", "container_name"})
_STAMPED_PREFIX: Final = "node_"

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
    refused: Unsound | None = None
    is_irregular: bool = False
    """Whether labels without a number are among them, so that equal lines must be sought."""

    def without_duplicates(self) -> int:
        """Keep the first of lines for the same series; return how many were dropped."""
        first: dict[str, int] = {}
        for place, line in enumerate(self.lines):
            first.setdefault(line.rpartition(" ")[0], place)
        dropped = len(self.lines) - len(first)
        if dropped:
            self.lines = [self.lines[place] for place in first.values()]
            self.keys = [self.keys[place] for place in first.values()] if self.keys else []
        return dropped

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
    family: _Lines
    sums: list[int] = field(default_factory=list)


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
    """One label entry: its legal name, its value, its rendered pair, its bound if it is one."""

    name: str
    value: str
    text: str
    bound: float | None

    @property
    def is_stamped(self) -> bool:
        """Say whether agents put this label on all samples."""
        return self.name in _STAMPED or self.name.startswith(_STAMPED_PREFIX)


@dataclass(frozen=True, slots=True)
class _Agent:
    """What differs by agent: stamped entries, labels that all its samples have, their values."""

    stamped: dict[bytes, _Entry]
    fixed: frozenset[str]
    heads: tuple[str, ...]
    fill: tuple[str, ...]
    shape: _Shape
    node_labels: Labels
    identity: Labels

    def labels_of(self, own: Labels) -> Labels:
        """Return the labels of a sample: its own, those of the node (M18), the identity above."""
        return with_identity(with_node_labels(own, self.node_labels), self.identity)


class MetricsDecoder:
    """Reads StreamMetricsRequest; keeps the tables over all agents and scrapes."""

    def __init__(self) -> None:
        self._random = SystemRandom()
        self._entries: dict[bytes, _Entry] = {}
        self._entry_bytes = 0
        self._numbers: dict[bytes, int] = {}
        self._stamped_numbers: dict[str, int] = {}
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def page(self, data: bytes, node_labels: Labels = (), identity: Labels = ()) -> Admitted:
        """Return the latest values as family blocks with the labels of node and identity (§7.3).

        Of equal series the first stays. Raises WireError for garbage.
        """
        found = [one for one in self.steps(data, node_labels, identity) if one is not None]
        return found[0]

    def steps(
        self, data: bytes, node_labels: Labels = (), identity: Labels = ()
    ) -> Generator[Admitted | None, None, None]:
        """Yield what `page` returns, and None before it after every few milliseconds of work.

        Nothing else may be read with this decoder in between.
        """
        metrics = self._metrics(data).metrics
        if not metrics:
            yield Admitted(())
            return
        self._make_room()
        agent = self._agent_of(metrics[0], node_labels, identity)
        own = {entry: self._numbers[entry] for entry in agent.stamped}
        for entry, known in agent.stamped.items():
            self._numbers[entry] = self._stamped_number(known.name)
        slots: dict[str, _Slot] = {}
        families: dict[tuple[str, bool], _Lines] = {}
        try:
            for start in range(0, len(metrics), _STEP_METRICS):
                self._render(metrics[start : start + _STEP_METRICS], agent, slots, families)
                yield None
        finally:
            self._numbers.update(own)
        for slot in slots.values():
            if len(set(slot.sums)) != len(slot.sums):
                slot.family.is_irregular = True
        yield _admitted(families.values())

    @staticmethod
    def _metrics(data: bytes) -> StreamMetricsRequest:
        if len(data) > _COUNTED_BYTES:
            check_count("metrics", data, _MOST_METRICS)
        return view_of_metrics(data)

    def _render(
        self,
        metrics: Sequence[_Metric],
        agent: _Agent,
        slots: dict[str, _Slot],
        families: dict[tuple[str, bool], _Lines],
    ) -> None:
        """Add some samples to the lines of their families."""
        number_of, fill = self._numbers.__getitem__, agent.fill
        for metric in metrics:
            name = metric.name
            try:
                slot = slots[name]
            except KeyError:
                legal = metric_name(name)
                slot = slots.get(legal) or _slot_of(metric, families, agent.shape)
                slots[name] = slots[legal] = slot
            raw = metric.labels[:]  # a plain list is quicker to go through
            try:
                number_of_set = sum(map(number_of, raw))
                found = slot.templates[number_of_set]
                slot.sums.append(number_of_set)
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
        if len(self._entries) > _MOST_ENTRIES or self._entry_bytes > _MOST_ENTRY_BYTES:
            self._entries.clear()
            self._numbers.clear()
            self._shapes.clear()
            self._entry_bytes = 0
        if sum(shape.count for shape in self._shapes.values()) > _MOST_TEMPLATES:
            self._shapes.clear()

    def _number(self) -> int:
        return self._random.getrandbits(56)

    def _stamped_number(self, name: str) -> int:
        number = self._stamped_numbers.get(name)
        if number is None:
            if len(self._stamped_numbers) >= _MOST_ENTRIES:
                self._stamped_numbers.clear()
                self._shapes.clear()
            number = self._stamped_numbers[name] = self._number()
        return number

    def _entry(self, raw: bytes) -> _Entry:
        """Return what a raw entry says; very long ones, and more than fit, are not kept."""
        entry = self._entries.get(raw)
        if entry is not None:
            return entry
        name, value = label_pair(raw)
        legal, value = label_name(name), value.replace("\0", "\ufffd")
        bound = _bound(value) if legal in _BOUND_NAMES else None
        entry = _Entry(legal, value, render_labels(((legal, value),))[1:-1], bound)
        number = self._number_of(raw, entry)
        if number is not None and len(self._entries) < 2 * _MOST_ENTRIES:
            self._entries[raw] = entry
            self._numbers[raw] = number
            self._entry_bytes += len(raw)
        return entry

    def _number_of(self, raw: bytes, entry: _Entry) -> int | None:
        """Return the number of an entry, None for what only a peer of another make writes.

        Equal pairs must have one number, so other bytes for the same pair have none.
        """
        if not entry.value:
            return 0  # for Prometheus an empty label is no label
        usual = len(raw) <= _LONGEST_ENTRY and raw == label_entry(entry.name, entry.value)
        return self._number() if usual else None

    def _agent_of(self, first: _Metric, node_labels: Labels, identity: Labels) -> _Agent:
        known = {raw: self._entry(raw) for raw in first.labels}
        stamped = {
            raw: entry
            for raw, entry in known.items()
            if entry.is_stamped and entry.value and raw in self._numbers
        }
        pairs = tuple({entry.name: entry.value for entry in stamped.values()}.items())
        labels = with_identity(with_node_labels(pairs, node_labels), identity)
        texts = sorted(render_labels((pair,))[1:-1] for pair in labels)
        halves = [_halves(text) for text in texts]
        heads = tuple(head for head, _ in halves)
        shape = self._shapes.setdefault(heads, _Shape())
        fill = tuple(value for _, value in halves)
        owned = OWNED_BY_PROXY if identity else frozenset()
        fixed = frozenset(name for name, _ in labels) | owned
        return _Agent(stamped, fixed, heads, fill, shape, node_labels, identity)

    def _learn(self, slot: _Slot, raw: Sequence[bytes], agent: _Agent) -> _Template | None:
        """Make the template of a set of labels that has not been met yet."""
        entries = [self._entry(one) for one in raw]
        if agent.shape.count > _MOST_TEMPLATES or not self._numbers.keys() >= set(raw):
            return None
        own = [self._entries[one] for one in raw if one not in agent.stamped]
        names = {entry.name for entry in entries}
        is_regular = (
            len(names) == len(entries)
            and agent.stamped.keys() <= set(raw)
            and not any(one.name in agent.fixed or one.name.startswith("__") for one in own)
        )
        template = self._template(slot, own, agent) if is_regular else None
        number = sum([self._numbers[one] for one in raw])
        slot.templates[number] = template
        slot.sums.append(number)
        agent.shape.count += 1
        return template

    def _template(self, slot: _Slot, own: Sequence[_Entry], agent: _Agent) -> _Template:
        pairs = [f'{head}"%s"' for head in agent.heads]
        pairs += [entry.text.replace("%", "%%") for entry in own if entry.value]
        return sample_prefix(slot.name, ()) + _braced(pairs), self._order_key(slot, own)

    def _in_full(self, slot: _Slot, raw: Sequence[bytes], agent: _Agent) -> _Template:
        """Render labels that fit no template."""
        slot.family.is_irregular = True
        entries: dict[str, _Entry] = {}
        for entry in map(self._entry, raw):
            if entry.value:
                entries.setdefault(entry.name, entry)
        if any(name.startswith("__") for name in entries):
            slot.family.refused = Unsound.RESERVED_LABEL
        labels = agent.labels_of(tuple((name, one.value) for name, one in entries.items()))
        own = [entry for entry in entries.values() if not entry.is_stamped]
        pairs = [render_labels((pair,))[1:-1] for pair in labels]
        return sample_prefix(slot.name, ()) + _braced(pairs), self._order_key(slot, own)

    @staticmethod
    def _order_key(slot: _Slot, own: Sequence[_Entry]) -> _OrderKey:
        """Order by instance, then buckets by bound, then sum and count."""
        bound = next((entry.bound for entry in own if entry.bound is not None), 0.0)
        instance = ",".join(sorted(entry.text for entry in own if entry.bound is None))
        return shared(instance), slot.place, bound


def _admitted(families: Iterable[_Lines]) -> Admitted:
    """Return the families that may stand on a page, each series once."""
    blocks: list[FamilyBlock] = []
    refused: list[tuple[str, Unsound]] = []
    duplicates = 0
    for family in families:
        reason = Unsound.RESERVED_NAME if family.name.startswith(OURS) else family.refused
        if reason is not None:
            refused.append((family.name, reason))
            continue
        if family.is_irregular:
            duplicates += family.without_duplicates()
        blocks.append(family.block())
    return Admitted(tuple(blocks), tuple(refused), duplicates)


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
        family = _Lines(known.family[0], known.kind, metric.description[:_LONGEST_HELP])
        families[known.family] = family
    elif not family.help:
        family.help = metric.description[:_LONGEST_HELP]
    ordered = known.is_bucket or family.kind in _COMPONENTS
    place = known.place if ordered else -1
    return _Slot(name, family.lines.append, family.keys, place, known.templates, family)


def _name_of(name: str, number: int) -> _Name:
    kind = MetricType.of(number)
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
