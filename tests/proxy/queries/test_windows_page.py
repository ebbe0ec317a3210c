# SPDX-License-Identifier: Apache-2.0
"""Columns to the JSON of /metrics-windows (§6.4)."""

import json
import math
import struct
import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.link import frames
from fodc_protocol.metrics.samples import ABSENT, Series
from fodc_proxy.queries.pages.windows import (
    Column,
    ColumnsOfParts,
    WindowError,
    json_number,
    shared_times,
    window_json,
)


def column(name="up", labels=(("pod_name", "p"),), times=(1000,), values=(1.0,), text="h"):
    return Column(name, labels, text, array("q", times), array("d", values))


def shown(*agents):
    return json.loads(b"".join(window_json(agents)))


def part(series, times, values, *, schema=1):
    packed = struct.pack(f"<{len(values)}d", *values)
    return frames.WindowPart(1, schema, tuple(series), tuple(times), packed)


def test_h11_nothing_is_an_empty_array_with_newline():
    assert b"".join(window_json([])) == b"[]\n"


def test_h11_one_series_has_name_agent_pod_and_data():
    assert shown(("id-0", [column()])) == [
        {
            "agent_id": "id-0",
            "data": [{"timestamp": "1970-01-01T00:00:01Z", "value": 1}],
            "description": "h",
            "labels": {"pod_name": "p"},
            "name": "up",
            "pod_name": "p",
        }
    ]


def test_h11_two_names_are_two_items_and_a_missing_pod_label_is_empty():
    items = shown(("id-0", [column("a", labels=()), column("b")]))

    assert [(i["name"], i["pod_name"]) for i in items] == [("a", ""), ("b", "p")]


def test_h11_same_series_of_two_agents_are_two_items():
    assert [i["agent_id"] for i in shown(("x", [column()]), ("y", [column()]))] == ["x", "y"]


def test_points_are_sorted_by_time_and_have_whole_seconds():
    data = shown(("i", [column(times=(3999, 1000), values=(3.0, 1.0))]))[0]["data"]

    assert data == [
        {"timestamp": "1970-01-01T00:00:01Z", "value": 1},
        {"timestamp": "1970-01-01T00:00:03Z", "value": 3},
    ]


def test_w12_nan_and_infinities_are_strings():
    """Upstream's body is empty with status 200 when one value is NaN."""
    values = (math.nan, math.inf, -math.inf)

    data = shown(("i", [column(times=(1000, 2000, 3000), values=values)]))[0]["data"]

    assert [point["value"] for point in data] == ["NaN", "+Inf", "-Inf"]


def test_absent_samples_are_left_out_and_a_series_of_them_too():
    kept = column(times=(1000, 2000), values=(ABSENT, 2.0))

    items = shown(("i", [column("gone", values=(ABSENT,)), kept]))

    assert [(i["name"], len(i["data"])) for i in items] == [("up", 1)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (270553174016.0, "270553174016"),
        (0.25, "0.25"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (0.00001, "0.00001"),
        (5e-324, "5e-324"),
    ],
)
def test_numbers_are_written_as_by_go(value, text):
    assert json_number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_reads_back_as_itself(value):
    assert float(json.loads(json_number(value))) == value


def test_texts_are_safe_inside_html():
    raw = b"".join(window_json([("i", [column(text="<b>&\u2028")])]))

    assert rb"\u003cb\u003e\u0026\u2028" in raw
    assert json.loads(raw)[0]["description"] == "<b>&\u2028"


def test_parts_become_columns_and_later_parts_continue_them():
    series = [Series("a", (), 1), Series("b", (("x", "y"),), 1)]
    collected = ColumnsOfParts((("zone", "z1"), ("pod_name", "p")))
    collected.add(part(series, [1000, 2000], [1.0, 2.0, 3.0, 4.0]))
    collected.add(part((), [3000], [5.0, 6.0]))

    a, b = collected.columns()

    assert (a.labels, list(a.times_ms), list(a.values)) == (
        (("node_zone", "z1"),),
        [1000, 2000, 3000],
        [1.0, 2.0, 5.0],
    )
    assert (b.labels, list(b.values)) == ((("x", "y"), ("node_zone", "z1")), [3.0, 4.0, 6.0])


def test_part_whose_lengths_do_not_fit_is_refused():
    with pytest.raises(WindowError, match="16 bytes of values do not fit 1 series over 1 times"):
        ColumnsOfParts().add(part([Series("a", (), 1)], [1], [1.0, 2.0]))


def test_equal_times_share_one_array():
    one, other = shared_times([column("a"), column("b")])

    assert one.times_ms is other.times_ms


@pytest.mark.slow
def test_a_million_points_are_streamed_in_small_chunks():
    times = array("q", range(1_000_000, 1_000_000 + 60_000 * 50, 50_000))
    columns = [
        Column("up", (("n", str(n)),), "", times, array("d", [0.5] * 60)) for n in range(17_000)
    ]

    sizes = [len(chunk) for chunk in window_json([("id", columns)])]

    assert sum(sizes) > 40_000_000
    assert max(sizes) < 1_000_000
    # Counting allocations is slow: a tenth is enough, and would not fit if it were collected.
    tracemalloc.start()
    try:
        written = sum(len(chunk) for chunk in window_json([("id", columns[:1700])]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written > 4_000_000
    assert peak_bytes < 2_000_000
