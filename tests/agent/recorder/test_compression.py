# SPDX-License-Identifier: Apache-2.0
"""A row comes back bit by bit, or the damage is told."""

import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.recorder import compression
from fodc_agent.recorder.compression import CorruptRowError
from fodc_protocol.metrics.samples import ABSENT, is_absent

cells = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
rows = st.lists(
    cells | st.sampled_from([ABSENT, float("nan"), 0.0, -0.0, float("inf"), 1.0]), max_size=40
).map(lambda values: array("d", values))


@given(rows)
def test_row_comes_back_with_every_bit(row):
    assert compression.decode(compression.encode(row)).tobytes() == row.tobytes()


@given(rows, rows)
def test_row_comes_back_against_a_reference_of_any_width(row, reference):
    blob = compression.encode(row, reference)
    assert compression.decode(blob, reference).tobytes() == row.tobytes()


def test_absent_mark_and_real_nan_stay_different():
    row = compression.decode(compression.encode(array("d", [ABSENT, float("nan")])))
    assert [is_absent(value) for value in row] == [True, False]


def test_unchanged_row_costs_next_to_nothing():
    row = array("d", [n * 1.1 for n in range(3000)])
    assert len(compression.encode(row, row)) < 150


@pytest.mark.parametrize("damage", [b"", b"\xff\xff\xff", b"no deflate stream"])
def test_damaged_bytes_are_told(damage):
    with pytest.raises(CorruptRowError, match="row of"):
        compression.decode(damage)


def test_cut_bytes_are_told():
    blob = compression.encode(array("d", range(100)))
    with pytest.raises(CorruptRowError, match="cut"):
        compression.decode(blob[:-5])


def test_row_larger_than_allowed_is_refused():
    blob = compression.encode(array("d", bytes(8 * 1000)))
    with pytest.raises(CorruptRowError, match="holds over 800 bytes"):
        compression.decode(blob, max_cells=100)


@given(st.binary(max_size=60))
def test_noise_is_a_row_or_a_corrupt_row(noise):
    try:
        compression.decode(noise, array("d", [1.0]), max_cells=1000)
    except CorruptRowError:
        return
