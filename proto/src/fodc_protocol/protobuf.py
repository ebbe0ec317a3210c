# SPDX-License-Identifier: Apache-2.0
"""Protocol buffers by hand: fields to bytes and bytes to fields, nothing else. Pure.

The one idea: the protobuf runtime costs 3.6 MiB of the agent's 30 MiB budget, and what it does for
our few messages and for profiles is a page of code. The codecs that use this are tested against the
generated classes, so the .proto files stay the contract.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_MASK64: Final = (1 << 64) - 1
_MAX_SHIFT: Final = 63

_Value: TypeAlias = int | bytes
Field: TypeAlias = tuple[int, _Value]
"""Number of a field and its value: bytes for everything with a length, else an integer."""


class WireError(ValueError):
    """The bytes are no protocol buffer message."""


class CutError(WireError):
    """The bytes end inside a field: more of them may make it whole."""


# ---- writing ------------------------------------------------------------------------------------


_BYTE: Final = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """Return an integer as a varint; a negative one takes ten bytes, as int64 does."""
    if 0 <= value < 0x80:
        return _BYTE[value]
    value &= _MASK64
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number(field: int, value: int) -> bytes:
    """Return an integer, enum or bool field; zero is left out."""
    return varint(field << 3 | _VARINT) + varint(int(value)) if value else b""


def blob(field: int, data: bytes) -> bytes:
    """Return a bytes field; empty is left out."""
    return message(field, data) if data else b""


def text(field: int, value: str) -> bytes:
    """Return a string field; empty is left out, what is no Unicode becomes a question mark."""
    return message(field, value.encode("utf-8", "replace")) if value else b""


def texts(field: int, values: Iterable[str]) -> bytes:
    """Return a repeated string field, empty strings included."""
    return b"".join(message(field, value.encode("utf-8", "replace")) for value in values)


def prefix(field: int, size: int) -> bytes:
    """Return what stands before the `size` bytes of a message field."""
    return varint(field << 3 | _LENGTH) + varint(size)


def message(field: int, data: bytes) -> bytes:
    """Return a message field, also an empty one: it is there."""
    return prefix(field, len(data)) + data


def messages(field: int, many: Iterable[bytes]) -> bytes:
    """Return a repeated message field."""
    return b"".join(message(field, one) for one in many)


def fixed64(field: int, value: int) -> bytes:
    """Return a fixed64 field; zero is left out."""
    return varint(field << 3 | _FIXED64) + struct.pack("<Q", value) if value else b""


def fixed32(field: int, value: int) -> bytes:
    """Return a fixed32 field; zero is left out."""
    return varint(field << 3 | _FIXED32) + struct.pack("<I", value) if value else b""


def packed_sfixed64(field: int, values: Iterable[int]) -> bytes:
    """Return a packed repeated sfixed64 field."""
    many = tuple(values)
    return message(field, struct.pack(f"<{len(many)}q", *many)) if many else b""


def text_map(field: int, pairs: Mapping[str, str]) -> bytes:
    """Return a map<string, string> field."""
    return messages(field, (text(1, key) + text(2, value) for key, value in pairs.items()))


# ---- reading ------------------------------------------------------------------------------------


def fields(data: bytes) -> Iterator[Field]:
    """Yield the fields of a message in their order; raise WireError where it is broken."""
    at = 0
    while at < len(data):
        number_, value, at = read_field(data, at)
        if number_ == 0:
            raise WireError(f"field number 0 before byte {at}")
        yield number_, value


def read_field(data: bytes, at: int) -> tuple[int, int | bytes, int]:
    """Return number and value of the field at `at`, and where the next one begins.

    Raises CutError where the data ends inside the field, WireError where it is broken.
    """
    tag, at = read_varint(data, at)
    kind = tag & 7
    if kind == _VARINT:
        value, at = read_varint(data, at)
        return tag >> 3, value, at
    if kind == _LENGTH:
        size, at = read_varint(data, at)
    elif kind in _FIXED_SIZES:
        size = _FIXED_SIZES[kind]
    else:
        raise WireError(f"unknown wire type {kind} before byte {at}")
    end = at + size
    if end > len(data):
        raise CutError(f"{size} bytes wanted at byte {at}, {len(data) - at} are there")
    raw = data[at:end]
    return tag >> 3, raw if kind == _LENGTH else int.from_bytes(raw, "little"), end


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at `at` and where the next byte is; raises CutError and WireError."""
    try:
        byte = data[at]
        at += 1
        if byte < 0x80:
            return byte, at
        value, shift = byte & 0x7F, 7
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK64, at
            shift += 7
            if shift > _MAX_SHIFT:
                raise WireError(f"broken varint: more than ten bytes before byte {at}")
    except IndexError as error:
        raise CutError(f"broken varint: the data ends at byte {at}") from error


def unpacked(data: bytes) -> list[int]:
    """Return the numbers of a packed repeated field; raises WireError."""
    numbers: list[int] = []
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        numbers.append(value)
    return numbers


def signed(value: int) -> int:
    """Return what an unsigned 64-bit number means as int64."""
    return value - (1 << 64) if value >> 63 else value


class Fields:
    """A whole message, for reading single fields by number; the last one of a number counts."""

    __slots__ = ("_all",)

    def __init__(self, data: bytes) -> None:
        self._all = list(fields(data))

    def number(self, field: int) -> int:
        """Return an unsigned integer, enum or bool; 0 when absent."""
        value = self._last(field)
        if isinstance(value, bytes):
            raise WireError(f"field {field} is no number")
        return value or 0

    def signed(self, field: int) -> int:
        """Return an int64; 0 when absent."""
        return signed(self.number(field))

    def blob(self, field: int) -> bytes:
        """Return bytes or an embedded message; empty when absent."""
        value = self._last(field)
        if isinstance(value, int):
            raise WireError(f"field {field} has no length")
        return value or b""

    def text(self, field: int) -> str:
        """Return a string; raise WireError when it is not UTF-8."""
        return _as_text(self.blob(field))

    def texts(self, field: int) -> tuple[str, ...]:
        """Return a repeated string."""
        return tuple(map(_as_text, self.blobs(field)))

    def blobs(self, field: int) -> tuple[bytes, ...]:
        """Return a repeated bytes or message field."""
        return tuple(value for at, value in self._all if at == field and isinstance(value, bytes))

    def numbers(self, field: int) -> tuple[int, ...]:
        """Return a repeated integer or enum, packed or not."""
        found: list[int] = []
        for at, value in self._all:
            if at == field and isinstance(value, int):
                found.append(value)
            elif at == field and isinstance(value, bytes):
                found += unpacked(value)
        return tuple(found)

    def text_map(self, field: int) -> dict[str, str]:
        """Return a map<string, string>."""
        entries = map(Fields, self.blobs(field))
        return {entry.text(1): entry.text(2) for entry in entries}

    def has(self, field: int) -> bool:
        """Say whether the field is there."""
        return self._last(field) is not None

    def one_of(self) -> Field | None:
        """Return the last field of all: the one that counts in a message with a single oneof."""
        return self._all[-1] if self._all else None

    def _last(self, field: int) -> _Value | None:
        return next((value for at, value in reversed(self._all) if at == field), None)


def _as_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"a text is no UTF-8: {error}") from error
