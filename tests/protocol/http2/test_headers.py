# SPDX-License-Identifier: Apache-2.0
"""Header blocks against the encoder of the hpack library, and what a peer's table may cost."""

import contextlib

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.http2.frames import BrokenConnectionError
from fodc_protocol.http2.headers import HeaderReader, literal

NAMES = st.sampled_from([b"k", b"te", b"agent_id", b"authorization", b"x" * 70, b":path"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=200)), max_size=8)


@given(st.lists(FIELDS, max_size=6), st.booleans(), st.integers(0, 6))
def test_blocks_read_as_they_were_meant(blocks, is_coded, shrinks_at):
    encoder, reader = hpack.Encoder(), HeaderReader()
    for place, fields in enumerate(blocks):
        if place == shrinks_at:
            encoder.header_table_size = 0
            reader.forbid_table()
        assert reader.read(encoder.encode(fields, huffman=is_coded)) == fields


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_fields_or_the_one_error(first, second):
    reader = HeaderReader()
    with contextlib.suppress(BrokenConnectionError):
        reader.read(first)
        reader.read(second)


@given(st.binary(min_size=1, max_size=400), st.binary(max_size=400))
def test_what_we_write_is_read_by_others(name, value):
    assert hpack.Decoder().decode(literal(name, value), raw=True) == [(name, value)]


def test_a_table_is_dropped_when_the_peer_has_none_any_more():
    reader = HeaderReader()
    reader.read(b"\x40\x01k\x01v")
    assert reader.read(b"\xbe") == [(b"k", b"v")]
    reader.read(b"\x20")

    with pytest.raises(BrokenConnectionError, match="no entry 62"):
        reader.read(b"\xbe")
    assert reader.read(b"\x40\x01k\x01v") == [(b"k", b"v")]
    with pytest.raises(BrokenConnectionError, match="no entry 62"):
        reader.read(b"\xbe")


def test_a_table_is_no_larger_than_was_allowed():
    reader = HeaderReader()
    reader.read(b"\x3f\xe1\x1f")  # 4096
    with pytest.raises(BrokenConnectionError, match="larger than is allowed"):
        reader.read(b"\x3f\xe2\x1f")
    reader.forbid_table()
    reader.read(b"\x20")
    with pytest.raises(BrokenConnectionError, match="larger than is allowed"):
        reader.read(b"\x21")


@pytest.mark.parametrize(
    "block", [b"\x00\x05ab", b"\x00\x01a", b"\x7f", b"\x04", b"\x00\x81\x00\x00"]
)
def test_a_block_that_is_cut_off_or_miscoded_is_an_error(block):
    with pytest.raises(BrokenConnectionError):
        HeaderReader().read(block)


def test_secrets_are_not_kept_for_other_connections():
    from fodc_protocol.http2 import headers  # noqa: PLC0415 - its cache is what is looked at

    encoder = hpack.Encoder()
    headers._decoded_common.cache_clear()
    block = encoder.encode([hpack.NeverIndexedHeaderTuple(b"authorization", b"Bearer a-secret")])

    assert HeaderReader().read(block) == [(b"authorization", b"Bearer a-secret")]
    assert headers._decoded_common.cache_info().currsize == 0
