# SPDX-License-Identifier: Apache-2.0
"""Who is asked, waited for and reported missing: the plan of rounds on literal times."""

from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.errors import Reason
from fodc_proxy.queries.plan import (
    ARRIVED_MS,
    ASKED_AT_ONCE,
    REPEAT_AFTER_MS,
    Ask,
    Deliver,
    Finished,
    Latest,
    Lost,
    RoundPlan,
    Target,
    Window,
)

A, B = Target("a", "metrics"), Target("b", "metrics")


def begin(plan, want, targets, now_ms=0, *, parallel=0, deadline_ms=10_000):
    return plan.begin(
        want,
        targets,
        now_ms,
        patience_ms=10_000,
        deadline_ms=now_ms + deadline_ms,
        parallel=parallel,
    )


def asks(effects):
    return [(e.target.agent_id, e.ask_id) for e in effects if isinstance(e, Ask)]


def lost(effects):
    return [(e.round_id, e.agent_id, e.reason) for e in effects if isinstance(e, Lost)]


def test_m07_round_without_agents_ends_at_once():
    assert begin(RoundPlan(), Latest(), []) == (1, [Finished(1)])


def test_m08_round_ends_with_its_last_answer():
    plan = RoundPlan()

    _, effects = begin(plan, Latest(), [A, B])

    assert asks(effects) == [("a", 1), ("b", 2)]
    assert plan.answered(A, 1, 5) == [Deliver(1, "a")]
    assert plan.answered(B, 2, 6) == [Deliver(1, "b"), Finished(1)]
    assert len(plan) == 0


def test_a_large_fleet_is_asked_some_agents_at_a_time_whoever_has_answered():
    plan, fleet = RoundPlan(), [Target(str(number), "metrics") for number in range(40)]

    _, first = begin(plan, Latest(), fleet)
    answered = plan.answered(fleet[0], 1, 5)
    turns = [asks(first)]
    while plan.is_asking:
        turns.append(asks(plan.ask_on(6)))

    assert answered == [Deliver(1, "0")]
    assert [agent for turn in turns for agent, _ in turn] == [target.agent_id for target in fleet]
    assert {len(turn) for turn in turns} == {ASKED_AT_ONCE}


def test_a_round_with_a_limit_asks_nobody_beyond_it_however_often_it_may_go_on():
    plan, fleet = RoundPlan(), [Target(str(number), "metrics") for number in range(40)]

    _, first = begin(plan, Latest(), fleet, parallel=2)

    assert len(asks(first)) == 2
    assert (plan.is_asking, plan.ask_on(1)) == (False, [])


def test_m12_command_that_cannot_be_sent_costs_only_that_agent():
    plan = RoundPlan()
    begin(plan, Latest(), [A, B])

    assert lost(plan.failed(A, 1, "AgentGone", "no stream", 1)) == [(1, "a", "AgentGone")]
    assert plan.answered(B, 2, 2)[-1] == Finished(1)


def test_m13_silent_agent_costs_the_deadline_once():
    plan = RoundPlan()
    begin(plan, Latest(), [A, B])
    plan.answered(B, 2, 100)

    assert plan.next_wake_ms() == 10_000
    assert plan.expire(9_999) == []
    effects = plan.expire(10_000)
    assert lost(effects) == [(1, "a", Reason.DEADLINE_EXCEEDED)]
    assert effects[-1] == Finished(1)

    # It is not waited for in the next round, and not asked twice at a time.
    _, effects = begin(plan, Latest(), [A, B], 11_000)
    assert asks(effects) == [("b", 3)]
    assert lost(effects) == [(2, "a", Reason.DEADLINE_EXCEEDED)]
    assert plan.answered(B, 3, 11_001)[-1] == Finished(2)


def test_late_answer_goes_to_nobody_and_makes_the_agent_waited_for_again():
    plan = RoundPlan()
    begin(plan, Latest(), [A])
    plan.expire(10_000)

    assert plan.answered(A, 1, 15_000) == []
    assert plan.late_answers == 1
    _, effects = begin(plan, Latest(), [A], 16_000)
    assert asks(effects) == [("a", 2)]
    assert lost(effects) == []


def test_slow_agent_is_asked_again_after_a_while():
    plan = RoundPlan()
    begin(plan, Latest(), [A])
    plan.expire(10_000)

    _, effects = begin(plan, Latest(), [A], REPEAT_AFTER_MS)

    assert asks(effects) == [("a", 2)]
    assert lost(effects) == [(2, "a", Reason.DEADLINE_EXCEEDED)]
    assert plan.answered(A, 2, REPEAT_AFTER_MS + 1) == []
    assert asks(begin(plan, Latest(), [A], REPEAT_AFTER_MS + 2)[1]) == [("a", 3)]


def test_second_answer_to_one_command_is_dropped_and_counted():
    plan = RoundPlan()
    begin(plan, Latest(), [A])
    plan.answered(A, 1, 1)

    assert plan.answered(A, 1, 2) == []
    assert plan.unasked_answers == 1


def test_rounds_that_want_the_same_share_the_command_in_flight():
    plan = RoundPlan()
    begin(plan, Latest(), [A, B])

    _, effects = begin(plan, Latest(), [A], 10)

    assert effects == []
    assert plan.answered(A, 1, 20) == [Deliver(1, "a"), Deliver(2, "a"), Finished(2)]


def test_another_want_of_the_same_stream_waits_for_its_turn():
    plan = RoundPlan()
    window = Window(1, 2)
    begin(plan, Latest(), [A])

    _, effects = begin(plan, window, [A], 5)
    assert effects == []
    assert plan.outstanding(A) == (1, Latest())
    assert plan.answered(A, 1, 10) == [Deliver(1, "a"), Ask(A, 2, window), Finished(1)]
    assert plan.answered(A, 2, 20) == [Deliver(2, "a"), Finished(2)]


def test_m01_gone_agent_is_missing_in_every_round_at_once():
    plan = RoundPlan()
    begin(plan, Latest(), [A])
    begin(plan, Window(1, 2), [A, B])

    effects = plan.gone("a", "AgentGone", "cut", 5)

    assert lost(effects) == [(1, "a", "AgentGone"), (2, "a", "AgentGone")]
    assert plan.outstanding(A) is None
    assert plan.gone("a", "AgentGone", "cut", 6) == []


def test_few_at_a_time_are_asked_when_the_round_says_so():
    plan = RoundPlan()
    _, effects = begin(plan, Latest(), [A, B], parallel=1)

    assert asks(effects) == [("a", 1)]
    assert asks(plan.answered(A, 1, 1)) == [("b", 2)]
    assert plan.answered(B, 2, 2)[-1] == Finished(1)


def test_round_that_is_over_reports_those_that_were_not_asked_in_time():
    plan = RoundPlan()
    begin(plan, Latest(), [A, B], parallel=1, deadline_ms=5_000)

    effects = plan.expire(5_000)

    assert {agent for _, agent, _ in lost(effects)} == {"a", "b"}
    assert effects[-1] == Finished(1)


def test_agent_named_twice_is_asked_once():
    plan = RoundPlan()

    assert asks(begin(plan, Latest(), [A, A])[1]) == [("a", 1)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "window", "answer", "fail", "gone", "expire"]),
        st.sampled_from([A, B]),
        st.integers(0, 20_000),
    ),
    max_size=60,
)


@given(STEPS)
def test_any_course_gives_each_round_each_agent_exactly_once(steps):
    plan = RoundPlan()
    outcome: dict[int, list[str]] = {}
    finished: list[int] = []
    out: dict[str, list[int]] = {"a": [], "b": []}
    now_ms = 0

    def note(effects):
        for effect in effects:
            match effect:
                case Deliver() | Lost():
                    outcome[effect.round_id].append(effect.agent_id)
                case Finished():
                    finished.append(effect.round_id)
                case Ask():
                    out[effect.target.agent_id].append(effect.ask_id)

    for what, target, pause_ms in steps:
        now_ms += pause_ms
        if what in {"begin", "window"}:
            want = Latest() if what == "begin" else Window(1, 2)
            outcome[plan._next_round + 1] = []
            _, effects = begin(plan, want, [A, B], now_ms)
            note(effects)
        elif what == "expire":
            note(plan.expire(now_ms))
        elif what == "gone":
            note(plan.gone(target.agent_id, "AgentGone", "", now_ms))
        else:
            known = plan.outstanding(target)
            if known is not None and what == "answer":
                note(plan.answered(target, known[0], now_ms))
            elif known is not None:
                note(plan.failed(target, known[0], "NodeError", "", now_ms))
    note(plan.expire(now_ms + 400_000))

    assert len(plan) == 0
    assert sorted(finished) == sorted(outcome)
    assert all(sorted(agents) == ["a", "b"] for agents in outcome.values())


def test_p30_answer_that_has_arrived_is_waited_for_while_the_proxy_is_busy():
    """The first scrape of 100 agents was partial: their answers lay unread when time was over."""
    plan = RoundPlan()
    begin(plan, Latest(), [A, B])

    plan.arrived(A, 9_000)
    effects = plan.expire(10_000)

    assert lost(effects) == [(1, "b", Reason.DEADLINE_EXCEEDED)]
    assert plan.next_wake_ms() == 9_000 + ARRIVED_MS
    assert plan.answered(A, 1, 20_000) == [Deliver(1, "a"), Finished(1)]


def test_p30_answer_that_arrives_without_end_gains_time_once():
    plan = RoundPlan()
    begin(plan, Latest(), [A])

    plan.arrived(A, 9_000)
    plan.arrived(A, 9_000 + ARRIVED_MS - 1)

    assert lost(plan.expire(9_000 + ARRIVED_MS)) == [(1, "a", Reason.DEADLINE_EXCEEDED)]
