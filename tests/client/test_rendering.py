# SPDX-License-Identifier: Apache-2.0
"""Pure rendering and reading: sizes, spans, tables, progress rows, foreign JSON."""

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fodc_client import formats, progress
from fodc_client.errors import BadAnswerError
from fodc_client.reading import Fields
from fodc_client.resources import read_cluster, read_request
from fodc_client.tables import Column, Table, drawing, least_width, lines

TABLE = Table(
    (
        Column("NODE"),
        Column("SIZE", right=True),
        Column("PHASE", toned=True),
        Column("WHY", wraps=True),
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

DRAWN = """\
ROLE_DATA
NODE       SIZE  PHASE    WHY
data-0    1 KiB  Online   -
data-12  20 KiB  Offline  no heartbeat from this
                          node for a very long
                          time
"""


def test_plain_table_is_as_wide_as_it_needs():
    assert lines(TABLE) == PLAIN


def test_drawn_table_folds_prose_at_the_width_of_the_terminal():
    stream = io.StringIO()
    Console(file=stream, width=50, color_system=None).print(drawing(TABLE))

    drawn = "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"
    assert drawn == DRAWN
    assert least_width(TABLE) == 9 + 8 + 9 + 26


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


def test_stamp_is_utc():
    moment = datetime.fromisoformat("2026-11-21T08:06:39+01:00")

    assert formats.stamp(moment) == "20261121T070639Z"
    assert formats.moment(moment.astimezone(UTC)) == "2026-11-21 07:06:39"


@given(st.text())
def test_printable_never_lets_a_control_character_through(text):
    assert formats.printable(text).isprintable()


def rows(make, *results, phase="Running"):
    target = make.target("data-0", phase, *results)
    return progress.rows_of(read_request(Fields(make.request(1, "Running", target), "")))


def test_progress_row_knows_the_share_of_a_timed_capture(make):
    (row,) = rows(make, make.result("cpu"))

    assert (row.share, row.elapsed_s) == (0.4, 2.0)
    assert progress.later(row, 1.0, 5.0).share == 0.6
    assert progress.later(row, 60.0, 5.0).share == 1.0


def test_progress_row_of_an_instant_capture_has_no_share(make):
    (row,) = rows(make, make.result("heap"))

    assert row.share is None


def test_progress_shows_a_target_without_results_once_per_profile(make):
    (row,) = rows(make, phase="Pending")

    assert progress.line(row) == "data-0 cpu Pending"


def test_reading_ignores_what_it_does_not_know_and_fills_what_is_absent():
    cluster = read_cluster(Fields({"nodes": [{"node_id": "a", "phase": "Odd", "x": []}]}, ""))

    assert cluster.nodes[0].phase == "Odd"
    assert cluster.nodes[0].window is None
    assert cluster.total == 0


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the answer: expected an object, got []"),
        ({"nodes": {}}, "nodes: expected a list, got {}"),
        ({"nodes": [{}]}, "nodes[0].node_id: expected a text, got nothing"),
        (
            {"nodes": [{"node_id": "a", "phase": "b", "registered_at": "noon"}]},
            "nodes[0].registered_at: expected a time (RFC 3339), got 'noon'",
        ),
        ({"summary": {"total": 1.5}}, "summary.total: expected a whole number, got 1.5"),
        ({"summary": {"total": True}}, "summary.total: expected a number, got True"),
    ],
)
def test_reading_names_the_path_of_what_is_wrong(document, message):
    with pytest.raises(BadAnswerError) as caught:
        read_cluster(Fields(document, ""))

    assert str(caught.value) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["nodes", "node_id", "phase", "window", "summary", "total", "labels"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_reading_any_json_gives_values_or_one_kind_of_error(document):
    try:
        read_cluster(Fields(document, ""))
    except BadAnswerError:
        return
