# SPDX-License-Identifier: Apache-2.0
"""Which cell of a row belongs to which series, and which series are still alive.

The one idea: a series gets a column when it first appears and keeps it until no stored row holds
a value of it. A series that misses `stale_after` scrapes goes stale: it leaves the latest values
(W-11) while its history stays readable; only then, and with its last row gone, its column is free.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Final

from fodc_agent.recorder.openmetrics import NameFacts
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import family_name
from fodc_protocol.metrics.samples import Labels, MetricType, Series

NO_COLUMN: Final = -1
"""Answer of `resolve` when the table is full."""
_NO_ROW: Final = -(1 << 62)
_EVERY_ROW: Final = 1 << 62


@dataclass(slots=True)
class Family:
    """Series that share one HELP and TYPE, columns in the order in which they appeared."""

    name: str
    type: MetricType
    help: str
    columns: "array[int]" = field(default_factory=lambda: array("I"))
    version: int = 0
    """Grows whenever a column comes, goes, turns stale or returns."""


@dataclass(slots=True)
class _Name:
    """One sample name: its family and the columns of its label sets."""

    name: str
    family: Family
    columns: dict[Labels, int] = field(default_factory=dict)

    @property
    def facts(self) -> NameFacts:
        """What is known of the name."""
        return NameFacts(self.name, self.family.type, self.family.help, len(self.columns))

    @property
    def labels(self) -> Labels:
        """Labels of one of its series: all of a name have the same, or are of the same kind."""
        return next(iter(self.columns), ())


@dataclass(frozen=True, slots=True)
class _Absence:
    tick: int
    row: int


class Columns:
    """Table of one source. `limit` bounds the columns, `room_bytes` what their names cost.

    The owner may move both at any time. `absent` are the columns that the newest page did not have,
    with how long. A fresh column is not shown before `take_fresh`: its page is still being read.
    """

    def __init__(
        self, *, stale_after: int = 3, limit: int = 20_000, room_bytes: int = 1 << 40
    ) -> None:
        self.stale_after = stale_after
        self.limit = limit
        self.room_bytes = room_bytes
        self.name_bytes = 0
        self.outage = False
        self._names: dict[str, _Name] = {}
        self._families: dict[str, Family] = {}
        self._owners: list[_Name | None] = []
        self._labels: list[Labels] = []
        self._free: list[int] = []
        self._fresh: dict[int, None] = {}
        self.absent: dict[int, _Absence] = {}
        self._stale: set[int] = set()
        self._tick = self._page_tick = self._page_row = 0

    def __len__(self) -> int:
        return len(self._owners) - len(self._free)

    @property
    def width(self) -> int:
        """Cells that a row needs."""
        return len(self._owners)

    # ---- names to columns -------------------------------------------------------------------

    def resolve(self, series: Series) -> int:
        """Return the column of a series whose labels are sorted, a new one if there is none.

        Type and help of the newest mention win, empty ones never overwrite (T-DS-04). NO_COLUMN
        when the table is full.
        """
        known = self._names.get(series.name)
        if known is not None:
            self._describe(known, series.type, series.help)
            column = known.columns.get(series.labels)
            if column is not None:
                return column
        has_column = bool(self._free) or len(self._owners) < self.limit
        cost = _cost(series.name, series.labels)
        if not has_column or self.name_bytes + cost > self.room_bytes:
            return NO_COLUMN
        return self._assign(known or self._new_name(series), series.labels)

    def describe(self, name: str, kind: MetricType, text: str) -> None:
        """Give a known sample name its type and help; an unknown name is ignored."""
        known = self._names.get(name)
        if known is not None:
            self._describe(known, kind, text)

    def restore(self, series: Series, room_bytes: int) -> int:
        """Return the column of a series of an earlier life, NO_COLUMN when names fill that room.

        A new one is stale until a page has it, and kept until `settle` says that all is restored.
        """
        known = self._names.get(series.name)
        column = None if known is None else known.columns.get(series.labels)
        if column is not None:
            return column
        if self.name_bytes + _cost(series.name, series.labels) > room_bytes:
            return NO_COLUMN
        column = self.resolve(series)
        if column != NO_COLUMN:
            del self._fresh[column]
            self.absent[column] = _Absence(self._tick - self.stale_after, _EVERY_ROW)
            self._stale.add(column)
        return column

    def settle(self, row: int) -> None:
        """End the restoring: `row` is the newest one that a restored series may have a value in."""
        for column, absence in self.absent.items():
            if absence.row == _EVERY_ROW:
                self.absent[column] = _Absence(absence.tick, row)

    def take_fresh(self) -> list[int]:
        """Return the columns assigned since the last call; from now on they are shown."""
        fresh, self._fresh = self._fresh, {}
        for column in fresh:
            self._touch(column)
        return list(fresh)

    def drop_fresh(self) -> set[int]:
        """Free the columns assigned since `take_fresh`, as no row holds them; return them."""
        freed = set(self.take_fresh())
        self.absent.update(dict.fromkeys(freed, _Absence(-1, _NO_ROW)))
        if freed:
            self._forget(freed)
        return freed

    def _new_name(self, series: Series) -> _Name:
        owner = _Name(series.name, self._family(series, series.type, series.help))
        self._names[series.name] = owner
        return owner

    def _family(self, series: Series, kind: MetricType, text: str) -> Family:
        title = family_name(series.name, kind, series.labels)
        family = self._families.get(title)
        if family is None:
            family = self._families[title] = Family(title, kind, text)
        family.type = kind or family.type
        family.help = text or family.help
        return family

    def _assign(self, owner: _Name, labels: Labels) -> int:
        if self._free:
            column = self._free.pop()
            self._owners[column], self._labels[column] = owner, labels
        else:
            column = len(self._owners)
            self._owners.append(owner)
            self._labels.append(labels)
        owner.columns[labels] = column
        owner.family.columns.append(column)
        owner.family.version += 1
        self._fresh[column] = None
        self.name_bytes += _cost(owner.name, labels)
        return column

    def _describe(self, known: _Name, kind: MetricType, text: str) -> None:
        family = known.family
        if text and text != family.help:
            family.help = text
        if kind in (MetricType.UNSPECIFIED, family.type):
            return
        if family_name(known.name, kind, known.labels) == family.name:
            family.type = kind
        else:
            self._rehome(known, kind)

    def _rehome(self, known: _Name, kind: MetricType) -> None:
        """Move a name whose type turned out to be another into the family it belongs to."""
        old = known.family
        new = known.family = self._family(Series(known.name, known.labels), kind, old.help)
        moved = set(known.columns.values())
        self._remove_from(old, moved)
        new.columns.extend(known.columns.values())
        new.version += 1

    def _remove_from(self, family: Family, columns: set[int]) -> None:
        family.columns = array("I", [kept for kept in family.columns if kept not in columns])
        family.version += 1
        if not family.columns:
            self._families.pop(family.name, None)

    # ---- presence ---------------------------------------------------------------------------

    def page_seen(self, missing: Iterable[int], row: int) -> None:
        """Take note of a page that lacked `missing` columns (free ones may be among them)."""
        self._tick += 1
        gone = set(missing).difference(self._free)
        for column in gone.difference(self.absent):
            born_now = column in self._fresh
            last = _Absence(-1, _NO_ROW) if born_now else _Absence(self._page_tick, self._page_row)
            self.absent[column] = last
        for column in [back for back in self.absent if back not in gone]:
            del self.absent[column]
            if column in self._stale:
                self._stale.discard(column)
                self._touch(column)
        self._page_tick, self._page_row = self._tick, row
        self.outage = False
        self._age()

    def page_missed(self) -> None:
        """Take note of a scrape that brought nothing: every series missed it."""
        self._tick += 1
        self.outage = self._tick - self._page_tick >= self.stale_after
        self._age()

    def release(self, oldest_row: int) -> set[int]:
        """Free stale columns whose last value lies before `oldest_row`; return them."""
        freed = {column for column in self._stale if self.absent[column].row < oldest_row}
        if freed:
            self._forget(freed)
        return freed

    def _age(self) -> None:
        for column, absence in self.absent.items():
            if column not in self._stale and self._tick - absence.tick >= self.stale_after:
                self._stale.add(column)
                self._touch(column)

    def _touch(self, column: int) -> None:
        owner = self._owners[column]
        if owner is not None:
            owner.family.version += 1

    def _forget(self, freed: set[int]) -> None:
        self._stale -= freed
        touched: dict[str, Family] = {}
        for column in freed:
            owner = self._owners[column]
            assert owner is not None, f"column {column} is free twice"
            del self.absent[column]
            del owner.columns[self._labels[column]]
            self.name_bytes -= _cost(owner.name, self._labels[column])
            touched[owner.family.name] = owner.family
            if not owner.columns:
                del self._names[owner.name]
            self._owners[column], self._labels[column] = None, ()
        for family in touched.values():
            self._remove_from(family, freed)
        self._free.extend(freed)

    # ---- reading ----------------------------------------------------------------------------

    def families(self) -> Iterator[Family]:
        """Yield every family in order of appearance."""
        return iter(self._families.values())

    def visible(self, family: Family) -> list[int]:
        """Return the columns of `family` that are not stale (an outage is the caller's to see)."""
        hidden = self._stale
        if self._fresh:
            hidden = hidden | self._fresh.keys()
        return [column for column in family.columns if column not in hidden]

    def series(self, column: int) -> Series:
        """Return the series that owns `column`; KeyError when it is free."""
        owner = self._owners[column]
        if owner is None:
            raise KeyError(f"column {column} holds no series")
        family = owner.family
        return Series(owner.name, self._labels[column], family.type, family.help)

    def names(self) -> Iterator[NameFacts]:
        """Yield every sample name, stale ones included."""
        return (one.facts for one in self._names.values())

    def of_name(self, name: str) -> Iterator[int]:
        """Yield the columns of one exact sample name, stale ones included."""
        known = self._names.get(name)
        return iter(known.columns.values()) if known else iter(())

    def is_stale(self, column: int) -> bool:
        """Say whether the series has left the latest values."""
        return self.outage or column in self._stale or column in self._fresh

    def assigned(self) -> Iterator[int]:
        """Yield every column that has an owner, ascending."""
        return (column for column, owner in enumerate(self._owners) if owner is not None)


def _cost(name: str, labels: Labels) -> int:
    """Estimate what one series costs beside its cells: names, tables, cached prefixes."""
    return 360 + 2 * (len(name) + sum(len(key) + len(value) + 4 for key, value in labels))
