# SPDX-License-Identifier: Apache-2.0
"""Frames of the journal: what one record is in bytes, and how to tell a whole one from a torn one.

The one idea: a segment can be read alone and from its start, and reading stops at the first record
whose length or checksum is wrong. So a kill at any byte leaves a prefix of what was written.

    segment = MAGIC *record          record = length:u32 crc32:u32 kind:u8 payload
    define  = deflated JSON [source, [[column, name, labels, type, help], ...]]
    row     = at_ms:i64 delta:u8 source-length:u16 source compressed-row

The first row of a source in a segment is whole, later ones are differences to the row before.
"""

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, BinaryIO, Final, TypeAlias

from fodc_agent.recorder import compression
from fodc_agent.recorder.lines import Strings
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import Labels, MetricType, Series

MAGIC: Final = b"FODCJRN1"
_HEAD: Final = struct.Struct("<IIB")
_ROW: Final = struct.Struct("<qBH")
_MAX_RECORD_BYTES: Final = 1 << 24
_MAX_CELLS: Final = 1 << 20
_SERIES_PER_RECORD: Final = 500


class CorruptJournalError(ValueError):
    """A segment is damaged from here on; what was read before is good."""


class _Kind(IntEnum):
    DEFINE = 1
    ROW = 2


@dataclass(frozen=True, slots=True)
class JournaledSeries:
    """From here on `column` of `source` means `series`."""

    source: str
    column: int
    series: Series


@dataclass(frozen=True, slots=True)
class JournaledRow:
    """One row as it was recorded; cells are indexed by the columns defined before."""

    source: str
    at_ms: int
    row: "array[float]"


Entry: TypeAlias = JournaledSeries | JournaledRow
Definition: TypeAlias = tuple[int, Series]


def definitions(source: str, series: Sequence[Definition]) -> Iterator[bytes]:
    """Yield records that define columns, a few hundred in each."""
    for at in range(0, len(series), _SERIES_PER_RECORD):
        rows = [
            (column, one.name, one.labels, int(one.type), one.help)
            for column, one in series[at : at + _SERIES_PER_RECORD]
        ]
        text = json.dumps((source, rows), separators=(",", ":")).encode()
        yield _record(_Kind.DEFINE, zlib.compress(text, 1))


def row_record(
    source: str, at_ms: int, row: "array[float]", before: "array[float] | None"
) -> bytes:
    """Return the record of one row, as a difference to the row `before` if there is one."""
    name = source.encode()
    head = _ROW.pack(at_ms, before is not None, len(name))
    return _record(_Kind.ROW, head + name + compression.encode(row, before))


def read_segment(segment: BinaryIO) -> Iterator[Entry]:
    """Yield the entries of one segment in order.

    Raises CorruptJournalError at the first damaged or cut record, after all entries before it.
    """
    if segment.read(len(MAGIC)) != MAGIC:
        raise CorruptJournalError("no journal segment of this version")
    before: dict[str, array[float]] = {}
    strings: Strings = {}
    while (found := _next_record(segment)) is not None:
        kind, payload = found
        if kind == _Kind.DEFINE:
            yield from _read_definitions(payload, strings)
        elif kind == _Kind.ROW:
            entry = _read_row(payload, before)
            before[entry.source] = entry.row
            yield entry
        else:
            raise CorruptJournalError(f"unknown kind of record {kind}")


def row_times(segment: BinaryIO) -> Iterator[int]:
    """Yield the time of every row of a segment; raises CorruptJournalError as `read_segment`."""
    if segment.read(len(MAGIC)) != MAGIC:
        raise CorruptJournalError("no journal segment of this version")
    while (found := _next_record(segment)) is not None:
        kind, payload = found
        if kind == _Kind.ROW and len(payload) >= _ROW.size:
            yield _ROW.unpack_from(payload)[0]


def _record(kind: _Kind, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), _checksum(kind, payload), kind) + payload


def _checksum(kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, kind)


def _next_record(segment: BinaryIO) -> tuple[int, bytes] | None:
    head = segment.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise CorruptJournalError("last record is cut")
    length, checksum, kind = _HEAD.unpack(head)
    if length > _MAX_RECORD_BYTES:
        raise CorruptJournalError(f"record claims {length} bytes")
    payload = segment.read(length)
    if len(payload) < length:
        raise CorruptJournalError("last record is cut")
    if _checksum(kind, payload) != checksum:
        raise CorruptJournalError("record fails its checksum")
    return kind, payload


def _read_definitions(payload: bytes, strings: Strings) -> Iterator[JournaledSeries]:
    try:
        inflater = zlib.decompressobj()
        source, rows = json.loads(inflater.decompress(payload, _MAX_RECORD_BYTES))
        source = str(source)
        found = [JournaledSeries(source, *_definition(row, strings)) for row in rows]
    except (ValueError, TypeError, zlib.error) as fault:
        raise CorruptJournalError(f"definition of series is damaged: {fault}") from fault
    yield from found


def _definition(row: Any, strings: Strings) -> Definition:  # noqa: ANN401 - foreign JSON
    column, name, labels, kind, text = row
    if not isinstance(column, int) or not 0 <= column < _MAX_CELLS:
        raise ValueError(f"column {column!r} is out of range")
    pairs = [(str(key), str(value)) for key, value in labels]
    shared: Labels = tuple([strings.setdefault(pair, pair) for pair in pairs])
    return column, Series(sys.intern(str(name)), shared, MetricType(kind), sys.intern(str(text)))


def _read_row(payload: bytes, before: "dict[str, array[float]]") -> JournaledRow:
    try:
        at_ms, delta, length = _ROW.unpack_from(payload)
        source = payload[_ROW.size : _ROW.size + length].decode()
        reference = before[source] if delta else None
        blob = payload[_ROW.size + length :]
        return JournaledRow(
            source, at_ms, compression.decode(blob, reference, max_cells=_MAX_CELLS)
        )
    except (struct.error, ValueError, KeyError) as fault:
        raise CorruptJournalError(f"row is damaged: {fault}") from fault
