# SPDX-License-Identifier: Apache-2.0
"""The status of a FodcInjection, and which Events a change of it is worth."""

from typing import Any

from fodc_kube.conditions import Condition
from fodc_operator.policies.policy_status import (
    Facts,
    Happened,
    between,
    known,
    patch_of,
    status_of,
    unreadable_status,
)
from fodc_operator.policies.pull_secrets import Sight, said_of
from fodc_operator.policies.standing import Remote, Standing, standings
from fodc_webhook.inject import marks
from tests.operator.policies.standing_pods import (
    NOON,
    NOON_MS,
    REVISION,
    at,
    injected,
    pod,
    policy,
    running,
    scene,
    stuck,
    unschedulable,
    view,
    waiting,
)

START = Condition("AgentsStart", "True", "AgentsStart", "agents of this policy start")
SUSPENDED = Condition("AgentsStart", "False", "AgentImageUnavailable", "no image")


def facts(now_s: float = 0, **more: Any) -> Facts:
    told: dict[str, Any] = {
        "agents_start": START,
        "remote": Remote(),
        "pull_secrets": said_of({}, "banyandb"),
    }
    return Facts(2, NOON_MS + round(now_s * 1000), **{**told, **more})


def standing(*pods: dict[str, Any], paused: bool = False) -> Standing:
    return standings(pods, scene(view(policy(paused=paused))))["banyandb"]


def said(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {
        one["type"]: (one["status"], one["reason"], one["message"]) for one in status["conditions"]
    }


def test_the_status_of_a_policy_all_well_in_full() -> None:
    assert status_of(standing(injected()), facts(), {}) == {
        "observedGeneration": 2,
        "matched": 1,
        "injected": 1,
        "upToDate": 1,
        "missing": 0,
        "failed": 0,
        "revision": REVISION,
        "conditions": [
            {
                "type": kind,
                "status": word,
                "observedGeneration": 2,
                "lastTransitionTime": NOON,
                "reason": reason,
                "message": message,
            }
            for kind, word, reason, message in (
                ("Ready", "True", "InForce", "the next pod that is created gets an agent"),
                ("AllInjected", "True", "AllInjected", "no pod misses its agent"),
                (
                    "AllUpToDate",
                    "True",
                    "AllUpToDate",
                    "every agent is what the policy asks for now",
                ),
                ("AgentsStart", "True", "AgentsStart", "agents of this policy start"),
                (
                    "PullSecretsFound",
                    "True",
                    "NoneNamed",
                    "spec.agent.imagePullSecrets names none",
                ),
                (
                    "RemoteAttached",
                    "False",
                    "NotAsked",
                    "spec.attachRemotely does not ask for it",
                ),
                ("CertificateValid", "Unknown", "NoTLS", "agents reach the proxy without TLS"),
            )
        ],
    }


def test_pods_that_are_not_as_they_should_be_are_counted_and_named() -> None:
    optout = pod("d", labels={marks.OPT_IN_LABEL: "disabled"})
    found = status_of(
        standing(injected("a"), injected("b", revision="old"), pod("c"), optout, stuck("e")),
        facts(),
        {},
    )

    counts = ("matched", "injected", "upToDate", "missing", "failed")
    assert [found[name] for name in counts] == [5, 2, 1, 2, 1]
    assert found["pods"] == [
        {
            "name": "e",
            "state": "Failed",
            "reason": "AgentImageUnavailable",
            "message": "the image agent:1 cannot be pulled (spec.agent.image, imagePullSecrets)",
        },
        {
            "name": "c",
            "state": "Missing",
            "reason": "WebhookMissed",
            "message": "the webhook did not hear of the pod; it gets its agent when it is created "
            "anew",
        },
        {
            "name": "d",
            "state": "Skipped",
            "reason": "OptedOut",
            "message": "the pod has the label fodc.banyandb.dev/inject=disabled",
        },
        {
            "name": "b",
            "state": "OutOfDate",
            "reason": "OlderRevision",
            "message": "has revision old; it gets 0123456789 when it is created anew",
        },
    ]
    assert said(found)["AllInjected"] == (
        "False",
        "Missing",
        (
            "2 pods (c, e) of 5 run without a working agent: the image agent:1 cannot be pulled "
            "(spec.agent.image, imagePullSecrets)"
        ),
    )
    assert said(found)["AllUpToDate"] == (
        "False",
        "OutOfDate",
        "1 pod (b) has an older revision and gets the new one when created anew",
    )


def test_at_most_20_pods_are_named() -> None:
    found = status_of(standing(*(pod(f"data-{n:02}") for n in range(30))), facts(), {})

    assert (found["missing"], len(found["pods"]), found["pods"][-1]["name"]) == (30, 20, "data-19")
    assert said(found)["AllInjected"][2] == (
        "30 pods (data-00, data-01, data-02 and 27 more) of 30 run without a working agent: the "
        "webhook did not hear of the pod; it gets its agent when it is created anew"
    )


def test_long_words_of_the_kubelet_are_cut() -> None:
    one = injected("a", waiting("ErrImagePull"))
    one["spec"]["initContainers"][0]["image"] = "x" * 1000
    found = status_of(standing(one), facts(), {})["pods"][0]["message"]

    assert (len(found), found[-1]) == (256, "…")


def test_the_first_words_of_the_kubelet_stay_while_it_alternates() -> None:
    first = status_of(standing(stuck(reason="ErrImagePull")), facts(), {})
    later = status_of(standing(stuck(reason="ImagePullBackOff")), facts(5), first)

    assert later == first


def test_a_status_without_news_is_equal_later() -> None:
    pods = (injected("a"), pod("b"), stuck("c"))
    first = status_of(standing(*pods), facts(), {})

    assert status_of(standing(*pods), facts(3600), first) == first


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    first = status_of(standing(injected()), facts(), {})
    missed = status_of(standing(injected(), pod("b")), facts(60), first)
    times = {one["type"]: one["lastTransitionTime"] for one in missed["conditions"]}

    assert (times["AllInjected"], times["Ready"]) == (at(60), NOON)


def test_ready_says_what_keeps_the_next_pod_from_its_agent() -> None:
    paused = status_of(standing(paused=True), facts(), {})
    suspended = status_of(standing(), facts(agents_start=SUSPENDED), {})

    assert said(paused)["Ready"] == (
        "False",
        "Paused",
        "the policy is paused: pods get no agent",
    )
    assert said(suspended)["Ready"] == ("False", "AgentImageUnavailable", "no image")


def test_pods_that_are_all_skipped_are_not_called_injected() -> None:
    found = status_of(standings([pod()], scene(labels={}))["banyandb"], facts(), {})

    assert said(found)["AllInjected"] == (
        "False",
        "Skipped",
        "1 pod (data-0) left without an agent: NotOptedIn",
    )


def test_a_policy_without_pods_has_none_missing() -> None:
    found = status_of(standing(), facts(), {})

    assert said(found)["AllInjected"] == (
        "True",
        "NoPods",
        "the policy selects no pod that runs",
    )


def test_remote_attachment_is_told_when_it_is_asked_for() -> None:
    remote = Remote("False", "Forbidden", "add the component remote-agent")
    found = status_of(standing(), facts(remote=remote), {})

    assert said(found)["RemoteAttached"] == (
        "False",
        "Forbidden",
        "add the component remote-agent",
    )
    assert said(status_of(standing(), facts(), {}))["RemoteAttached"][:2] == ("False", "NotAsked")


def test_a_policy_that_cannot_be_read_says_which_field() -> None:
    assert unreadable_status("spec.mode: must be one of Auto", 3, NOON_MS, {}) == {
        "observedGeneration": 3,
        "conditions": [
            {
                "type": kind,
                "status": word,
                "observedGeneration": 3,
                "lastTransitionTime": NOON,
                "reason": "BadPolicy",
                "message": "spec.mode: must be one of Auto",
            }
            for kind, word in (
                ("Ready", "False"),
                ("AllInjected", "Unknown"),
                ("AllUpToDate", "Unknown"),
                ("AgentsStart", "Unknown"),
                ("PullSecretsFound", "Unknown"),
                ("RemoteAttached", "Unknown"),
                ("CertificateValid", "Unknown"),
            )
        ],
    }


def test_the_patch_leaves_exactly_this_status() -> None:
    assert patch_of({"matched": 1}) == {
        "status": {
            "observedGeneration": None,
            "matched": 1,
            "injected": None,
            "upToDate": None,
            "missing": None,
            "failed": None,
            "revision": None,
            "pods": None,
            "conditions": None,
        }
    }
    assert known({"matched": 1, "foreign": 2}) == {"matched": 1}


# ---- Events -----------------------------------------------------------------------------------


def test_a_policy_all_well_from_the_start_tells_nothing() -> None:
    assert between({}, status_of(standing(injected()), facts(), {})) == ()


def test_pods_that_are_newly_missed_are_told() -> None:
    found = standing(injected("a"), pod("b"))
    status = status_of(found, facts(), {})

    assert between(status, status, found.missing) == (
        Happened(
            "Missed",
            "without a working agent: b: the webhook did not hear of the pod; it gets its agent "
            "when it is created anew",
            is_warning=True,
        ),
    )
    assert between(status, status) == ()


def test_a_suspension_and_its_end_are_one_event_each() -> None:
    again = Condition(
        "AgentsStart", "True", "AgentsStartAgain", "agents of this policy start again"
    )
    well = status_of(standing(injected()), facts(), {})
    bad = status_of(standing(injected()), facts(agents_start=SUSPENDED), well)
    good = status_of(standing(injected()), facts(agents_start=again), bad)

    assert between(well, bad) == (Happened("AgentImageUnavailable", "no image", is_warning=True),)
    assert between(bad, good) == (
        Happened("AgentsStartAgain", "agents of this policy start again", is_warning=False),
    )


def test_a_trial_is_an_event() -> None:
    bad = status_of(standing(), facts(agents_start=SUSPENDED), {})
    trial = Condition("AgentsStart", "Unknown", "Trial", "the next pod tries")
    found = status_of(standing(), facts(agents_start=trial), bad)

    assert between(bad, found) == (Happened("Trial", "the next pod tries"),)


# ---- what the columns tell ----------------------------------------------------------------------


def test_an_agent_that_does_not_start_counts_as_missing_with_the_reason() -> None:
    """K18: INJECTED 1, MISSING 0 and AllInjected=True, while the database waited in Init."""
    found = status_of(standing(stuck()), facts(), {})

    assert (found["injected"], found["missing"]) == (0, 1)
    assert said(found)["AllInjected"][:2] == ("False", "Missing")
    assert "the image agent:1 cannot be pulled" in said(found)["AllInjected"][2]


def test_a_pod_that_fits_on_no_node_with_its_agent_counts_as_missing() -> None:
    """K18: all conditions said that all was well."""
    found = status_of(standing(unschedulable()), facts(), {})

    assert (found["injected"], found["missing"]) == (0, 1)
    assert found["pods"][0]["reason"] == "AgentDoesNotFit"


def test_an_agent_that_never_registers_counts_as_missing_once_it_had_time() -> None:
    """K18: with TLS that does not fit, READY was True."""
    young = injected("young", running(-30))
    old = injected("old", running(-90))
    known = scene(view(), registered=lambda _policy, _pod: False)
    found = status_of(standings([young, old], known)["banyandb"], facts(), {})

    assert (found["injected"], found["missing"]) == (1, 1)
    assert {one["name"]: one["reason"] for one in found["pods"]} == {
        "old": "NotRegistered",
        "young": "Starting",
    }
    others = scene(view(), registered=lambda _policy, _pod: None)
    assert status_of(standings([old], others)["banyandb"], facts(), {})["missing"] == 0


def test_a_pull_secret_that_is_missing_makes_the_policy_not_ready_and_is_told_once() -> None:
    absent = said_of({"registry": Sight.MISSING}, "banyandb")
    before = status_of(standing(injected()), facts(), {})
    after = status_of(standing(injected()), facts(pull_secrets=absent), before)

    assert said(after)["Ready"][:2] == ("False", "PullSecretMissing")
    assert said(after)["PullSecretsFound"][:2] == ("False", "PullSecretMissing")
    assert [one.reason for one in between(before, after)] == ["PullSecretMissing"]
    assert between(after, after) == ()
