# SPDX-License-Identifier: Apache-2.0
"""Protocol buffers by hand: fields to bytes and bytes to fields, nothing else. Pure.

The one idea: the protobuf runtime costs 3.6 MiB of a 30 MiB budget, and what it does for our few
messages is a page of code. The codecs that use this are tested against the generated classes, so
the .proto files stay the contract.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_MASK64: Final = (1 << 64) - 1
_MAX_SHIFT: Final = 63

_Value: TypeAlias = int | bytes
Field: TypeAlias = tuple[int, _Value]
"""Number of a field and its value: bytes for everything with a length, else an integer."""


class WireError(ValueError):
    """The bytes are no protocol buffer message."""


# ---- writing ------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """Return an integer as a varint; a negative one takes ten bytes, as int64 does."""
    if 0 <= value < 0x80:
        return bytes((value,))
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


def message(field: int, data: bytes) -> bytes:
    """Return a message field, also an empty one: it is there."""
    return varint(field << 3 | _LENGTH) + varint(len(data)) + data


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
        tag, at = _read_varint(data, at)
        number_, kind = tag >> 3, tag & 7
        if number_ == 0:
            raise WireError(f"field number 0 at byte {at}")
        value: _Value
        match kind:
            case 0:
                value, at = _read_varint(data, at)
            case 1:
                value, at = _read_fixed(data, at, 8)
            case 2:
                size, at = _read_varint(data, at)
                value, at = _read_bytes(data, at, size)
            case 5:
                value, at = _read_fixed(data, at, 4)
            case _:
                raise WireError(f"wire type {kind} at byte {at}")
        yield number_, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > _MAX_SHIFT:
            raise WireError(f"broken varint at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, at
        shift += 7


def _read_bytes(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    end = at + size
    if end > len(data):
        raise WireError(f"{size} bytes wanted at byte {at}, {len(data) - at} are there")
    return data[at:end], end


def _read_fixed(data: bytes, at: int, size: int) -> tuple[int, int]:
    raw, end = _read_bytes(data, at, size)
    return int.from_bytes(raw, "little"), end


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
        value = self.number(field)
        return value - (1 << 64) if value >> 63 else value

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
                found += _unpacked(value)
        return tuple(found)

    def fixed64s(self, field: int) -> tuple[int, ...]:
        """Return a repeated fixed64, packed or not."""
        found: list[int] = []
        for at, value in self._all:
            if at == field and isinstance(value, int):
                found.append(value)
            elif at == field and isinstance(value, bytes):
                if len(value) % 8:
                    raise WireError(f"field {field} is no list of eight-byte numbers")
                found += struct.unpack(f"<{len(value) // 8}Q", value)
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


def _unpacked(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _read_varint(data, at)
        yield value


def _as_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"a text is no UTF-8: {error}") from error
