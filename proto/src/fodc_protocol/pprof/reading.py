# SPDX-License-Identifier: Apache-2.0
"""Bytes of a profile to the fields of its outermost message, within bounds of bytes and of work.

The one idea: what a node sends is unpacked piece by piece, and every field costs one unit of a
budget, because a few kilobytes of gzip can hold millions of fields of two bytes.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from fodc_protocol.errors import CorruptProfileError, ProfileTooLargeError
from fodc_protocol.protobuf import CutError, WireError, read_field

GZIP_MAGIC: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 1 << 16
_LONGEST_FIELD_BYTES: Final = 4 << 20
_MEMBER_COST: Final = 50
"""What the start of another gzip member costs, in fields."""


class Budget:
    """How many fields and numbers a profile may have."""

    __slots__ = ("_left", "_total")

    def __init__(self, total: int) -> None:
        self._left = self._total = total

    def spend(self, count: int) -> None:
        """Count fields or numbers; raises ProfileTooLargeError when there are too many."""
        self._left -= count
        if self._left < 0:
            raise ProfileTooLargeError(
                f"profile has more than the {self._total} fields that are looked into"
            )


def start_of(data: bytes) -> str:
    """Return the beginning of something that is no profile, as far as it can be shown."""
    if not data:
        return "no bytes at all"
    start = data[:60]
    if not start.isascii() or not start.decode().replace("\n", " ").isprintable():
        return "unknown content"
    return f"starts with {start.decode()!r}"


def top_fields(data: bytes, max_bytes: int, budget: Budget) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of the fields of the outermost message of a profile.

    Raises CorruptProfileError, and ProfileTooLargeError for what is beyond the bounds.
    """
    buffer, at = b"", 0
    for piece in _pieces(data, max_bytes, budget):
        buffer = buffer[at:] + piece
        at = 0
        while at < len(buffer):
            try:
                number, value, at = read_field(buffer, at)
            except CutError:
                break
            except WireError as error:
                raise CorruptProfileError(f"profile is broken: {error}") from error
            budget.spend(1)
            yield number, value
        if len(buffer) - at > max(_LONGEST_FIELD_BYTES, len(piece)):
            raise ProfileTooLargeError(f"profile has a field of over {_LONGEST_FIELD_BYTES} bytes")
    if at < len(buffer):
        raise CorruptProfileError("profile ends in the middle of a field")


def _pieces(data: bytes, max_bytes: int, budget: Budget) -> Iterator[bytes]:
    """Yield the plain bytes; unpack gzip, also of several members, never beyond `max_bytes`."""
    if data[:2] != GZIP_MAGIC:
        yield data
        return
    rest, total = data, 0
    while rest:
        unpack = zlib.decompressobj(wbits=31)
        budget.spend(_MEMBER_COST)
        while not unpack.eof:
            try:
                piece = unpack.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                raise CorruptProfileError(f"gzip of the profile is damaged: {error}") from error
            rest = unpack.unconsumed_tail
            if not piece and not rest and not unpack.eof:
                raise CorruptProfileError(
                    f"gzip of the profile ends too early, after {total} bytes"
                )
            total += len(piece)
            if total > max_bytes:
                raise ProfileTooLargeError(f"profile unpacks to more than {max_bytes} bytes")
            yield piece
        rest = unpack.unused_data
        if rest and rest[:2] != GZIP_MAGIC:
            raise CorruptProfileError("there are bytes behind the end of the profile's gzip")
