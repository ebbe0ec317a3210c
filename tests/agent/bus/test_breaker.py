# SPDX-License-Identifier: Apache-2.0
"""The rules of the breaker (T-WD-12, T-WD-13)."""

from fodc_agent.bus.breaker import Breaker, BreakerState


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
