# SPDX-License-Identifier: Apache-2.0
"""Pure rendering and reading: sizes, spans, tables, progress rows, foreign JSON."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.requests import Request
from fodc_client import formats, progress
from fodc_client.tables import Column, Table, drawing, fitted, least_width, lines

TABLE = Table(
    (
        Column("NODE"),
        Column("SIZE", right=True, rank=1),
        Column("PHASE", toned=True),
        Column("WHY", wraps=True, rank=2),
    ),
    (
        ("data-0", "1 KiB", "Online", "-"),
        ("data-12", "20 KiB", "Offline", "no heartbeat from this node for a very long time"),
    ),
    "ROLE_DATA",
)  # fmt: skip

PLAIN = [
    "ROLE_DATA",
    "NODE       SIZE  PHASE    WHY",
    "data-0    1 KiB  Online   -",
    "data-12  20 KiB  Offline  no heartbeat from this node for a very long time",
]

DRAWN = [
    "ROLE_DATA",
    "NODE       SIZE  PHASE    WHY",
    "data-0    1 KiB  Online   -",
    "data-12  20 KiB  Offline  no heartbeat from this",
    "                          node for a very long",
    "                          time",
]


def test_plain_table_is_as_wide_as_it_needs():
    assert lines(TABLE) == PLAIN


def test_drawn_table_folds_prose_at_the_width_of_the_terminal():
    assert drawing(TABLE, 50, colored=False) == DRAWN
    assert least_width(TABLE) == 50


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(50, ()), (49, ("WHY",)), (24, ("WHY",)), (23, ("SIZE", "WHY")), (3, ("SIZE", "WHY"))],
)
def test_columns_of_least_importance_are_left_out_first_and_named(width, left_out):
    """C1: columns vanished in silence."""
    assert fitted(TABLE, width).left_out == left_out


def test_what_is_never_left_out_is_never_cut():
    assert drawing(fitted(TABLE, 3).table, 3, colored=False)[2] == "data-0   Online"


def test_state_is_colored_and_keeps_its_place():
    colored = drawing(TABLE, 50, colored=True)

    assert colored[2] == "data-0    1 KiB  \x1b[32mOnline\x1b[0m   -"


cells = st.text(max_size=30)


@given(st.lists(st.tuples(cells, cells, cells), max_size=4), st.integers(1, 120))
def test_table_never_leaves_the_width_where_its_columns_fit(rows, width):
    columns = (Column("A", rank=1), Column("BBB", wraps=True, rank=2), Column("C"))
    kept = fitted(Table(columns, tuple(rows)), width)

    drawn = drawing(kept.table, width, colored=False)

    if least_width(kept.table) <= width:
        assert all(len(line) <= width for line in drawn)
    assert [column.heading for column in kept.table.columns if column.heading not in drawn[0]] == []


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=3))
def test_table_never_lets_a_control_character_through(rows):
    columns = (Column("A"), Column("B", wraps=True), Column("C", toned=True))

    for line in (
        *lines(Table(columns, tuple(rows))),
        *drawing(Table(columns, tuple(rows)), 60, colored=False),
    ):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (24923, "24.3 KiB"),
        (1 << 20, "1 MiB"), (500 << 20, "500 MiB"), (3 << 60, "3072 PiB"),
    ],
)  # fmt: skip
def test_size_has_a_binary_unit(count, text):
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (0, "0s"), (0.44, "0.4s"), (9.99, "10s"), (12.4, "12s"), (59.6, "1m"),
        (200, "3m20s"), (7200, "2h"), (7500, "2h5m"), (90000, "1d1h"), (-5, "-5s"),
    ],
)  # fmt: skip
def test_span_has_at_most_two_units(seconds, text):
    assert formats.span(seconds) == text


def test_quantity_follows_the_unit():
    assert formats.quantity(1536, "bytes") == "1.5 KiB"
    assert formats.quantity(440_000_000, "nanoseconds") == "440 ms"
    assert formats.quantity(0.25, "seconds") == "250 ms"
    assert formats.quantity(1234567) == "1.235M"
    assert formats.quantity(float("nan"), "bytes") == "nan"


def test_times_of_the_api_are_shown_to_the_second():
    assert formats.stamp("2026-11-21T07:06:39.123Z") == "20261121T070639Z"
    assert formats.moment("2026-11-21T07:06:39.123Z") == "2026-11-21 07:06:39"
    assert formats.moment(None) == "-"
    assert formats.passed_s("2026-11-21T07:06:39.000Z", "2026-11-21T07:07:00.500Z") == 21.5


@given(st.text())
def test_printable_never_lets_a_control_character_through(text):
    assert formats.printable(text).isprintable()


def request(*results, phase="Running"):
    """A request of one profile on one node, as the proxy tells it."""
    times = {"created_at": "2026-11-21T07:06:38.000Z", "started_at": None, "finished_at": None}
    target = {
        "node_id": "data-0", "namespace": None, "agent_id": "a", "role": "ROLE_DATA",
        "phase": phase, "reason": "", "message": "", "attempts": 1, "started_at": None,
        "finished_at": None, "results": list(results),
    }  # fmt: skip
    kinds = ("targets", "pending", "running", "succeeded", "failed", "skipped", "cancelled")
    document = {
        "id": "req-1", "revision": 1, "phase": "Running", "reason": "", "message": "", **times,
        "target": {}, "captures": [{"profile": "cpu"}], "execution": {}, "purpose": "",
        "cancel": None, "counts": dict.fromkeys(kinds, 0), "progress": "0/1", "targets": [target],
    }  # fmt: skip
    return msgspec.convert(document, Request)


def result(profile, duration_s):
    return {
        "capture": profile, "profile": profile, "phase": "Running", "reason": "", "message": "",
        "duration_seconds": duration_s, "elapsed_seconds": 2.0, "received_bytes": 0,
        "size_bytes": None, "sha256": None, "samples": None, "format": None, "artifact_id": None,
        "download_path": None, "empty": False, "truncated": False, "warnings": [],
    }  # fmt: skip


def test_progress_row_knows_the_share_of_a_timed_capture():
    (row,) = progress.rows_of(request(result("cpu", 5.0)))

    assert (row.share, row.elapsed_s) == (0.4, 2.0)
    assert progress.later(row, 1.0, 5.0).share == 0.6
    assert progress.later(row, 60.0, 5.0).share == 1.0


def test_progress_row_of_an_instant_capture_has_no_share():
    (row,) = progress.rows_of(request(result("heap", 0.0)))

    assert row.share is None


def test_progress_shows_a_target_without_results_once_per_profile():
    (row,) = progress.rows_of(request(phase="Pending"))

    assert progress.line(row) == "data-0 cpu Pending"
