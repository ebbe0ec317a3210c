# SPDX-License-Identifier: Apache-2.0
"""Times and durations, read and written as the existing Go programs do."""

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.errors import Reason
from fodc_protocol.times import (
    TimeError,
    format_rfc3339,
    format_rfc3339_ms,
    format_rfc3339_ns,
    parse_duration_ns,
    parse_duration_s,
    parse_rfc3339,
    parse_rfc3339_ms,
)

LAYOUT = "2006-01-02T15:04:05Z07:00"


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-21T07:05:59Z", 1795244759 * 10**9),
        ("2026-11-21T07:05:59.123456789Z", 1795244759123456789),
        ("2026-11-21T07:05:59.1234567899999Z", 1795244759123456789),
        ("2026-11-21T07:05:59,5Z", 1795244759500000000),
        ("2026-11-21T08:05:59+01:00", 1795244759 * 10**9),
        ("2026-11-21T01:35:59-05:30", 1795244759 * 10**9),
        ("2026-11-21T7:05:59Z", 1795244759 * 10**9),
        ("2024-02-29T00:00:00Z", 1709164800 * 10**9),
    ],
)
def test_time_is_read_with_fraction_and_offset(text, nanos):
    assert parse_rfc3339(text) == nanos


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("yesterday", f'as "{LAYOUT}": cannot parse "yesterday" as "2006"'),
        ("12345", f'as "{LAYOUT}": cannot parse "5" as "-"'),
        (
            "2026-11-21T07:05:59 00:00",
            f'as "{LAYOUT}": cannot parse " 00:00" as "Z07:00"',
        ),
        ("", f'as "{LAYOUT}": cannot parse "" as "2006"'),
        ("2026-11-21", f'as "{LAYOUT}": cannot parse "" as "T"'),
        ("2026-11-21T07:05:59", f'as "{LAYOUT}": cannot parse "" as "Z07:00"'),
        ("2026-13-01T00:00:00Z", "month out of range"),
        ("2026-02-29T00:00:00Z", "day out of range"),
        ("2026-02-01T24:00:00Z", "hour out of range"),
    ],
)
def test_bad_time_is_refused_in_the_words_of_go(text, problem):
    with pytest.raises(TimeError) as caught:
        parse_rfc3339(text)
    joint = " " if problem.startswith("as ") else ": "
    assert caught.value.message == f'parsing time "{text}"{joint}{problem}'
    assert caught.value.reason is Reason.BAD_REQUEST


def test_text_behind_a_time_is_refused():
    with pytest.raises(TimeError, match='extra text: "x"'):
        parse_rfc3339("2026-11-21T07:05:59Zx")


def test_milliseconds_are_cut():
    assert parse_rfc3339_ms("2026-11-21T07:05:59.9999Z") == 1795244759999


def test_time_is_written_without_trailing_zeros():
    assert format_rfc3339(1795244759) == "2026-11-21T07:05:59Z"
    assert format_rfc3339(1795244759, 500_000_000) == "2026-11-21T07:05:59.5Z"
    assert format_rfc3339_ms(1795244759001) == "2026-11-21T07:05:59.001Z"


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9 + 999_999_999))
def test_time_round_trips_and_agrees_with_datetime(nanos):
    text = format_rfc3339_ns(nanos)
    assert parse_rfc3339(text) == nanos
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=nanos // 10**9)
    assert text[:19] == moment.isoformat()[:19]


@given(st.text(alphabet="0123456789-:TZ+., ٣", max_size=40))
def test_any_text_is_a_time_or_a_typed_error(text):
    with contextlib.suppress(TimeError):
        assert isinstance(parse_rfc3339(text), int)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("10s", 10 * 10**9),
        ("1m30s", 90 * 10**9),
        ("500ms", 5 * 10**8),
        ("0", 0),
        ("-1.5h", -5400 * 10**9),
        ("+2us", 2000),
        ("1h0m0.5s", 3600 * 10**9 + 5 * 10**8),
        (".5s", 5 * 10**8),
        ("3µs", 3000),
    ],
)
def test_duration_is_read_in_go_syntax(text, nanos):
    assert parse_duration_ns(text) == nanos


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "1d", "1 s", "10s ", "--1s", "1e3s", "1_0s", "٣s", "9" * 20 + "h", "1" * 999],
)
def test_bad_duration_is_a_typed_error(text):
    with pytest.raises(TimeError):
        parse_duration_ns(text)


def test_seconds_are_read():
    assert parse_duration_s("1m0.25s") == 60.25
