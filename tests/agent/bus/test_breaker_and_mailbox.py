# SPDX-License-Identifier: Apache-2.0
"""The rules of the breaker (T-WD-12, T-WD-13) and of the mailbox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.bus.breaker import Breaker, BreakerState
from fodc_agent.bus.mailbox import Mailbox, Policy


def test_breaker_stays_closed_below_the_threshold():
    one = Breaker(threshold=3)
    one.failed(0.0)
    one.failed(1.0)
    assert (one.state(1.0), one.allow(1.0), one.retry_in_s(1.0)) == (BreakerState.CLOSED, True, 0.0)


def test_t_wd_12_pause_doubles_up_to_the_cap():
    one = Breaker(threshold=1, base_s=1.0, cap_s=5.0)
    pauses, now = [], 0.0
    for _ in range(5):
        one.failed(now)
        pauses.append(one.retry_in_s(now))
        now += pauses[-1]
        assert one.allow(now)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_open_breaker_lets_one_trial_through_after_its_pause():
    one = Breaker(threshold=1, base_s=2.0)
    one.failed(10.0)
    assert [one.allow(11.9), one.state(12.0), one.allow(12.0), one.allow(12.0)] == [
        False,
        BreakerState.HALF_OPEN,
        True,
        False,
    ]


def test_t_wd_13_success_closes_and_resets_the_pause():
    one = Breaker(threshold=1, base_s=1.0)
    for at in range(4):
        one.failed(at * 100.0)
    one.succeeded()
    assert one.state(400.0) is BreakerState.CLOSED
    one.failed(500.0)
    assert one.retry_in_s(500.0) == 1.0


def test_years_of_failures_do_not_overflow():
    one = Breaker(threshold=1, failures=10**6)
    one.failed(0.0)
    assert one.retry_in_s(0.0) == 60.0


def taken(box: Mailbox[int]) -> list[int]:
    found = []
    while (item := box.take()) is not None:
        found.append(item)
    return found


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (Policy.KEEP_LATEST, [5]),
        (Policy.DROP_OLDEST, [4, 5]),
        (Policy.REJECT, [1, 2]),
    ],
)
def test_full_mailbox_loses_by_its_policy_and_counts(policy, kept):
    box: Mailbox[int] = Mailbox(policy, 2)
    accepted = [box.put(item) for item in range(1, 6)]
    assert accepted.count(False) == (3 if policy is Policy.REJECT else 0)
    assert (taken(box), box.dropped) == (kept, 5 - len(kept))


def test_mailbox_needs_room_for_one():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Mailbox(Policy.REJECT, 0)


@given(
    st.sampled_from(list(Policy)),
    st.integers(1, 5),
    st.lists(st.none() | st.integers(1, 99), max_size=60),
)
def test_nothing_is_lost_uncounted_nor_reordered(policy, capacity, steps):
    box: Mailbox[int] = Mailbox(policy, capacity)
    given_items, got = [], []
    for item in steps:
        if item is None:
            got += [one for one in (box.take(),) if one is not None]
        else:
            given_items.append(item)
            box.put(item)
        assert len(box) <= capacity
    got += taken(box)
    remaining = iter(given_items)
    assert all(item in remaining for item in got)
    assert len(got) + box.dropped == len(given_items)
