# SPDX-License-Identifier: Apache-2.0
"""The recorder as its users see it: newest values, staleness, look-ups, extent.

Covers T-FR and T-DS by outcome, W-09, W-11, W-12, W-61 and anchor failures 4, 6 and 14. Their
internals (list of datasources, shared ring capacity, capacity formula) have no counterpart.
"""

import tracemalloc
from array import array

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.metrics.page import render_page
from fodc_protocol.metrics.samples import ABSENT, MetricType, Sample, Series, is_absent


def recorder(**changes) -> Recorder:
    settings = {"budget_bytes": 1 << 20, "interval_s": 10.0} | changes
    return Recorder(**settings)


def page(**values: float) -> bytes:
    return "".join(f"{name} {value}\n" for name, value in values.items()).encode()


def latest(one: Recorder) -> dict[str, float]:
    return {sample.series.name: sample.value for sample in one.latest_samples()}


def history(one: Recorder, name: str) -> list[tuple[int, float]]:
    found = []
    for piece in one.window(-(10**15), 10**15, frozenset({name})):
        points = len(piece.timestamps_ms)
        for at in range(len(piece.series)):
            cells = piece.values[at * points : (at + 1) * points]
            pairs = zip(piece.timestamps_ms, cells, strict=True)
            found += [(time, value) for time, value in pairs if not is_absent(value)]
    return found


# ---- newest values ------------------------------------------------------------------------------


def test_t_fr_01_new_recorder_knows_nothing():
    """T-EXP-01: nor has its page anything."""
    one = recorder()
    extent = one.extent()
    assert (one.latest().blocks, one.latest().at_ms, extent.rows, extent.bytes) == ([], 0, 0, 0)
    assert list(one.window(0, 10**15)) == []


@pytest.mark.parametrize("body", [b"", b"\n", b"# only a remark\n", b"garbage here now\n"])
def test_t_fr_02_page_without_samples_stores_no_row(body):
    one = recorder()
    one.record_page("node", body, 1)
    assert one.extent().rows == 0


def test_t_ds_05_newest_of_ten_updates_is_current():
    one = recorder()
    for at in range(10):
        one.record_page("node", page(cpu=75 + at), at * 10_000)
    assert one.value("cpu") == 84.0
    assert history(one, "cpu") == [(at * 10_000, 75.0 + at) for at in range(10)]


def test_t_fr_06_at_ms_is_the_time_of_the_newest_row():
    one = recorder()
    one.record_page("node", page(a=1), 1_000)
    one.record_page("kernel", page(b=1), 3_000)
    one.record_page("node", page(a=1), 2_000)
    assert one.latest().at_ms == 3_000


def test_w11_series_goes_stale_after_three_scrapes_and_returns():
    one = recorder()
    one.record_page("node", page(a=1, b=1), 0)
    seen = []
    for at in range(1, 5):
        one.record_page("node", page(a=at), at)
        seen.append(latest(one).get("b"))
    one.record_page("node", page(a=9, b=7), 9)
    assert seen == [1.0, 1.0, None, None]
    assert latest(one) == {"a": 9.0, "b": 7.0}
    assert history(one, "b") == [(0, 1.0), (9, 7.0)]


@pytest.mark.parametrize("body", [b"", b"not a page\n"])
def test_w11_garbage_pages_make_every_series_stale(body):
    """The existing agent shows the old values with their old time for ever."""
    one = recorder()
    one.record_page("node", page(a=1), 0)
    for at in range(1, 4):
        one.record_page("node", body, at)
    assert (latest(one), one.latest().blocks) == ({}, [])


def test_w11_failed_scrapes_make_the_source_stale_and_only_this_source():
    one = recorder()
    one.record_page("node", page(a=1), 0)
    one.record_page("other", page(b=1), 0)
    seen = []
    for _ in range(4):
        one.scrape_failed("node")
        seen.append(sorted(latest(one)))
    one.record_page("node", page(c=1), 9)
    assert seen == [["a", "b"], ["a", "b"], ["b"], ["b"]]
    assert sorted(latest(one)) == ["b", "c"]
    one.record_page("node", page(a=2, c=1), 10)
    assert sorted(latest(one)) == ["a", "b", "c"]


def test_failed_scrapes_and_missing_series_count_together():
    one = recorder()
    one.record_page("node", page(a=1, b=1), 0)
    one.record_page("node", page(a=1), 1)
    one.scrape_failed("node")
    one.record_page("node", page(a=1), 2)
    assert sorted(latest(one)) == ["a"]


def test_scrape_failed_of_an_unknown_source_is_harmless():
    one = recorder()
    for _ in range(5):
        one.scrape_failed("node")
    one.record_page("node", page(a=1), 0)
    assert latest(one) == {"a": 1.0}


def test_w61_latest_blocks_show_one_instant():
    one = recorder()
    one.record_page("node", page(a=1000, b=1000), 0)
    one.record_page("node", page(a=2000, b=2000), 1)
    assert [block.text for block in one.latest().blocks] == [b"a 2000\n", b"b 2000\n"]


def test_t_exp_02_t_exp_06_a_page_shows_what_was_recorded_with_its_labels_and_help():
    one = recorder()
    help_ = "# HELP load Load of the machine\n# TYPE load gauge\n"
    one.record_page("node", help_.encode() + b'load{cpu="0",kind="user"} 0.25\nload 1e6\n', 0)
    text = render_page(one.latest().blocks).decode()
    (family,) = text_string_to_metric_families(text)

    assert (family.name, family.documentation, family.type) == (
        "load",
        "Load of the machine",
        "gauge",
    )
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"cpu": "0", "kind": "user"}, 0.25),
        ({}, 1e6),
    ]


def test_blocks_carry_sorted_labels_identity_and_percent_signs():
    one = recorder()
    one.set_identity(None, (("pod_name", "data-0"), ("node_role", "ROLE_DATA"), ("empty", "")))
    one.record_page("node", b'm{z="100%s",a="\\"q\\""} 0.5\n', 0)
    assert one.latest().blocks[0].text == (
        b'm{a="\\"q\\"",node_role="ROLE_DATA",pod_name="data-0",z="100%s"} 0.5\n'
    )


def test_identity_changes_at_once_and_source_wins_over_common():
    one = recorder()
    one.record_page("node", page(a=1), 0)
    one.record_page("agent", page(b=1), 0)
    one.set_identity("node", (("container_name", "data"), ("node_type", "hot")))
    one.set_identity(None, (("pod_name", "p"), ("node_type", "unknown")))
    first = [block.text for block in one.latest().blocks]
    one.set_identity("node", (("container_name", "data"), ("node_type", "warm")))
    assert first == [
        b'a{container_name="data",node_type="hot",pod_name="p"} 1\n',
        b'b{node_type="unknown",pod_name="p"} 1\n',
    ]
    assert one.latest().blocks[0].text == (
        b'a{container_name="data",node_type="warm",pod_name="p"} 1\n'
    )


def test_same_family_of_two_sources_is_one_block():
    one = recorder()
    for name in ("data", "lifecycle"):
        one.set_identity(name, (("container_name", name),))
        one.record_page(name, b"# TYPE go_goroutines gauge\ngo_goroutines 5\n", 0)
    blocks = one.latest().blocks
    assert [(block.name, block.samples) for block in blocks] == [("go_goroutines", 2)]
    assert blocks[0].text.splitlines() == [
        b'go_goroutines{container_name="data"} 5',
        b'go_goroutines{container_name="lifecycle"} 5',
    ]


def test_same_series_of_two_sources_appears_once():
    one = recorder()
    one.record_page("first", page(up=1), 0)
    one.record_page("second", page(up=2), 0)
    assert [block.text for block in one.latest().blocks] == [b"up 1\n"]


def test_anchor_failure_14_histogram_lines_keep_the_order_of_the_page():
    one = recorder()
    lines = [
        *(f'h_bucket{{a="1",le="{le}"}} 1' for le in ("0.5", "1", "10", "+Inf")),
        'h_sum{a="1"} 2',
        'h_count{a="1"} 1',
        *(f'h_bucket{{a="2",le="{le}"}} 1' for le in ("0.5", "1", "10", "+Inf")),
    ]
    one.record_page("node", ("# TYPE h histogram\n" + "\n".join(lines)).encode(), 0)
    block = one.latest().blocks[0]
    assert (block.name, block.type, block.text.decode().splitlines()) == (
        "h",
        MetricType.HISTOGRAM,
        lines,
    )


def test_anchor_failure_14_newline_in_help_does_not_break_the_page():
    one = recorder()
    one.record_page("node", b"# HELP m one\\ntwo\n# TYPE m gauge\nm 1\n", 0)
    text = render_page(one.latest().blocks).decode()
    families = list(text_string_to_metric_families(text))
    assert [(family.name, family.documentation) for family in families] == [("m", "one\ntwo")]


# ---- samples of other sources -------------------------------------------------------------------


def test_samples_are_recorded_like_a_page():
    one = recorder()
    bucket = Series("lat_bucket", (("le", "1"), ("a", "x")), MetricType.HISTOGRAM, "Latency.")
    plain = Series("cpu", (), MetricType.GAUGE, "CPU.")
    report = one.record_samples("kernel", [Sample(bucket, 3.0), Sample(plain, 1.5)], 5)
    again = one.record_samples("kernel", [Sample(bucket, 4.0), Sample(plain, ABSENT)], 6)
    assert (report.series, report.new_series, again.series, again.new_series) == (2, 2, 1, 0)
    assert [(block.name, block.help, block.text) for block in one.latest().blocks] == [
        ("lat", "Latency.", b'lat_bucket{a="x",le="1"} 4\n'),
        ("cpu", "CPU.", b"cpu 1.5\n"),
    ]
    assert history(one, "cpu") == [(5, 1.5)]


def test_duplicate_samples_last_wins():
    one = recorder()
    series = Series("m", ())
    report = one.record_samples("s", [Sample(series, 1.0), Sample(series, 2.0)], 0)
    assert (report.duplicates, one.value("m")) == (1, 2.0)


# ---- look-ups ----------------------------------------------------------------------------

KEYS = b'm 0\nm{a="1"} 1\nm{a="1",b="2"} 12\nm{xa="1"} 9\nm_total 5\n'


@pytest.mark.parametrize(
    ("name", "match", "expected"),
    [
        ("m", {}, [0.0, 1.0, 12.0, 9.0]),
        ("m", {"a": "1"}, [1.0, 12.0]),
        ("m", {"a": "2"}, []),
        ("m", {"b": "2"}, [12.0]),
        ("m_total", {}, [5.0]),
        ("m_tot", {}, []),
        ("unknown", {}, []),
    ],
)
def test_t_fr_08_09_values_match_whole_names_and_pairs(name, match, expected):
    one = recorder()
    one.record_page("node", KEYS, 0)
    assert [sample.value for sample in one.values(name, match)] == expected
    assert one.value(name, match) == (expected[0] if expected else None)


def test_w09_container_is_chosen_explicitly():
    one = recorder()
    for name, value in (("liaison", 1.0), ("data", 2.0)):
        one.set_identity(name, (("container_name", name),))
        one.record_page(name, page(rss=value), 0)
    assert one.value("rss", {"container_name": "data"}) == 2.0
    assert one.value("rss", source="data") == 2.0
    assert one.value("rss", source="nobody") is None


# ---- window -------------------------------------------------------------------------------------


def test_anchor_failure_4_every_third_poll_keeps_its_own_time():
    one = recorder()
    for at in range(30):
        rare = {"rare": at} if at % 3 == 0 else {}
        one.record_page("node", page(steady=at, **rare), at * 10_000)
    assert history(one, "rare") == [(at * 10_000, float(at)) for at in range(0, 30, 3)]


def test_anchor_failure_4_late_series_keeps_its_own_time():
    one = recorder()
    for at in range(10):
        late = {"late": at} if at >= 5 else {}
        one.record_page("node", page(steady=at, **late), at * 10_000)
    assert history(one, "late") == [(at * 10_000, float(at)) for at in range(5, 10)]


def test_w12_sources_have_rows_of_their_own():
    one = recorder()
    for at in range(4):
        one.record_page("node", page(a=at), at * 10)
        one.record_samples("kernel", [Sample(Series("k", ()), float(at))], at * 10 + 7)
    assert history(one, "a") == [(0, 0.0), (10, 1.0), (20, 2.0), (30, 3.0)]
    assert history(one, "k") == [(7, 0.0), (17, 1.0), (27, 2.0), (37, 3.0)]


def test_window_comes_in_bounded_pieces_that_together_hold_everything():
    one = recorder(budget_bytes=8 << 20)
    for at in range(3):
        body = "".join(f'm{{i="{n}"}} {n + at}\n' for n in range(1000)).encode()
        one.record_page("node", body, at)
    pieces = list(one.window(0, 10))
    assert max(len(piece.series) for piece in pieces) <= 400
    assert sum(len(piece.series) for piece in pieces) == 1000
    assert pieces[0].values[:6] == array("d", [0, 1, 2, 1, 2, 3])


def test_window_leaves_out_series_without_a_sample_in_that_time():
    one = recorder()
    one.record_page("node", page(a=1, b=1), 0)
    one.record_page("node", page(a=2), 10)
    assert [one_series.name for piece in one.window(5, 15) for one_series in piece.series] == ["a"]


@pytest.mark.parametrize(("start", "end"), [(10, 0), (1000, 2000), (-5, -1)])
def test_window_outside_the_history_is_empty(start, end):
    one = recorder()
    one.record_page("node", page(a=1), 5)
    assert list(one.window(start, end)) == []


def test_window_carries_identity_and_type():
    one = recorder()
    one.set_identity(None, (("pod_name", "p"),))
    one.record_page("node", b"# TYPE a counter\na 1\n", 5)
    piece = next(one.window(0, 10))
    assert (piece.source, piece.series) == (
        "node",
        (Series("a", (("pod_name", "p"),), MetricType.COUNTER, ""),),
    )


# ---- budget, extent, bounds ---------------------------------------------------------------------


def fill(one: Recorder, rows: int, series: int = 50, step_ms: int = 10_000) -> None:
    for at in range(rows):
        values = ((n * 7919 + at * 31 * (n % 3)) / 7 for n in range(series))
        body = "".join(f'm{{i="{n}"}} {value}\n' for n, value in enumerate(values))
        one.record_page("node", body.encode(), at * step_ms)


@pytest.mark.parametrize("budget", [0, 100, 5_000, 30_000, 60_000, 100_000])
def test_budget_is_never_exceeded_and_newest_rows_stay(budget):
    one = recorder(budget_bytes=budget)
    for at in range(60):
        fill(one, 1) if at == 0 else one.record_page("node", page(a=at), at * 10_000)
        extent = one.extent()
        assert extent.bytes <= budget
    if one.value("a") is None:
        assert one.extent().refused >= 1
    elif one.extent().rows:
        assert one.extent().newest_ms == 590_000


def test_t_fr_07_zero_budget_keeps_nothing_and_says_so():
    """A2: upstream answers the newest values beyond its budget; here names are inside it."""
    one = recorder(budget_bytes=0)
    report = one.record_page("node", page(a=1), 0)
    assert (one.value("a"), one.extent().rows, one.extent().bytes) == (None, 0, 0)
    assert (report.dropped, one.extent().refused, one.extent().reachable_s) == (1, 1, None)


def test_history_ends_at_the_target():
    one = recorder(target_s=600, budget_bytes=4 << 20)
    fill(one, 200, series=5)
    extent = one.extent()
    assert (extent.rows, extent.newest_ms - extent.oldest_ms) == (61, 600_000)
    assert extent.reachable_s == 600


def test_reachable_tells_what_a_small_budget_allows():
    one = recorder(budget_bytes=60_000)
    fill(one, 300)
    extent = one.extent()
    held_s = (extent.newest_ms - extent.oldest_ms) / 1000
    assert 0 < held_s < 3600
    assert extent.reachable_s == pytest.approx(held_s, rel=0.25)


def test_t_ds_01_larger_budget_reaches_further():
    reached = []
    for budget in (50_000, 100_000):
        one = recorder(budget_bytes=budget)
        fill(one, 300)
        reached.append(one.extent().rows)
    assert reached[0] < reached[1]


@pytest.mark.parametrize("step_ms", [-86_400_000 * 365, 86_400_000 * 365])
def test_clock_step_loses_no_history(step_ms):
    one = recorder()
    for at in range(5):
        one.record_page("node", page(a=at), at * 10_000)
    for at in range(5, 10):
        one.record_page("node", page(a=at), at * 10_000 + step_ms, at * 10_000)
    assert len(history(one, "a")) == 10


def test_eviction_drops_the_oldest_row_of_all_sources():
    one = recorder(budget_bytes=6_000)
    for at in range(200):
        one.record_page("a" if at % 2 else "b", page(x=at), at * 1000)
    times = sorted(time for time, _ in history(one, "x"))
    assert times == list(range(times[0], 200_000, 1000))


def test_full_table_drops_and_counts_new_series_until_old_ones_have_gone():
    one = recorder(max_series=3, stale_after=1, budget_bytes=1 << 16, target_s=30)
    first = one.record_page("node", page(a=1, b=2, c=3, d=4, e=5), 0)
    again = one.record_page("node", page(a=1, b=2, c=3, d=4, e=5), 10_000)
    assert (first.series, first.dropped, again.series, again.dropped) == (3, 2, 3, 2)
    for at in range(2, 8):
        last = one.record_page("node", page(a=1, d=4, e=5), at * 10_000)
    assert (last.series, last.dropped) == (3, 0)
    assert latest(one) == {"a": 1.0, "d": 4.0, "e": 5.0}


def test_limit_of_series_holds_over_all_sources():
    one = recorder(max_series=3)
    one.record_page("a", page(a=1, b=2), 0)
    report = one.record_samples("b", [Sample(Series(n, ()), 1.0) for n in ("x", "y")], 0)
    assert (report.series, report.dropped) == (1, 1)


def test_reused_column_never_shows_values_of_its_former_series():
    one = recorder(stale_after=1, target_s=50)
    for at in range(60):
        one.record_page("node", page(steady=at, **{f"churn_{at // 4}": at}), at * 10_000)
    for index in range(15):
        expected = {(at * 10_000, float(at)) for at in range(index * 4, index * 4 + 4)}
        assert set(history(one, f"churn_{index}")) <= expected
    assert one.extent().series < 6


def test_w10_churn_does_not_grow_the_tables():
    one = recorder(stale_after=3, target_s=100)
    for at in range(300):
        body = "".join(f'm{{pod="{(at // 5) * 20 + n}"}} {n}\n' for n in range(20))
        one.record_page("node", body.encode(), at * 10_000)
    assert one.extent().series < 200
    assert one.extent().bytes < 150_000


def test_interval_must_be_positive():
    with pytest.raises(ValueError, match="interval_s must be above 0"):
        recorder(interval_s=0)


def test_t_fr_10_heap_stays_near_the_budget():
    """At most 150 % of the budget, like there; ours counts names and caches as well."""
    budget = 200 * 1024
    bodies = [
        "".join(f'm{{i="{n}"}} {(n * 7919 + at * 31) / 7}\n' for n in range(60)).encode()
        for at in range(30)
    ]
    tracemalloc.start()
    try:
        one = recorder(budget_bytes=budget, target_s=10**6)
        before = tracemalloc.get_traced_memory()[0]
        for at in range(1500):
            one.record_page("node", bodies[at % 30], at * 10_000)
            one.latest()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert one.extent().rows < 1500
    assert budget * 0.5 < growth < budget * 1.5


def test_identity_that_repeats_a_name_gives_it_once():
    one = recorder()
    one.record_page("node", page(a=1), 0)
    one.set_identity(None, (("x", "1"), ("x", "2")))
    assert one.latest().blocks[0].text == b'a{x="1"} 1\n'


@pytest.mark.parametrize("step_ms", [-86_400_000 * 365, 86_400_000 * 365])
def test_clock_step_does_not_stop_the_aging_of_history(step_ms):
    one = recorder(target_s=100)
    for at in range(5):
        one.record_page("node", page(a=at), at * 10_000)
    for at in range(5, 40):
        one.record_page("node", page(a=at), at * 10_000 + step_ms, at * 10_000)
    assert [value for _, value in history(one, "a")] == [float(at) for at in range(29, 40)]
