# SPDX-License-Identifier: Apache-2.0
"""The one reader and writer of protocol buffers, against Google's."""

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.protobuf import (
    CutError,
    WireError,
    fields,
    number,
    read_field,
    read_varint,
    signed,
    unpacked,
    varint,
)

NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1)


@given(NUMBERS)
def test_a_varint_reads_as_it_was_written(value):
    data = varint(value)
    assert read_varint(data, 0) == (value % (1 << 64), len(data))
    assert signed(value % (1 << 64)) == (value if value < 1 << 63 else value - (1 << 64))


@given(st.integers(0, (1 << 64) - 1))
def test_a_number_is_written_as_google_writes_it(value):
    option = descriptor_pb2.UninterpretedOption(positive_int_value=value)
    theirs = option.SerializeToString() if value else b""
    assert number(4, value) == theirs


@given(NUMBERS, st.data())
def test_a_cut_varint_is_told_from_a_broken_one(value, choose):
    data = varint(value)
    with pytest.raises(CutError):
        read_varint(data[: choose.draw(st.integers(0, len(data) - 1))], 0)


@pytest.mark.parametrize("size", [10, 11, 500])
def test_a_varint_of_more_than_ten_bytes_is_broken(size):
    with pytest.raises(WireError, match="more than ten bytes") as caught:
        read_varint(b"\xff" * size + b"\x01", 0)
    assert not isinstance(caught.value, CutError)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_a_typed_error(data):
    try:
        for _ in fields(data):
            pass
        unpacked(data)
    except WireError:
        pass


def test_a_field_says_where_the_next_one_begins():
    data = number(1, 300) + b"\x12\x02hi" + b"\x1d\x01\x00\x00\x00" + b"\x21" + b"\x02" + b"\0" * 7
    at, found = 0, []
    while at < len(data):
        field, value, at = read_field(data, at)
        found.append((field, value))
    assert found == [(1, 300), (2, b"hi"), (3, 1), (4, 2)]


def test_field_number_zero_is_no_message_of_ours():
    with pytest.raises(WireError, match="field number 0"):
        list(fields(b"\x00\x00"))
