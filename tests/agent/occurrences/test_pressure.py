# SPDX-License-Identifier: Apache-2.0
"""When memory is short enough for profiles, and which of them are kept."""

from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.occurrences.keeping import PressureRecord
from fodc_agent.occurrences.observing import armed_problem
from fodc_agent.occurrences.pressure import STEEP_PERCENT, PressureRule, Thresholds, Verdict
from fodc_agent.occurrences.retention import evicted
from fodc_agent.occurrences.rules import Memory

CALM, FIRES, COOLING = Verdict.CALM, Verdict.FIRES, Verdict.COOLING


def judged(*percents, every_s=10.0, **told):
    rule = PressureRule(Thresholds(**told))
    return [rule.judge(Memory(round(p * 10), 1000), n * every_s) for n, p in enumerate(percents)]


def test_t_pp_01_it_fires_above_the_threshold():
    assert judged(80, percent=75) == [FIRES]


def test_t_pp_02_it_does_not_below():
    assert judged(70, percent=75) == [CALM]


def test_t_pp_03_within_the_cool_down_it_fires_no_more_and_says_so():
    assert judged(80, 80, 83, percent=75) == [FIRES, COOLING, COOLING]


def test_a_clear_new_high_counts_within_the_cool_down():
    assert judged(80, 86, 88, 91, 97, every_s=2) == [FIRES, FIRES, COOLING, FIRES, FIRES]


def test_a_node_that_stays_where_it_is_costs_nothing_after_the_cool_down():
    assert judged(82, 82, 82, every_s=400) == [FIRES, CALM, CALM]


def test_a_node_that_comes_back_counts_after_the_cool_down():
    assert judged(82, 60, 82, 60, 81, every_s=100) == [FIRES, CALM, COOLING, CALM, FIRES]


def test_a_steep_rise_counts_before_the_threshold():
    assert judged(*[40] * 10, 57) == [*[CALM] * 10, FIRES]
    assert judged(*[20] * 10, 40) == [CALM] * 11
    assert judged(*[70] * 10, 79) == [CALM] * 11


def test_at_zero_percent_it_never_fires():
    assert judged(99, *[40] * 10, 99, percent=0) == [CALM] * 12


def test_it_looks_the_sooner_the_closer_the_threshold_is():
    rule = PressureRule(Thresholds())
    assert rule.pace_s() == 10.0
    for percent, pace_s in ((20, 6.0), (60, 2.0), (79, 1.0), (95, 1.0)):
        rule.judge(Memory(percent, 100), 0.0)
        assert rule.pace_s() == pace_s
    assert PressureRule(Thresholds(percent=0)).pace_s() == 10.0


@given(start=st.floats(0, 100), speed=st.floats(0.5, STEEP_PERCENT))
def test_whatever_rises_within_ten_seconds_is_caught_with_a_second_left(start, speed):
    rule = PressureRule(Thresholds())
    at_s, percent = 0.0, start / 2
    while rule.judge(Memory(round(percent * 1000), 100_000), at_s) is not FIRES:
        pace_s = rule.pace_s()
        at_s, percent = at_s + pace_s, percent + pace_s * speed
        assert percent <= 100 - speed


@given(st.lists(st.integers(0, 1200), max_size=200))
def test_whatever_comes_there_are_few_firings_in_a_cool_down(readings):
    rule = PressureRule(Thresholds())
    fired = [rule.judge(Memory(one, 1000), 0.0) is FIRES for one in readings]
    assert sum(fired) <= 1 + (120 - 50) / 5


def test_t_pp_04_without_a_limit_nothing_fires_and_it_says_why():
    assert armed_problem(80, Memory(1, 2)) == ("", "")
    assert armed_problem(0, Memory(1, 2))[0] == "Disabled"
    assert armed_problem(80, None)[0] == "NoMemoryLimit"


# ---- retention ----------------------------------------------------------------------------------


def record(rss_bytes, at_ms=1):
    return PressureRecord(f"p{rss_bytes}", at_ms, rss_bytes, 1000, 75, {"heap": "own-1"})


def test_t_pp_06_the_lowest_goes_first():
    records = [record(100), record(300), record(200)]
    gone = evicted(records, lambda _: 1, max_count=2, max_bytes=0)
    assert [one.rss_bytes for one in gone] == [100]


def test_t_pp_07_bytes_count_too():
    records = [record(100), record(300), record(200)]
    gone = evicted(records, lambda _: 400, max_count=16, max_bytes=1000)
    assert [one.rss_bytes for one in gone] == [100]


def test_of_equals_the_older_goes_and_the_last_one_stays():
    records = [record(100, 2), record(100, 1)]
    gone = evicted(records, lambda _: 400, max_count=16, max_bytes=1)
    assert [one.captured_at_ms for one in gone] == [1]
    assert records[0].threshold_bytes == 750
