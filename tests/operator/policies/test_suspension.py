# SPDX-License-Identifier: Apache-2.0
"""When a policy gives no more agents, and when it does again."""

from typing import Any

from fodc_kube.conditions import Condition
from fodc_operator.policies.agent_state import AgentState, Block, Start
from fodc_operator.policies.suspension import Rules, Sighting, agents_start, shown_by_pods
from fodc_webhook.inject.suspended import is_suspended
from tests.operator.policies.standing_pods import NOON_MS, at

RULES = Rules(patience_ms=30_000, probe_ms=900_000)


def ms(seconds: float) -> int:
    return NOON_MS + round(seconds * 1000)


def condition(
    status: str = "", reason: str = "", since_s: float = 0, message: str = "said before"
) -> dict[str, Any]:
    if not status:
        return {}
    return {
        "type": "AgentsStart",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": at(since_s),
        "observedGeneration": 1,
    }


def blocked(
    name: str = "data-0", since_s: float = 0, unready_s: float | None = None, created_s: float = 0
) -> Sighting:
    agent = AgentState(Start.BLOCKED, Block.IMAGE, "ErrImagePull: not found")
    unready = since_s if unready_s is None else unready_s
    return Sighting(name, agent, ms(created_s), ms(since_s), ms(unready))


def started(name: str = "data-1", at_s: float = 0) -> Sighting:
    return Sighting(name, AgentState(Start.STARTED, started_ms=ms(at_s)), ms(at_s))


def starting(name: str = "data-2", created_s: float = 0) -> Sighting:
    return Sighting(name, AgentState(Start.STARTING), ms(created_s))


def next_of(
    before: dict[str, Any], *seen: Sighting, now_s: float, is_changed: bool = False
) -> tuple[str, str]:
    found = agents_start(before, seen, is_changed=is_changed, now_ms=ms(now_s), rules=RULES)
    return found.status, found.reason


def test_nothing_is_known_before_an_agent_has_started() -> None:
    assert next_of({}, now_s=0) == ("Unknown", "NoAgentYet")
    assert next_of({}, starting(), now_s=0) == ("Unknown", "NoAgentYet")


def test_agents_start_once_one_has_started() -> None:
    assert next_of({}, started(), now_s=0) == ("True", "AgentsStart")


def test_a_blocked_agent_is_borne_for_30_seconds_and_suspends_then() -> None:
    before = condition("True", "AgentsStart", -600)

    assert next_of(before, started(at_s=-600), blocked(), now_s=29.9) == ("True", "AgentsStart")
    assert next_of(before, started(at_s=-600), blocked(), now_s=30) == (
        "False",
        "AgentImageUnavailable",
    )


def test_the_message_names_pods_and_cause() -> None:
    told = agents_start({}, [blocked()], is_changed=False, now_ms=ms(60), rules=RULES)
    assert told == Condition(
        "AgentsStart",
        "False",
        "AgentImageUnavailable",
        "no more pods get an agent: it does not start in data-0: ErrImagePull: not found",
    )


def test_many_blocked_pods_are_counted() -> None:
    several = [blocked(f"data-{number}") for number in range(5)]
    told = agents_start({}, several, is_changed=False, now_ms=ms(60), rules=RULES)

    assert "in data-0, data-1, data-2 and 2 more:" in told.message


def test_a_true_condition_stays_while_nothing_new_is_learned() -> None:
    before = condition("True", "AgentsStart", -600)

    assert next_of(before, now_s=0) == ("True", "AgentsStart")
    assert next_of(before, starting(), now_s=0) == ("True", "AgentsStart")
    assert next_of(before, starting(), now_s=0, is_changed=True) == ("Unknown", "NoAgentYet")


def test_a_suspension_ends_when_an_agent_starts_after_it_began() -> None:
    before = condition("False", "AgentImageUnavailable", 30)

    assert next_of(before, started(at_s=29), now_s=60) == ("False", "AgentImageUnavailable")
    assert next_of(before, started(at_s=30), now_s=60) == ("True", "AgentsStartAgain")


def test_a_pod_that_is_still_stuck_does_not_suspend_again_after_another_one_started() -> None:
    after = condition("True", "AgentsStartAgain", 700)
    stuck = blocked("data-0", since_s=0)

    assert next_of(after, started(at_s=690), stuck, now_s=800) == ("True", "AgentsStartAgain")
    assert next_of(after, stuck, now_s=800) == ("True", "AgentsStartAgain")
    # The operator was restarted: it sees the pod as blocked from now on, its status knows better.
    again = blocked("data-0", since_s=800, unready_s=0)
    assert next_of(after, again, now_s=900) == ("True", "AgentsStartAgain")


def test_another_pod_that_is_stuck_later_suspends_again() -> None:
    after = condition("True", "AgentsStartAgain", 700)

    assert next_of(after, started(at_s=690), blocked("data-2", 750), now_s=780) == (
        "False",
        "AgentImageUnavailable",
    )


def test_a_changed_spec_or_revision_ends_a_suspension() -> None:
    before = condition("False", "AgentImageUnavailable", 30)

    assert next_of(before, now_s=60, is_changed=True) == ("Unknown", "SpecChanged")


def test_pods_stuck_with_the_old_spec_do_not_suspend_the_new_one() -> None:
    before = condition("Unknown", "SpecChanged", 100)

    assert next_of(before, blocked(since_s=0), now_s=200) == ("Unknown", "SpecChanged")
    assert next_of(before, blocked("data-1", 110), now_s=140) == ("False", "AgentImageUnavailable")
    assert next_of(before, started(at_s=110), now_s=140) == ("True", "AgentsStartAgain")


def test_an_agent_of_the_new_spec_that_started_before_the_operator_heard_of_it_counts() -> None:
    before = condition("Unknown", "SpecChanged", 100)

    assert next_of(before, started(at_s=98), now_s=101) == ("True", "AgentsStartAgain")


def test_after_15_minutes_one_pod_is_tried_when_none_waits_any_more() -> None:
    before = condition("False", "AgentImageUnavailable", 0)

    assert next_of(before, now_s=899) == ("False", "AgentImageUnavailable")
    assert next_of(before, now_s=900) == ("Unknown", "Trial")
    # A pod that waits is the trial: its kubelet tries all the time.
    assert next_of(before, blocked(), now_s=900) == ("False", "AgentImageUnavailable")
    assert next_of(before, starting(), now_s=900) == ("False", "AgentImageUnavailable")


def test_a_trial_gives_one_pod_an_agent_and_no_other_until_it_is_known() -> None:
    trial = condition("Unknown", "Trial", 900)
    assert next_of(trial, now_s=5000) == ("Unknown", "Trial")
    assert next_of(trial, starting(created_s=950), now_s=951) == ("False", "AgentOnTrial")

    on_trial = condition("False", "AgentOnTrial", 951)
    assert next_of(on_trial, starting(created_s=950), now_s=960) == ("False", "AgentOnTrial")
    assert next_of(on_trial, started(at_s=955), now_s=960) == ("True", "AgentsStartAgain")
    assert next_of(on_trial, blocked(since_s=952), now_s=982) == ("False", "AgentImageUnavailable")


def test_a_trial_that_starts_before_it_is_seen_ends_the_suspension() -> None:
    trial = condition("Unknown", "Trial", 900)

    assert next_of(trial, started(at_s=910), now_s=911) == ("True", "AgentsStartAgain")


def body(generation: int = 1, **told: Any) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "status": {"conditions": [condition(**told)]}}


# ---- a new leader -------------------------------------------------------------------------------


def begins(*seen: Sighting, left_out_s: float) -> tuple[str, str]:
    found = shown_by_pods(seen, left_out_ms=ms(left_out_s), now_ms=ms(900), generation=1)
    return found.get("status", ""), found.get("reason", "")


def test_a_leader_that_sees_no_pod_left_out_knows_of_no_suspension() -> None:
    assert shown_by_pods([blocked()], left_out_ms=0, now_ms=ms(900), generation=1) == {}


def test_a_leader_that_sees_a_pod_left_out_and_one_held_up_goes_on_suspending() -> None:
    assert begins(blocked(), started(at_s=-60), left_out_s=60) == ("False", "AgentImageUnavailable")


def test_a_leader_that_sees_a_pod_left_out_and_none_held_up_tries_the_next_one() -> None:
    assert begins(left_out_s=60) == ("Unknown", "Trial")
    assert begins(starting(), started(at_s=-60), left_out_s=60) == ("Unknown", "Trial")


def test_a_leader_that_sees_an_agent_that_started_since_knows_that_agents_start() -> None:
    assert begins(started(at_s=120), left_out_s=60) == ("", "")


# ---- the webhook --------------------------------------------------------------------------------


def test_the_webhook_hears_why_a_policy_is_suspended() -> None:
    one = body(status="False", reason="AgentImageUnavailable", message="no image")

    assert is_suspended(one) == "AgentImageUnavailable: no image"


def test_the_webhook_gives_agents_while_nothing_is_known_against_it() -> None:
    assert is_suspended({"metadata": {"generation": 1}}) == ""
    assert is_suspended(body(status="True", reason="AgentsStart")) == ""
    assert is_suspended(body(status="Unknown", reason="Trial")) == ""


def test_a_changed_spec_ends_a_suspension_before_the_status_follows() -> None:
    assert is_suspended(body(2, status="False", reason="AgentImageUnavailable")) == ""


def test_that_a_pod_fits_on_no_node_is_borne_four_times_as_long() -> None:
    """A node may be on its way."""
    agent = AgentState(Start.BLOCKED, Block.ROOM, "the pod fits on no node")
    one = Sighting("data-0", agent, ms(0), ms(0), ms(0))

    assert next_of({}, one, now_s=119)[0] != "False"
    assert next_of({}, one, now_s=120) == ("False", "AgentDoesNotFit")
