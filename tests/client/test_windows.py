# SPDX-License-Identifier: Apache-2.0
"""`fodc windows` and the charts it draws."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_client.charts import Area, chart, rates, segments, time_axis
from fodc_client.formats import quantity


@pytest.fixture
def told():
    return {"collection_timeout_s": 3.0}


def series(name="up_bytes", count=60, *, step_s=10, **labels):
    """Points that rise by 1 KiB, the last one now."""
    now_s = int(time.time())
    points = {(now_s - step_s * (count - 1 - n)) * 1000: 1024.0 * n for n in range(count)}
    return name, labels, points


@pytest.fixture
def node(stage):
    return stage.agent("data-0", series=[series()])


def test_windows_draws_a_line_with_values_and_times(fodc, node):
    ran = fodc("windows", "data-0", "up_bytes")

    lines = ran.out.splitlines()
    assert ran.code == 0
    assert "60 points, min 0 B, max 59 KiB, last 59 KiB; times in UTC" in lines[0]
    assert lines[1].startswith("  59 KiB ┤")
    assert lines[10].startswith("     0 B ┤")
    assert re.fullmatch(r" {10}\d\d:\d\d:\d\d +\d\d:\d\d:\d\d +\d\d:\d\d:\d\d", lines[12])
    assert any(0x2800 < ord(each) < 0x2900 for each in ran.out)


def seconds_of_axis(line):
    start, *_, end = (
        sum(int(part) * unit for part, unit in zip(text.split(":"), (3600, 60, 1), strict=True))
        for text in line.split()
    )
    return (end - start) % 86400


def test_windows_draws_the_time_that_the_window_holds_and_no_more(fodc, node):
    """C4: 30 minutes were drawn where 5 existed."""
    ran = fodc("windows", "data-0", "up_bytes", "--since", "30m")

    assert seconds_of_axis(ran.out.splitlines()[12]) == 590
    assert ran.err == "the window holds 9m50s of the 30m asked for\n"


def test_windows_of_a_time_asks_for_no_more(fodc, node):
    ran = fodc("windows", "data-0", "up_bytes", "--since", "1m")

    query = node.queries[-1].window_query
    assert 59_000 <= time.time() * 1000 - query.start_ms < 120_000
    assert " 7 points" in ran.out or " 6 points" in ran.out


def test_windows_are_drawn_of_a_node_named_with_its_namespace(fodc, node):
    assert "60 points" in fodc("windows", "banyandb/data-0", "up_bytes").out


def test_windows_filters_by_label_and_other_metrics(fodc, stage):
    told = [series(kind="used"), series(kind="free"), series("other")]
    stage.agent("data-0", series=told)

    ran = fodc("windows", "data-0", "up_bytes", "--label", "kind=free", "-o", "json")

    assert [each["labels"]["kind"] for each in json.loads(ran.out)] == ["free"]


def test_windows_says_how_many_series_it_did_not_draw(fodc, stage):
    stage.agent("data-0", series=[series(kind=str(number)) for number in range(6)])

    ran = fodc("windows", "data-0", "up_bytes")

    assert ran.out.count("60 points") == 4
    assert "2 more series are not drawn" in ran.err


def test_windows_rate_gives_the_increase_per_second(fodc, node):
    ran = fodc("windows", "data-0", "up_bytes", "--rate", "-o", "json")

    assert {point["value"] for point in json.loads(ran.out)[0]["data"]} == {102.4}


def test_windows_suggests_close_names_when_there_is_no_such_metric(fodc, stage):
    stage.agent("data-0", series=[series("process_resident_memory_bytes")])

    ran = fodc("windows", "data-0", "process_resident_memory")

    assert ran.code == 4
    assert "Did you mean process_resident_memory_bytes?" in ran.err


def test_windows_says_what_there_is_when_nothing_comes_close(fodc, node):
    ran = fodc("windows", "data-0", "x")

    assert ran.code == 4
    assert ran.err == (
        "fodc: data-0: no samples of x in its window. It has 1 metric, such as up_bytes.\n"
    )


def test_windows_of_an_unknown_node_is_not_found(fodc, node):
    ran = fodc("windows", "data-9", "up_bytes")

    assert (ran.code, ran.err) == (4, "fodc: no such node: data-9. Did you mean data-0?\n")


def test_windows_of_other_labels_says_so(fodc, node):
    ran = fodc("windows", "data-0", "up_bytes", "--label", "kind=free")

    assert ran.code == 4
    assert "up_bytes has no series with these labels" in ran.err


def test_windows_says_when_the_node_does_not_answer(fodc, node):
    node.hung = True

    ran = fodc("windows", "data-0", "up_bytes")

    assert ran.code == 1
    assert ran.err == "fodc: data-0 did not answer; see: fodc doctor\n"


def test_windows_reads_a_value_that_json_cannot_carry_as_a_gap(fodc, stage):
    name, labels, points = series(count=3)
    points[sorted(points)[1]] = float("inf")
    stage.agent("data-0", series=[(name, labels, points)])

    assert " 2 points" in fodc("windows", "data-0", "up_bytes").out


def test_windows_pass_on_what_the_proxy_says_in_plain_text(fodc, relay, node):
    """The existing contract's routes answer so; it is no other product."""
    relay.instead["/metrics-windows"] = (503, b"too many windows at once; come back in 5 s\n")

    ran = fodc("windows", "data-0", "up_bytes")

    assert (ran.code, ran.err) == (
        1,
        "fodc: the proxy refused: too many windows at once; come back in 5 s\n",
    )


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
