# SPDX-License-Identifier: Apache-2.0
"""Huffman codes and the static table against those of the hpack library."""

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.http2.frames import BrokenConnectionError
from fodc_protocol.http2.huffman import decoded
from fodc_protocol.http2.tables import STATIC


def outcome(decode, coded):
    try:
        return bytes(decode(coded))
    except (HPACKDecodingError, BrokenConnectionError):
        return "refused"


def code_of(text: bytes) -> bytes:
    return HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)


@given(st.binary(max_size=120))
def test_what_was_coded_is_read_back(text):
    assert decoded(code_of(text)) == text


@given(st.binary(max_size=80), st.binary(max_size=3))
def test_any_bytes_are_read_or_refused_as_by_others(text, behind):
    assert outcome(decoded, text) == outcome(decode_huffman, text)
    damaged = code_of(text) + behind
    assert outcome(decoded, damaged) == outcome(decode_huffman, damaged)


def test_each_byte_has_its_code():
    assert decoded(code_of(bytes(range(256)))) == bytes(range(256))


@pytest.mark.parametrize(
    ("coded", "read"),
    [
        (bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff"), b"www.example.com"),  # RFC 7541, C.4.1
        (b"", b""),
        (b"\xff\xff\xff\xff", "refused"),  # the end of a string
        (b"\xff", "refused"),  # eight bits of padding
        (b"\x00", "refused"),  # padding of zeros
    ],
)
def test_known_codes(coded, read):
    assert outcome(decoded, coded) == read


def test_the_static_table_is_that_of_others():
    assert STATIC == HeaderTable.STATIC_TABLE
