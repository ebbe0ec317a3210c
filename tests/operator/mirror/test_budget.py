# SPDX-License-Identifier: Apache-2.0
"""Which nodes are written when: on literal seconds, and as a property of any course of events."""

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_operator.mirror.budget import Budget, Key, Outcome, Rules
from fodc_protocol.errors import BadRequestError

A, B, C = ("ns", "a"), ("ns", "b"), ("ns", "c")


def budget(chance: float = 0.0, **rules: float) -> Budget:
    return Budget(Rules(**rules), lambda: chance)


def written(one: Budget, key: Key, now_s: float, **more: int) -> None:
    assert one.take(now_s, 1) == [key]
    one.done(key, Outcome.WRITTEN, now_s, **more)


def test_news_is_due_at_once_and_only_once() -> None:
    one = budget()
    one.note(A, 10.0)
    one.note(A, 10.0)

    assert one.wait_s(10.0) == 0.0
    assert one.take(10.0, 5) == [A]
    assert one.take(10.0, 5) == []


def test_a_written_node_is_refreshed_after_the_interval_and_its_jitter() -> None:
    one = budget(chance=0.5, refresh_s=60.0, jitter=0.2)
    one.note(A, 0.0)
    written(one, A, 0.0)

    assert one.take(65.9, 5) == []
    assert one.wait_s(10.0) == 56.0
    assert one.take(66.0, 5) == [A]


def test_beyond_240_nodes_each_is_refreshed_less_often_and_not_with_all_others() -> None:
    assert [Rules().refresh_of_s(nodes) for nodes in (1, 240, 241, 1000)] == [60, 60, 60.25, 250]
    chances = (number / 60 for number in range(60))
    one = Budget(Rules(refresh_s=60.0, refreshes_per_s=0.5), lambda: next(chances))
    for number in range(60):
        one.note(("ns", f"node-{number}"), 0.0)
    for key in one.take(0.0, 60):
        one.done(key, Outcome.WRITTEN, 0.0)

    # Of one written first 60 s later, of the others within the next 132 s.
    assert len(one.take(60.0, 100)) == 1
    assert [len(one.take(now_s, 100)) for now_s in (104.0, 148.0, 192.0)] == [20, 20, 19]


def test_news_of_a_node_that_waits_for_its_refresh_is_due_at_once() -> None:
    one = budget()
    one.note(A, 0.0)
    written(one, A, 0.0)
    one.note(A, 7.0)

    assert one.take(7.0, 5) == [A]


def test_news_that_comes_during_the_write_is_written_after_it() -> None:
    one = budget()
    one.note(A, 0.0)
    assert one.take(0.0, 1) == [A]
    one.note(A, 0.5)
    assert one.take(0.5, 1) == []
    one.done(A, Outcome.WRITTEN, 1.0)

    assert one.take(1.0, 1) == [A]


def test_a_failed_node_is_tried_again_later_and_later_up_to_a_minute() -> None:
    one = budget(chance=1.0, first_retry_s=1.0, longest_retry_s=60.0)
    one.note(A, 0.0)
    waits, now_s = [], 0.0
    for _ in range(8):
        assert one.take(now_s, 1) == [A]
        one.done(A, Outcome.FAILED, now_s)
        waits.append(one.wait_s(now_s))
        now_s += waits[-1]

    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_an_unchanged_node_costs_nothing() -> None:
    one = budget(writes_per_s=1.0, burst=2.0)
    for key in (A, B, C):
        one.note(key, 0.0)
    taken = []
    for _ in range(3):
        taken += one.take(0.0, 1)
        one.done(taken[-1], Outcome.UNCHANGED, 0.0)

    assert taken == [A, B, C]


def test_a_node_that_took_two_calls_pays_for_both() -> None:
    one = budget(writes_per_s=1.0, burst=2.0)
    one.note(A, 0.0)
    one.note(B, 0.0)
    written(one, A, 0.0, calls=2)

    assert one.take(0.0, 5) == []
    assert one.wait_s(0.0) == 1.0
    assert one.take(1.0, 5) == [B]


def test_refreshes_leave_half_of_the_tokens_to_news() -> None:
    one = budget(refresh_s=60.0, writes_per_s=1.0, burst=4.0)
    for number in range(4):
        one.keep(("ns", f"old-{number}"), 0.0)

    assert len(one.take(0.0, 9)) == 2
    for key in (A, B):
        one.note(key, 0.0)
    assert one.take(0.0, 9) == [A, B]
    assert one.take(0.0, 9) == []


def test_nodes_that_were_there_before_are_refreshed_spread_over_the_interval() -> None:
    chances = iter([0.0, 0.5, 0.25])
    one = Budget(Rules(refresh_s=60.0), lambda: next(chances))
    for key in (A, B, C):
        one.keep(key, 100.0)

    assert one.take(100.0, 9) == [A]
    assert one.take(115.0, 9) == [C]
    assert one.take(130.0, 9) == [B]


def test_a_forgotten_node_is_not_written() -> None:
    one = budget()
    one.note(A, 0.0)
    one.forget(A)

    assert (one.take(0.0, 9), len(one), one.wait_s(0.0)) == ([], 0, 60.0)


def test_what_is_forgotten_during_its_write_is_no_trouble() -> None:
    one = budget()
    one.note(A, 0.0)
    one.take(0.0, 1)
    one.forget(A)
    one.done(A, Outcome.FAILED, 1.0)

    assert one.take(100.0, 9) == []


def test_a_thousand_nodes_cause_at_most_twenty_writes_per_second_for_long() -> None:
    chance = random.Random(7)
    one = Budget(Rules(), chance.random)
    for number in range(1000):
        one.note(("ns", f"pod-{number}"), 0.0)
    writes: dict[int, int] = defaultdict(int)
    now_s = 0.0
    while now_s < 600.0:
        for key in one.take(now_s, 8):
            writes[int(now_s // 60)] += 1
            one.done(key, Outcome.WRITTEN, now_s)
        now_s += max(one.wait_s(now_s), 0.001)

    assert writes[0] <= 20 * 60 + 100
    assert max(count for minute, count in writes.items() if minute > 0) <= 20 * 60
    # Nobody is forgotten, and refreshes are four in a second.
    assert 600 * 4 * 0.7 <= sum(writes.values()) <= 1000 + 600 * 4 * 1.3
    assert max(count for minute, count in writes.items() if minute > 0) <= 60 * 4 * 1.6


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"refresh_s": 0.0}, "--status-refresh must be greater than 0"),
        ({"writes_per_s": 0.0}, "--status-writes-per-s must be greater than 0"),
    ],
)
def test_rules_that_cannot_work_are_refused_by_flag(rules: dict[str, float], words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        Rules(**rules)

    assert caught.value.message == words


steps = st.lists(
    st.tuples(
        st.sampled_from(["note", "keep", "forget", "take"]),
        st.integers(0, 9),
        st.floats(0.0, 5.0),
        st.sampled_from(list(Outcome)),
    ),
    max_size=200,
)


@given(steps, st.floats(0.0, 0.999))
@settings(max_examples=150)
def test_no_node_is_in_flight_twice_and_the_rate_holds_whatever_happens(
    course: list[tuple[str, int, float, Outcome]], chance: float
) -> None:
    rules = Rules(refresh_s=10.0, writes_per_s=2.0, burst=6.0)
    one = Budget(rules, lambda: chance)
    in_flight: dict[Key, float] = {}
    now_s, paid = 0.0, 0
    for what, number, pause_s, outcome in course:
        now_s += pause_s
        key = ("ns", str(number))
        if what == "take":
            for taken in one.take(now_s, 4):
                assert taken not in in_flight
                in_flight[taken] = now_s
                paid += 1
            for taken in sorted(in_flight)[:2]:
                del in_flight[taken]
                paid -= outcome is Outcome.UNCHANGED
                one.done(taken, outcome, now_s)
        elif what == "forget" and key not in in_flight:
            one.forget(key)
        elif what != "forget":
            getattr(one, what)(key, now_s)
        assert paid <= rules.burst + rules.writes_per_s * now_s + 1e-6
        assert 0.0 <= one.wait_s(now_s) <= 60.0
