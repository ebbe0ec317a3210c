# SPDX-License-Identifier: Apache-2.0
"""Header blocks (RFC 7541): read with a bounded table, written without any.

The one idea: our settings leave a peer no table, so that a block means the same on every
connection and nothing is kept for it. What a peer inserts before it has read them costs a table of
4 KiB, which is dropped as soon as the peer says that it has none any more.
"""

from functools import lru_cache
from typing import Final, TypeAlias

from fodc_protocol.http2.frames import BrokenConnectionError, Code
from fodc_protocol.http2.huffman import decoded
from fodc_protocol.http2.tables import FIELD_BYTES, STATIC, Field, Table

Fields: TypeAlias = list[Field]

MOST_HEADER_BYTES: Final = 16 * 1024
"""Of a block as it is sent, and of its fields with 32 bytes for each (MAX_HEADER_LIST_SIZE)."""
_FIRST_TABLE_BYTES: Final = 4096
_MOST_UNFOLDED_BYTES: Final = 64 * 1024
"""What entries of a table may become on a connection: an honest peer has none once it has read our
settings, and another one makes kilobytes of a byte."""
_MOST_NUMBER_BYTES: Final = 4
_COMMON_BYTES: Final = 64
_TRUNCATED: Final = "a header block ends in the midst of a field"


def literal(name: bytes, value: bytes, *, is_secret: bool = False) -> bytes:
    """Return a field that neither uses nor makes an entry of a table; nobody may keep a secret."""
    return (b"\x10" if is_secret else b"\x00") + _text(name) + _text(value)


def _text(value: bytes) -> bytes:
    return _number(len(value)) + value


def _number(value: int) -> bytes:
    """Return an integer with a prefix of seven bits."""
    if value < 127:
        return bytes((value,))
    rest, out = value - 127, bytearray(b"\x7f")
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _broken(message: str) -> BrokenConnectionError:
    return BrokenConnectionError(Code.COMPRESSION_ERROR, message)


_decoded_common: Final = lru_cache(512)(decoded)


class HeaderReader:
    """Reads the blocks of one connection in their order."""

    __slots__ = ("_allowed_bytes", "_at", "_block", "_table", "_table_bytes", "_unfolded_bytes")

    def __init__(self) -> None:
        self._allowed_bytes = _FIRST_TABLE_BYTES
        self._table_bytes = _FIRST_TABLE_BYTES
        self._table: Table | None = None
        self._block = b""
        self._at = 0
        self._unfolded_bytes = 0

    def forbid_table(self) -> None:
        """Allow no table from now on: the peer has taken note of our settings."""
        self._allowed_bytes = 0

    def read(self, block: bytes) -> Fields:
        """Return the fields of a block; raises BrokenConnectionError."""
        self._block, self._at = block, 0
        self._sizes()
        fields, size_bytes, end = [], 0, len(block)
        while self._at < end:
            field = self._field(block[self._at])
            size_bytes += len(field[0]) + len(field[1]) + FIELD_BYTES
            if size_bytes > MOST_HEADER_BYTES:
                message = f"headers of more than {MOST_HEADER_BYTES} bytes"
                raise BrokenConnectionError(Code.ENHANCE_YOUR_CALM, message)
            fields.append(field)
        self._block = b""
        return fields

    def _sizes(self) -> None:
        """Take what a block begins with: how large the peer's table is from now on."""
        while self._block[self._at : self._at + 1] and self._block[self._at] & 0xE0 == 0x20:
            size_bytes = self._integer(5)
            if size_bytes > self._allowed_bytes:
                raise _broken("a table larger than is allowed")
            self._table_bytes = size_bytes
            if self._table is not None:
                self._table.resize(size_bytes)
            if size_bytes == 0:
                self._table = None

    def _field(self, first: int) -> Field:
        if first & 0x80:
            if 0x80 < first <= 0x80 + len(STATIC):
                self._at += 1
                return STATIC[(first & 0x7F) - 1]
            return self._entry(self._integer(7))
        if first & 0x40:
            field = self._literal(6, is_secret=False)
            self._insert(field)
            return field
        if first & 0x20:
            raise _broken("the size of a table behind a field")
        return self._literal(4, is_secret=bool(first & 0x10))

    def _entry(self, index: int) -> Field:
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        added = self._table.get(index - len(STATIC) - 1) if index and self._table else None
        if added is None:
            raise _broken(f"no entry {index} in a table")
        self._unfolded_bytes += len(added[0]) + len(added[1])
        if self._unfolded_bytes > _MOST_UNFOLDED_BYTES:
            message = "headers out of a table that the settings forbid"
            raise BrokenConnectionError(Code.ENHANCE_YOUR_CALM, message)
        return added

    def _insert(self, field: Field) -> None:
        if self._table_bytes == 0:
            return
        if self._table is None:
            self._table = Table(self._table_bytes)
        self._table.add(field)

    def _literal(self, bits: int, *, is_secret: bool) -> Field:
        if self._block[self._at] & (1 << bits) - 1:
            name = self._entry(self._integer(bits))[0]
        else:
            self._at += 1
            name = self._string(is_secret=False)
        return name, self._string(is_secret=is_secret)

    def _string(self, *, is_secret: bool) -> bytes:
        """Return a string; short ones that are no secret are decoded once for all connections."""
        if self._at >= len(self._block):
            raise _broken(_TRUNCATED)
        first = self._block[self._at]
        is_coded, size = first & 0x80, first & 0x7F
        if size < 0x7F:
            start = self._at + 1
        else:
            size, start = self._integer(7), self._at
        self._at = end = start + size
        if end > len(self._block):
            raise _broken(_TRUNCATED)
        value = self._block[start:end]
        if not is_coded:
            return value
        return decoded(value) if is_secret or size > _COMMON_BYTES else _decoded_common(value)

    def _integer(self, bits: int) -> int:
        """Return an integer with a prefix of so many bits."""
        block, at = self._block, self._at
        most = (1 << bits) - 1
        value = block[at] & most
        self._at = at + 1
        if value < most:
            return value
        for place in range(_MOST_NUMBER_BYTES):
            if self._at >= len(block):
                raise _broken(_TRUNCATED)
            byte = block[self._at]
            self._at += 1
            value += (byte & 127) << (7 * place)
            if byte < 128:
                return value
        raise _broken("an integer that is too large")
