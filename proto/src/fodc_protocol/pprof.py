# SPDX-License-Identifier: Apache-2.0
"""Reads what a Go process answers on its pprof port: profile.proto, gzipped or plain, and traces.

The one idea: a profile is looked at before it is called a success. `inspect` walks it piece by
piece with little memory; `hottest` and `folded` answer "what is hot" without any Go tool.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fodc_protocol.errors import CorruptProfileError

MAX_PLAIN_BYTES: Final = 64 << 20
"""How much a profile may unpack to; a CPU profile of two minutes has about 2 MiB."""
_MAX_FIELD_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16
_GZIP_MAGIC: Final = b"\x1f\x8b"
_TRACE_HEADER: Final = re.compile(rb"go (1\.\d{1,3}) trace\0{2,4}")


@dataclass(frozen=True, slots=True)
class ValueType:
    """What one column of values means, such as ("cpu", "nanoseconds")."""

    kind: str
    unit: str


@dataclass(frozen=True, slots=True)
class ProfileSummary:
    """What a profile holds; times in Unix nanoseconds, `period` in the unit of the sampling."""

    samples: int
    nonzero_samples: int
    value_types: tuple[ValueType, ...]
    duration_ns: int
    period: int
    time_ns: int

    @property
    def empty(self) -> bool:
        """Whether nothing was sampled at all."""
        return self.nonzero_samples == 0


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """What is known of an execution trace without replaying it."""

    go_version: str
    payload_bytes: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing behind the header."""
        return self.payload_bytes == 0


@dataclass(frozen=True, slots=True)
class HotFunction:
    """One line of a "top" table: values of the function alone (flat) and with callees (cum)."""

    name: str
    file: str
    flat: int
    cum: int
    flat_percent: float
    cum_percent: float


def inspect(data: bytes, *, max_bytes: int = MAX_PLAIN_BYTES) -> ProfileSummary:
    """Count the samples of a profile (gzip or plain profile.proto).

    Raises CorruptProfileError for no bytes, other content, a truncated or oversized gzip, and
    malformed protobuf.
    """
    found = _Walk(keep_stacks=False)
    found.read(data, max_bytes)
    return ProfileSummary(
        samples=found.samples,
        nonzero_samples=found.nonzero_samples,
        value_types=found.value_types(),
        duration_ns=found.numbers.get(10, 0),
        period=found.numbers.get(12, 0),
        time_ns=found.numbers.get(9, 0),
    )


def inspect_trace(data: bytes) -> TraceSummary:
    """Check the header of a Go execution trace; raises CorruptProfileError."""
    header = _TRACE_HEADER.match(data)
    if header is None or len(data) < 16:
        raise CorruptProfileError(f"no Go execution trace: {_start_of(data)}")
    return TraceSummary(f"go{header[1].decode()}", len(data) - 16)


def hottest(
    data: bytes,
    *,
    value_index: int | str | None = None,
    count: int = 20,
    max_bytes: int = MAX_PLAIN_BYTES,
) -> list[HotFunction]:
    """Return the functions with the highest flat value, as `go tool pprof -top` counts them.

    `value_index` is a column's number or kind ("alloc_space"); by default the profile's own
    default, else the last column. Raises CorruptProfileError, ValueError for an unknown column.
    """
    walk = _Walk(keep_stacks=True)
    walk.read(data, max_bytes)
    flat: dict[str, int] = {}
    cum: dict[str, int] = {}
    total = 0
    for stack, value in walk.valued_stacks(value_index):
        total += abs(value)
        if stack:
            flat[stack[0]] = flat.get(stack[0], 0) + value
        for name in set(stack):
            cum[name] = cum.get(name, 0) + value
    order = sorted(cum, key=lambda name: (-abs(flat.get(name, 0)), -abs(cum[name]), name))
    files = walk.files()
    share = 100 / total if total else 0.0
    return [
        HotFunction(
            name=name,
            file=files.get(name, ""),
            flat=flat.get(name, 0),
            cum=cum[name],
            flat_percent=flat.get(name, 0) * share,
            cum_percent=cum[name] * share,
        )
        for name in order[:count]
    ]


def folded(
    data: bytes, *, value_index: int | str | None = None, max_bytes: int = MAX_PLAIN_BYTES
) -> dict[str, int]:
    """Return stacks as "root;...;leaf" with their summed values, the input of flame graphs.

    Raises like `hottest`.
    """
    walk = _Walk(keep_stacks=True)
    walk.read(data, max_bytes)
    stacks: dict[str, int] = {}
    for stack, value in walk.valued_stacks(value_index):
        text = ";".join(name.replace(";", ":") for name in reversed(stack))
        stacks[text] = stacks.get(text, 0) + value
    return stacks


# ---- bytes to fields ------------------------------------------------------------------------

_Field: TypeAlias = tuple[int, int | bytes]


def _start_of(data: bytes) -> str:
    if not data:
        return "no bytes at all"
    start = data[:60]
    if not start.isascii() or not start.decode().replace("\n", " ").isprintable():
        return "unknown content"
    return f"starts with {start.decode()!r}"


def _pieces(data: bytes, max_bytes: int) -> Iterator[bytes]:
    """Yield the plain bytes; unpack gzip in small pieces and never beyond `max_bytes`."""
    if data[:2] != _GZIP_MAGIC:
        yield data
        return
    unpack = zlib.decompressobj(wbits=31)
    rest, total = data, 0
    while not unpack.eof:
        try:
            piece = unpack.decompress(rest, _PIECE_BYTES)
        except zlib.error as error:
            raise CorruptProfileError(f"gzip of the profile is damaged: {error}") from error
        rest = unpack.unconsumed_tail
        if not piece and not rest and not unpack.eof:
            raise CorruptProfileError(f"gzip of the profile ends too early, after {total} bytes")
        total += len(piece)
        if total > max_bytes:
            raise CorruptProfileError(f"profile unpacks to more than {max_bytes} bytes")
        yield piece
    if unpack.unused_data:
        raise CorruptProfileError("there are bytes behind the end of the profile's gzip")


def _top_fields(data: bytes, max_bytes: int) -> Iterator[_Field]:
    """Yield the fields of the outermost message, reading on when one is not complete yet."""
    buffer, at = b"", 0
    for piece in _pieces(data, max_bytes):
        buffer = buffer[at:] + piece
        at = 0
        while at < len(buffer):
            try:
                number, value, at = _field(buffer, at)
            except IndexError:
                break
            yield number, value
    if at < len(buffer):
        raise CorruptProfileError("profile ends in the middle of a field")


def _fields(message: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        number, value, at = _field(message, at)
        yield number, value


def _field(data: bytes, at: int) -> tuple[int, int | bytes, int]:
    """Read one field; IndexError says that it goes beyond the end of `data`."""
    key, at = _varint(data, at)
    number, wire_type = key >> 3, key & 7
    if number == 0:
        raise CorruptProfileError("profile has a field with number 0")
    if wire_type == 0:
        value, at = _varint(data, at)
        return number, value, at
    if wire_type == 2:
        size, at = _varint(data, at)
    elif wire_type in {1, 5}:
        size = 8 if wire_type == 1 else 4
    else:
        raise CorruptProfileError(f"profile has a field of unknown wire type {wire_type}")
    if size > _MAX_FIELD_BYTES:
        raise CorruptProfileError(f"profile has a field of {size} bytes")
    end = at + size
    if end > len(data):
        raise IndexError
    return number, data[at:end], end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
        shift += 7
        if shift > 63:
            raise CorruptProfileError("profile has a number of more than ten bytes")


def _numbers(value: int | bytes) -> list[int]:
    """Return a repeated number, packed or single."""
    if isinstance(value, int):
        return [value]
    numbers: list[int] = []
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise CorruptProfileError("profile has a number where a message belongs")
    return value


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise CorruptProfileError("profile has bytes where a number belongs")
    return value


# ---- fields to meaning ----------------------------------------------------------------------

_Stack: TypeAlias = tuple[str, ...]
"""Function names, leaf first."""


@dataclass(slots=True)
class _Walk:
    """Collects what is asked for while the fields go by (numbers as in profile.proto)."""

    keep_stacks: bool
    samples: int = 0
    nonzero_samples: int = 0
    types: list[tuple[int, int]] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    strings: list[bytes] = field(default_factory=list)
    stacks: list[tuple[list[int], list[int]]] = field(default_factory=list)
    locations: dict[int, tuple[list[int], int]] = field(default_factory=dict)
    functions: dict[int, tuple[int, int]] = field(default_factory=dict)

    def read(self, data: bytes, max_bytes: int) -> None:
        if not data:
            raise CorruptProfileError("no profile: no bytes at all")
        if len(data) > max_bytes:
            raise CorruptProfileError(f"profile has more than the {max_bytes} bytes allowed")
        try:
            for number, value in _top_fields(data, max_bytes):
                self._take(number, value)
        except IndexError as error:
            raise CorruptProfileError("profile has a message that ends too early") from error
        except CorruptProfileError as error:
            if self.types or data[:2] == _GZIP_MAGIC:
                raise
            raise CorruptProfileError(f"no profile: {_start_of(data)}") from error
        if not self.types:
            raise CorruptProfileError("no profile: it names no sample type")

    def _take(self, number: int, value: int | bytes) -> None:
        match number:
            case 1:
                self.types.append(_pair(_as_bytes(value), 1, 2))
            case 2:
                self._take_sample(_as_bytes(value))
            case 6:
                self.strings.append(_as_bytes(value))
            case 9 | 10 | 12 | 14:
                self.numbers[number] = _signed(_as_int(value))
            case 4 if self.keep_stacks:
                self._take_location(_as_bytes(value))
            case 5 if self.keep_stacks:
                self._take_function(_as_bytes(value))
            case _:
                pass

    def _take_sample(self, message: bytes) -> None:
        places: list[int] = []
        values: list[int] = []
        for number, value in _fields(message):
            if number == 1:
                places += _numbers(value)
            elif number == 2:
                values += _numbers(value)
        self.samples += 1
        if any(values):
            self.nonzero_samples += 1
            if self.keep_stacks:
                self.stacks.append((places, [_signed(value) for value in values]))

    def _take_location(self, message: bytes) -> None:
        identity = address = 0
        functions: list[int] = []
        for number, value in _fields(message):
            if number == 1:
                identity = _as_int(value)
            elif number == 3:
                address = _as_int(value)
            elif number == 4:
                functions.append(_pair(_as_bytes(value), 1, 2)[0])
        self.locations[identity] = (functions, address)

    def _take_function(self, message: bytes) -> None:
        identity = name = file = 0
        for number, value in _fields(message):
            if number == 1:
                identity = _as_int(value)
            elif number == 2:
                name = _as_int(value)
            elif number == 4:
                file = _as_int(value)
        self.functions[identity] = (name, file)

    def _text(self, index: int) -> str:
        if index >= len(self.strings):
            raise CorruptProfileError(
                f"profile refers to text {index} of {len(self.strings)}: it is incomplete"
            )
        return self.strings[index].decode("utf-8", "replace")

    def value_types(self) -> tuple[ValueType, ...]:
        return tuple(ValueType(self._text(kind), self._text(unit)) for kind, unit in self.types)

    def files(self) -> dict[str, str]:
        """Return the file of each function name, the first one that is not empty."""
        found: dict[str, str] = {}
        for name, file in self.functions.values():
            text = self._text(name)
            found[text] = found.get(text) or self._text(file)
        return found

    def valued_stacks(self, value_index: int | str | None) -> Iterator[tuple[_Stack, int]]:
        """Yield each stack with its value in the chosen column, zeros left out."""
        column = self._column(value_index)
        frames = {place: self._frames(place) for place in self.locations}
        for places, values in self.stacks:
            if column >= len(values):
                raise CorruptProfileError("profile has a sample with too few values")
            if not values[column]:
                continue
            try:
                stack = tuple(name for place in places for name in frames[place])
            except KeyError as error:
                raise CorruptProfileError(f"profile lacks location {error}") from error
            yield stack, values[column]

    def _frames(self, place: int) -> _Stack:
        """Return the functions at a location, innermost inlined first."""
        functions, address = self.locations[place]
        if not functions:
            return (f"0x{address:x}",)
        try:
            return tuple(self._function(identity) for identity in functions)
        except KeyError as error:
            raise CorruptProfileError(f"profile lacks function {error}") from error

    def _function(self, identity: int) -> str:
        return self._text(self.functions[identity][0]) or "<unknown>"

    def _column(self, value_index: int | str | None) -> int:
        kinds = [kind.kind for kind in self.value_types()]
        if value_index is None:
            default = self._text(self.numbers.get(14, 0)) if self.strings else ""
            return kinds.index(default) if default in kinds else len(kinds) - 1
        if isinstance(value_index, str) and value_index in kinds:
            return kinds.index(value_index)
        if isinstance(value_index, int) and 0 <= value_index < len(kinds):
            return value_index
        raise ValueError(f"value_index {value_index!r}: this profile has {', '.join(kinds)}")


def _pair(message: bytes, first: int, second: int) -> tuple[int, int]:
    found = {first: 0, second: 0}
    for number, value in _fields(message):
        if number in found:
            found[number] = _as_int(value)
    return found[first], found[second]
