# SPDX-License-Identifier: Apache-2.0
"""Reads Huffman-coded header strings (RFC 7541, 5.2) with a small table in place of hpack's.

The one idea: hpack decodes four bits at a time by a table of 4,096 tuples, which is 2 MiB of a
30 MiB budget; an agent reads a few short headers for each stream, so one bit at a time will do.
"""

import sys
from functools import cache
from types import ModuleType
from typing import Final

_REPLACED: Final = "hpack.huffman_table"
_END_OF_STRING: Final = 256
_LONGEST_PADDING_BITS: Final = 7


def take_the_place_of_the_large_table() -> None:
    """Make hpack use `decode_huffman` below; to be called before anything imports hpack."""
    compact = ModuleType(_REPLACED)
    compact.decode_huffman = decode_huffman  # type: ignore[attr-defined]  # what hpack looks for
    sys.modules.setdefault(_REPLACED, compact)


def decode_huffman(coded: bytes | None) -> bytes:
    """Return the string; raises HPACKDecodingError for what is no whole code, as hpack does."""
    if not coded:
        return b""
    symbols = _symbols()
    found = bytearray()
    code = 1
    for bit in f"{int.from_bytes(coded):0{8 * len(coded)}b}":
        code = code << 1 | (bit == "1")
        symbol = symbols.get(code)
        if symbol is not None:
            found.append(_no_end(symbol))
            code = 1
    _check_padding(code)
    return bytes(found)


@cache
def _symbols() -> dict[int, int]:
    """Return symbols by code, in front of which a one marks where it begins."""
    from hpack.huffman_constants import (  # noqa: PLC0415 - hpack imports what stands in above
        REQUEST_CODES,
        REQUEST_CODES_LENGTH,
    )

    pairs = zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
    return {1 << length | code: symbol for symbol, (code, length) in enumerate(pairs)}


def _no_end(symbol: int) -> int:
    if symbol == _END_OF_STRING:
        raise _wrong("the end of a string stands in a Huffman code")
    return symbol


def _check_padding(code: int) -> None:
    bits = code.bit_length() - 1
    if bits > _LONGEST_PADDING_BITS or code != (1 << bits + 1) - 1:
        raise _wrong("a Huffman code ends in the middle of a symbol")


def _wrong(problem: str) -> Exception:
    from hpack.exceptions import HPACKDecodingError  # noqa: PLC0415 - as above

    return HPACKDecodingError(problem)
