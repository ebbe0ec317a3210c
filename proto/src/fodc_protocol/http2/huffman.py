# SPDX-License-Identifier: Apache-2.0
"""Reads Huffman-coded strings (RFC 7541, section 5.2 and appendix B).

The one idea: the code is canonical, so the symbols in their order and how many there are of each
length are the whole table. One look-up by bisection gives a symbol, which takes about as long as
hpack's 2 MiB of transitions.
"""

from bisect import bisect_right
from itertools import accumulate
from typing import Final

from fodc_protocol.http2.frames import BrokenConnectionError, Code

_SYMBOLS: Final = (
    b"012aceiost %-./3456789=A_bdfghlmnpru:BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz&*,;XZ!\"()?'+|#>"
    b"\x00$@[]~^}<`{\\\xc3\xd0\x80\x82\x83\xa2\xb8\xc2\xe0\xe2\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1"
    b"\xd8\xd9\xe3\xe5\xe6\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9"
    b"\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98"
    b"\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef\t\x8e\x90\x91\x94\x9f"
    b"\xab\xce\xd7\xe1\xec\xed\xc7\xcf\xea\xeb\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0"
    b"\xf2\xf3\xff\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"
    b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b"
    b"\x1c\x1d\x1e\x1f\x7f\xdc\xf9\n\r\x16"
)
"""All bytes, those with short codes first; behind them comes the end of a string."""
_COUNTS: Final = (
    *((5, 10), (6, 26), (7, 32), (8, 6), (10, 5), (11, 3), (12, 2), (13, 6), (14, 2), (15, 3)),
    *((19, 3), (20, 8), (21, 13), (22, 26), (23, 29), (24, 12), (25, 4), (26, 15), (27, 19)),
    *((28, 29), (30, 4)),
)
"""How many symbols have a code of so many bits."""
_LENGTHS: Final = tuple(length for length, _ in _COUNTS)
_LONGEST: Final = 30
_ONES: Final = (1 << _LONGEST) - 1
# Where the codes of each length end, on a scale of codes that are filled up to the longest.
_ENDS: Final = tuple(accumulate(count << _LONGEST - length for length, count in _COUNTS))
# What is to be added to a code of each length to get the place of its symbol.
_OFFSETS: Final = tuple(
    place - ((end >> _LONGEST - length) - count)
    for end, place, (length, count) in zip(
        _ENDS, accumulate((count for _, count in _COUNTS[:-1]), initial=0), _COUNTS, strict=True
    )
)
_PADDING_BITS: Final = 7
_STEP_BYTES: Final = 32
"""How much is read at a time, so that long strings take no longer for each of their bytes."""


def decoded(coded: bytes) -> bytes:
    """Return the string; raises BrokenConnectionError for what is no whole code."""
    out = bytearray()
    value = bits = 0
    for at in range(0, len(coded), _STEP_BYTES):
        piece = coded[at : at + _STEP_BYTES]
        value = (value & (1 << bits) - 1) << 8 * len(piece) | int.from_bytes(piece, "big")
        bits = _read(out, value, bits + 8 * len(piece), _LONGEST)
    left = _read(out, value << _LONGEST | _ONES, bits + _LONGEST, _LONGEST + 1) - _LONGEST
    rest = value & (1 << max(left, 0)) - 1
    if not 0 <= left <= _PADDING_BITS or rest + 1 != 1 << left:
        raise _wrong("a Huffman code ends in the middle of a symbol")
    return bytes(out)


def _read(out: bytearray, value: int, bits: int, least_bits: int) -> int:
    """Read symbols off the last `bits` of a value while `least_bits` are left; return the rest."""
    while bits >= least_bits:
        code = value >> bits - _LONGEST & _ONES
        row = bisect_right(_ENDS, code)
        length = _LENGTHS[row]
        place = (code >> _LONGEST - length) + _OFFSETS[row]
        if place == len(_SYMBOLS):
            return _end(bits, least_bits)
        out.append(_SYMBOLS[place])
        bits -= length
    return bits


def _end(bits: int, least_bits: int) -> int:
    """Take ones for padding where they may be; raises BrokenConnectionError elsewhere."""
    if least_bits > _LONGEST and bits - _LONGEST <= _PADDING_BITS:
        return bits
    raise _wrong("the end of a string stands in a Huffman code")


def _wrong(problem: str) -> BrokenConnectionError:
    return BrokenConnectionError(Code.COMPRESSION_ERROR, problem)
