# SPDX-License-Identifier: Apache-2.0
"""Write profiles in the pprof format: a gzip-compressed protobuf message.

The one idea: strings, functions and locations are numbered when first seen; the message is then a
plain concatenation, so the few wire rules that it needs stand here and no library is involved.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Field numbers of the messages Profile, ValueType, Sample, Location, Line and Function.
SAMPLE_TYPE, SAMPLE, LOCATION, FUNCTION, STRING, TIME, DURATION, PERIOD_TYPE, PERIOD = (
    1, 2, 4, 5, 6, 9, 10, 11, 12,
)  # fmt: skip
LENGTH_DELIMITED = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One call of a stack."""

    function: str
    file: str
    line: int


Stack = tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class ValueType:
    """What one column of sample values counts, for example cpu in nanoseconds."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Description:
    """Everything of a profile but its samples."""

    columns: tuple[ValueType, ...]
    period_of: ValueType
    period: int
    time_ns: int
    duration_ns: int = 0


def varint(value: int) -> bytes:
    """Encode a whole number; negative ones as 64-bit two's complement."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def bytes_field(field: int, content: bytes) -> bytes:
    return varint(field << 3 | LENGTH_DELIMITED) + varint(len(content)) + content


def packed_field(field: int, values: Iterable[int]) -> bytes:
    return bytes_field(field, b"".join(map(varint, values)))


class Encoder:
    """Numbers strings, functions and locations and collects their messages."""

    def __init__(self) -> None:
        self._strings = {"": 0}
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[Frame, int] = {}
        self._tables = bytearray()

    def string(self, text: str) -> int:
        """Return the number of a string."""
        return self._strings.setdefault(text, len(self._strings))

    def value_type(self, column: ValueType) -> bytes:
        """Return the content of a ValueType message."""
        unit = number_field(2, self.string(column.unit))
        return number_field(1, self.string(column.name)) + unit

    def function(self, name: str, file: str) -> int:
        """Return the number of a function."""
        key = (name, file)
        if key not in self._functions:
            number = self._functions[key] = len(self._functions) + 1
            named = number_field(2, self.string(name)) + number_field(3, self.string(name))
            content = number_field(1, number) + named + number_field(4, self.string(file))
            self._tables += bytes_field(FUNCTION, content)
        return self._functions[key]

    def location(self, frame: Frame) -> int:
        """Return the number of a location."""
        if frame not in self._locations:
            number = self._locations[frame] = len(self._locations) + 1
            function = number_field(1, self.function(frame.function, frame.file))
            line = bytes_field(4, function + number_field(2, frame.line))
            self._tables += bytes_field(LOCATION, number_field(1, number) + line)
        return self._locations[frame]

    def sample(self, stack: Stack, values: Sequence[int]) -> bytes:
        """Return one Sample with its field key."""
        places = packed_field(1, (self.location(frame) for frame in stack))
        return bytes_field(SAMPLE, places + packed_field(2, values))

    def tables(self) -> bytes:
        """Return every location, function and string seen so far."""
        strings = b"".join(bytes_field(STRING, text.encode()) for text in self._strings)
        return bytes(self._tables) + strings


def encode(description: Description, samples: Iterable[tuple[Stack, Sequence[int]]]) -> bytes:
    """Return a profile as it is served and stored; a stack begins with its innermost call."""
    encoder = Encoder()
    columns = b"".join(
        bytes_field(SAMPLE_TYPE, encoder.value_type(column)) for column in description.columns
    )
    body = b"".join(encoder.sample(stack, values) for stack, values in samples)
    tail = number_field(TIME, description.time_ns)
    tail += number_field(DURATION, description.duration_ns)
    tail += bytes_field(PERIOD_TYPE, encoder.value_type(description.period_of))
    tail += number_field(PERIOD, description.period)
    return gzip.compress(columns + body + encoder.tables() + tail, mtime=0)
