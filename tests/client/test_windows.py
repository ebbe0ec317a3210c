# SPDX-License-Identifier: Apache-2.0
"""`fodc windows` and the charts it draws."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_client.charts import Area, chart, rates, segments, time_axis
from fodc_client.formats import quantity


def series(name="up_bytes", count=60, *, pod="data-0", step_s=10, **labels):
    end = datetime.now(UTC)
    times = [end - timedelta(seconds=step_s * (count - place)) for place in range(count)]
    return {
        "name": name,
        "description": "",
        "labels": {"pod_name": pod, **labels},
        "agent_id": "agent",
        "pod_name": pod,
        "data": [
            {"timestamp": f"{time:%Y-%m-%dT%H:%M:%SZ}", "value": 1024.0 * place}
            for place, time in enumerate(times)
        ],
    }


def test_windows_draws_a_line_with_values_and_times(fodc, proxy):
    proxy.windows = [series()]

    ran = fodc("windows", "data-0", "up_bytes", "--since", "10m")

    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0] == "up_bytes: 60 points, min 0 B, max 59 KiB, last 59 KiB; times in UTC"
    assert lines[1].startswith("  59 KiB ┤")
    assert lines[10].startswith("     0 B ┤")
    assert re.fullmatch(r" {10}\d\d:\d\d:\d\d +\d\d:\d\d:\d\d +\d\d:\d\d:\d\d", lines[12])
    assert any(0x2800 < ord(each) < 0x2900 for each in ran.out)


def test_windows_asks_for_the_span_and_the_node(fodc, proxy):
    proxy.windows = [series()]

    fodc("windows", "data-0", "up_bytes", "--since", "30m")

    found = re.fullmatch(
        r"GET /metrics-windows\?start_time=(\S+Z)&end_time=(\S+Z)&pod_name=data-0&name=up_bytes",
        proxy.asked[0],
    )
    start, end = (datetime.fromisoformat(text.replace("%3A", ":")) for text in found.groups())
    assert end - start == timedelta(minutes=30)


def test_windows_filters_by_label_and_other_metrics(fodc, proxy):
    proxy.windows = [series(kind="used"), series(kind="free"), series("other")]

    ran = fodc("windows", "data-0", "up_bytes", "--label", "kind=free", "-o", "json")

    assert [each["labels"]["kind"] for each in json.loads(ran.out)] == ["free"]


def test_windows_says_how_many_series_it_did_not_draw(fodc, proxy):
    proxy.windows = [series(kind=str(number)) for number in range(6)]

    ran = fodc("windows", "data-0", "up_bytes")

    assert ran.out.count("60 points") == 4
    assert "2 more series are not drawn" in ran.err


def test_windows_rate_gives_the_increase_per_second(fodc, proxy):
    proxy.windows = [series()]

    ran = fodc("windows", "data-0", "up_bytes", "--rate", "-o", "json")

    assert {point["value"] for point in json.loads(ran.out)[0]["data"]} == {102.4}


def test_windows_suggests_close_names_when_there_is_no_such_metric(fodc, proxy):
    proxy.windows = [series("process_resident_memory_bytes")]

    ran = fodc("windows", "data-0", "process_resident_memory")

    assert ran.code == 4
    assert "Did you mean: process_resident_memory_bytes?" in ran.err


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"X-FODC-Asked": "0"}, "no such node: data-0"),
        (
            {"X-FODC-Asked": "1", "X-FODC-Answered": "0", "X-FODC-Missing": "data-0"},
            "data-0 did not answer; see: fodc doctor",
        ),
        ({}, "no samples of up_bytes in the last 30m"),
    ],
)
def test_windows_says_why_there_is_nothing(fodc, proxy, headers, says):
    proxy.window_headers = headers

    ran = fodc("windows", "data-0", "up_bytes")

    assert ran.code == 4
    assert says in ran.err


def test_windows_reads_a_value_that_json_cannot_carry_as_a_gap(fodc, proxy):
    proxy.windows = [series(count=3)]
    proxy.windows[0]["data"][1]["value"] = None

    assert "up_bytes: 2 points" in fodc("windows", "data-0", "up_bytes").out


# ---- charts -----------------------------------------------------------------------------------


def drawn(points, **changes):
    given_ = {"area": Area(12, 3), "start_s": 0, "end_s": 10, "label": quantity, **changes}
    return chart(points, **given_)


def test_chart_draws_a_rising_line():
    points = [(float(second), float(second)) for second in range(11)]

    assert drawn(points) == [
        "10 ┤        ⡠⠤⠒⠉",
        "   │    ⢀⠤⠊⠉",
        " 0 ┤⡠⠤⠒⠉⠁",
        "   └────────────",
        "    00:00:00…00:00:10",
    ]


def test_chart_draws_the_same_in_ascii_where_there_is_no_unicode():
    lines = drawn([(0.0, 0.0), (10.0, 10.0)], ascii_only=True)

    assert "".join(lines[:4]).isascii()
    assert lines[0].endswith("*")


def test_chart_of_a_constant_stands_in_the_middle():
    lines = drawn([(0.0, 5.0), (10.0, 5.0)])

    assert [line.strip("│┤ 0123456789.") for line in lines[:3]] == ["", "⠒" * 12, ""]


def test_chart_leaves_a_gap_where_nobody_measured():
    points = [(float(second), 1.0) for second in (0, 1, 2, 8, 9, 10)]

    assert len(segments(points)) == 2
    assert re.search("⠤ +⠤", drawn(points)[1])


def test_rates_count_a_restart_from_zero():
    assert rates([(0.0, 10.0), (10.0, 30.0), (20.0, 5.0)]) == [(10.0, 2.0), (20.0, 0.5)]


def test_time_axis_spreads_three_times():
    assert time_axis(0, 3600, width=40) == "00:00:00        00:30:00        01:00:00"


finite_or_not = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(
    st.lists(st.tuples(st.floats(0, 1e9), finite_or_not), max_size=40),
    st.integers(20, 90),
    st.integers(1, 12),
)
def test_chart_never_leaves_its_area(points, width, height):
    lines = chart(
        points, area=Area(width, height), start_s=0.0, end_s=1e9, label=quantity
    )  # fmt: skip

    assert len(lines) == height + 2
    margin = lines[height].index("└") + 1
    assert all(len(line) <= margin + width for line in lines[:-1])


def test_windows_are_drawn_of_a_node_named_with_its_namespace(fodc, proxy):
    proxy.windows = [series()]

    ran = fodc("windows", "banyandb/data-0", "up_bytes")

    assert "pod_name=banyandb%2Fdata-0" in proxy.asked[0] or "banyandb/data-0" in proxy.asked[0]
    assert ran.out.startswith("up_bytes: 60 points")
