# SPDX-License-Identifier: Apache-2.0
"""When a source is due, on virtual time (T-WD-13..17 where they are about the schedule)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.bus.timetable import Plan, Tier, Timetable


def table(**plan) -> Timetable:
    one = Timetable()
    one.add(Plan("s", **({"tier": Tier.NORMAL} | plan)))
    return one


def ticks(one: Timetable, start: float, end: float, step: float = 0.25) -> list[float]:
    found, now = [], start
    while now <= end:
        if one.due(now):
            found.append(now)
        now += step
    return found


def test_nothing_is_due_without_subscribers():
    one = table()
    assert (one.due(1e9), one.next_due_s(), one.interval_s("s")) == ([], None, None)


def test_t_wd_15_first_tick_is_at_once_and_then_every_interval():
    one = table()
    one.subscribe("s", 0.5, now_s=100.0)
    assert ticks(one, 100.0, 102.0) == [100.0, 100.5, 101.0, 101.5, 102.0]


def test_no_wish_means_the_usual_pace():
    one = table(tier=Tier.SLOW)
    one.subscribe("s", None, 0.0)
    assert one.interval_s("s") == 300.0


def test_fastest_living_subscriber_decides():
    one = table()
    slow = one.subscribe("s", 30.0, 0.0)
    fast = one.subscribe("s", 5.0, 0.0)
    paces = [one.interval_s("s")]
    one.unsubscribe("s", fast)
    paces.append(one.interval_s("s"))
    one.unsubscribe("s", slow)
    one.unsubscribe("s", slow)
    paces.append(one.interval_s("s"))
    assert paces == [5.0, 30.0, None]
    assert one.due(1e6) == []


def test_floor_is_never_undercut():
    one = table(floor_s=2.0)
    one.subscribe("s", 0.1, 0.0)
    assert one.interval_s("s") == 2.0
    assert ticks(one, 0.0, 5.0) == [0.0, 2.0, 4.0]


def test_leaving_and_returning_does_not_undercut_the_floor():
    one = table(floor_s=2.0)
    first = one.subscribe("s", 2.0, 0.0)
    assert one.due(0.0) == ["s"]
    one.unsubscribe("s", first)
    one.subscribe("s", 2.0, 0.5)
    assert one.next_due_s() == 2.0


def test_faster_subscriber_pulls_the_next_tick_forward():
    one = table()
    one.subscribe("s", 300.0, 0.0)
    one.due(0.0)
    one.subscribe("s", 10.0, 3.0)
    assert one.next_due_s() == 10.0
    one.subscribe("s", 1.0, 5.0)
    assert one.next_due_s() == 5.0


def test_late_look_does_not_move_the_grid_and_counts_what_passed():
    one = table()
    one.subscribe("s", 10.0, 0.0)
    assert one.due(0.0) == ["s"]
    assert one.due(37.0) == ["s"]
    assert one.due(37.1) == []
    assert (one.skipped("s"), one.next_due_s()) == (2, 40.0)


def test_skip_is_counted():
    one = table()
    one.skip("s")
    assert one.skipped("s") == 1


def test_a14_the_first_tick_is_at_once_and_the_phase_moves_those_that_follow():
    one = table(phase=0.5)
    one.subscribe("s", 10.0, 100.0)
    assert (one.due(100.0), one.next_due_s()) == (["s"], 107.5)
    assert (one.due(107.5), one.next_due_s()) == (["s"], 117.5)


def test_the_phase_does_not_undercut_the_floor():
    one = table(phase=0.9, floor_s=8.0)
    one.subscribe("s", 10.0, 0.0)
    assert (one.due(0.0), one.next_due_s()) == (["s"], 8.0)


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan"), float("inf")])
def test_senseless_interval_is_refused(interval_s):
    with pytest.raises(ValueError, match="source s: interval must be above 0 s"):
        table().subscribe("s", interval_s, 0.0)


@pytest.mark.parametrize(("field", "value"), [("floor_s", -1.0), ("phase", 1.0), ("phase", -0.1)])
def test_senseless_plan_is_refused(field, value):
    with pytest.raises(ValueError, match=f"source s: {field}"):
        table(**{field: value})


def test_name_can_be_taken_once_and_must_be_known():
    one = table()
    with pytest.raises(ValueError, match="source s is in the timetable already"):
        one.add(Plan("s", Tier.FAST))
    with pytest.raises(KeyError, match="no source 'other'"):
        one.subscribe("other", 1.0, 0.0)


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.lists(st.integers(0, 70), min_size=1, max_size=60),
)
def test_every_tick_is_used_or_counted_and_none_drifts(interval, steps):
    one = table()
    one.subscribe("s", float(interval), 0.0)
    now, used = 0, 0
    for step in steps:
        now += step
        used += len(one.due(float(now)))
        assert one.next_due_s() is not None
        assert one.next_due_s() % interval == 0
        assert one.next_due_s() > now or one.due(float(now)) == []
    last_look_used = one.next_due_s() // interval
    assert used + one.skipped("s") == last_look_used
