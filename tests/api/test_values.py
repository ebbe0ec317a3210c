# SPDX-License-Identifier: Apache-2.0
"""Times and ids of the API."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.values import Time, is_request_id, moment, time_of, time_or_none
from fodc_protocol.errors import BadRequestError


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_000, "1970-01-01T00:00:01.000Z"),
        (1_795_943_303_120, "2026-11-29T09:08:23.120Z"),
        (-5, "1970-01-01T00:00:00.000Z"),
        (10**30, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_time_has_one_form(time_ms, text):
    """Defect P14: /cluster wrote milliseconds always, other routes left zeros out."""
    assert time_of(time_ms) == text


@given(st.integers())
def test_every_time_fits_its_type_and_is_read_back(time_ms):
    text = time_of(time_ms)

    assert msgspec.convert(text, Time) == text
    assert time_of(int(moment(text).timestamp() * 1000 + 0.5)) == text


def test_what_has_not_happened_has_no_time():
    assert time_or_none(None) is None
    assert moment("1970-01-01T00:00:01.500Z") == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)


def test_text_that_is_no_time_is_refused():
    with pytest.raises(BadRequestError):
        moment("yesterday")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("a", True),
        ("incident-7", True),
        ("", False),
        ("A", False),
        ("-a", False),
        ("a\n", False),
        ("a" * 64, False),
    ],
)
def test_request_id_is_a_dns_label(text, fits):
    assert is_request_id(text) is fits
