# SPDX-License-Identifier: Apache-2.0
"""What holds for every pod: nobody else is changed, nothing gets worse, twice is like once."""

import copy
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_webhook.inject import marks
from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.outcome import Outcome
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.inject.revision import revision_of
from fodc_webhook.resources.fodc_injection import Policy
from fodc_webhook.resources.quantities import parse_quantity
from tests.webhook.generated_pods import namespaces, pods, policies, servers
from tests.webhook.patching import applied

EXAMPLES = 40
CRASH_VARIABLES = {"BYDB_PANIC_DIAGNOSTICS_ENABLED", "BYDB_PANIC_DIAGNOSTICS_DIR"}


def everyone(pod: Any, place: str) -> list[Any]:
    return [one for one in pod["spec"].get(place) or [] if one["name"] != marks.AGENT_CONTAINER]


def all_of(pod: Any) -> list[Any]:
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def without_what_a_policy_may_ask(container: Any) -> Any:
    """The container without shared directories and the two variables for crashes."""
    result = copy.deepcopy(container)
    for name, is_asked in (
        ("volumeMounts", lambda one: one["name"].startswith("fodc-shared-")),
        ("env", lambda one: one["name"] in CRASH_VARIABLES),
    ):
        result[name] = [one for one in result.get(name) or [] if not is_asked(one)]
    return result


# ---- nobody is hurt ---------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), servers, namespaces)
def test_no_other_container_changes_but_for_what_the_policy_asks(
    pod: Any, policy: Policy, server: Any, namespace: Any
) -> None:
    came = copy.deepcopy(pod)

    made = inject(pod, policy, server, namespace)

    assert pod == came
    shared = bool(policy.shared_directories)
    for place in ("initContainers", "containers"):
        before, after = everyone(pod, place), everyone(made.pod, place)
        if shared:
            before = list(map(without_what_a_policy_may_ask, before))
            after = list(map(without_what_a_policy_may_ask, after))
        assert after == before
    changed = [one for one in everyone(made.pod, "containers") if one not in all_of(pod)]
    assert len(changed) <= 1


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), servers, namespaces)
def test_of_the_pod_itself_nothing_else_changes(
    pod: Any, policy: Policy, server: Any, namespace: Any
) -> None:
    after = inject(pod, policy, server, namespace).pod

    ours = {"containers", "initContainers", "volumes", "shareProcessNamespace", "resources"}
    rest = {name: value for name, value in pod["spec"].items() if name not in ours}
    assert {name: value for name, value in after["spec"].items() if name not in ours} == rest
    kept = {one["name"]: one for one in after["spec"].get("volumes") or []}
    for volume in pod["spec"].get("volumes") or []:
        assert volume["name"].startswith("fodc-agent-") or kept[volume["name"]] == volume


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), servers, namespaces)
def test_twice_is_as_good_as_once(pod: Any, policy: Policy, server: Any, namespace: Any) -> None:
    once = inject(pod, policy, server, namespace)

    twice = inject(once.pod, policy, server, namespace)

    assert twice == once
    assert json_patch(once.pod, twice.pod) == []


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), policies(), servers, namespaces)
def test_an_agent_of_another_revision_is_renewed_where_it_stands(
    pod: Any, old: Policy, new: Policy, server: Any, namespace: Any
) -> None:
    before = inject(pod, old, server, namespace)

    made = inject(before.pod, new, server, namespace)

    assert inject(made.pod, new, server, namespace) == made
    if before.outcome is made.outcome is Outcome.INJECTED:
        assert made.pod["metadata"]["annotations"][marks.REVISION] == revision_of(new)
        if before.mode is made.mode:
            names = [one["name"] for one in all_of(made.pod)]
            assert names == [one["name"] for one in all_of(before.pod)]


# ---- the pod that comes out can be created ----------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), servers, namespaces)
def test_the_pod_that_comes_out_is_consistent(
    pod: Any, policy: Policy, server: Any, namespace: Any
) -> None:
    """What an API server checks: names once, mounts of volumes that exist, requests in limits."""
    made = inject(pod, policy, server, namespace)
    if made.outcome is not Outcome.INJECTED:
        return

    spec = made.pod["spec"]
    names = [one["name"] for one in all_of(made.pod)]
    assert names.count(marks.AGENT_CONTAINER) == 1
    volumes = [one["name"] for one in spec["volumes"]]
    assert len(volumes) == len(set(volumes))
    (agent,) = [one for one in all_of(made.pod) if one["name"] == marks.AGENT_CONTAINER]
    if agent.get("image", "").startswith("banyandb-fodc-agent"):
        places = [one["mountPath"] for one in agent["volumeMounts"]]
        assert len(places) == len(set(places))
        # A mount of a volume that the pod never had is refused with or without us.
        theirs = {mount["name"] for one in all_of(pod) for mount in one.get("volumeMounts") or ()}
        assert {one["name"] for one in agent["volumeMounts"]} <= {*volumes, *theirs}
    for name, asked in agent.get("resources", {}).get("requests", {}).items():
        limit = parse_quantity(agent["resources"].get("limits", {}).get(name))
        assert limit is None or (parse_quantity(asked) or 0) <= limit
    assert not (spec.get("hostPID") and not pod["spec"].get("shareProcessNamespace")) or not (
        spec.get("shareProcessNamespace")
    )


# ---- the class of the pod ---------------------------------------------------------------------

RANKS = ("BestEffort", "Burstable", "Guaranteed")


def amounts(resources: Any, place: str) -> dict[str, Fraction]:
    given_ = (resources or {}).get(place) or {}
    found = {name: parse_quantity(given_.get(name)) for name in ("cpu", "memory")}
    return {name: amount for name, amount in found.items() if amount}


def defaulted(resources: Any) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
    limits = amounts(resources, "limits")
    return {**limits, **amounts(resources, "requests")}, limits


def quality(pod: Any) -> str:
    """The class as Kubernetes reckons it (component-helpers, qos), the pod's own part first."""
    whole = defaulted(pod["spec"].get("resources"))
    each = [whole] if any(whole) else [defaulted(one.get("resources")) for one in all_of(pod)]
    if not any(requests or limits for requests, limits in each):
        return "BestEffort"
    even = all(len(limits) == 2 and requests == limits for requests, limits in each)
    return "Guaranteed" if even else "Burstable"


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), servers, namespaces)
def test_the_class_of_a_pod_never_gets_worse(
    pod: Any, policy: Policy, server: Any, namespace: Any
) -> None:
    agents = [one for one in all_of(pod) if one["name"] == marks.AGENT_CONTAINER]
    made = inject(pod, policy, server, namespace)

    if not agents:
        assert RANKS.index(quality(made.pod)) >= RANKS.index(quality(pod))


def disk_limit(pod: Any) -> Fraction | None:
    """What the kubelet compares a pod's use of local disk with (component-helpers, PodLimits)."""

    def of(container: Any) -> Fraction:
        found = ((container.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        return parse_quantity(found) or Fraction(0)

    if not any(map(of, all_of(pod))):
        return None
    running, peak = sum(map(of, pod["spec"]["containers"]), Fraction(0)), Fraction(0)
    natives = Fraction(0)
    for one in pod["spec"].get("initContainers") or []:
        if one.get("restartPolicy") == "Always":
            natives += of(one)
        peak = max(peak, natives if one.get("restartPolicy") == "Always" else natives + of(one))
    return max(running + natives, peak)


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), servers, namespaces)
def test_the_databases_share_of_local_disk_stays_what_it_was(
    pod: Any, policy: Policy, server: Any, namespace: Any
) -> None:
    if any(one["name"] == marks.AGENT_CONTAINER for one in all_of(pod)):
        return
    made = inject(pod, policy, server, namespace)
    before, after = disk_limit(pod), disk_limit(made.pod)

    if before is None or made.outcome is not Outcome.INJECTED:
        assert after == before
        return
    ours = [
        parse_quantity(one["emptyDir"]["sizeLimit"]) or Fraction(0)
        for one in made.pod["spec"]["volumes"]
        if one not in (pod["spec"].get("volumes") or []) and "emptyDir" in one
    ]
    assert after is not None
    assert after - before >= sum(ours)


@settings(max_examples=EXAMPLES)
@given(pods(), policies(), servers, namespaces, st.booleans())
def test_the_patch_of_an_injection_gives_the_pod(
    pod: Any, policy: Policy, server: Any, namespace: Any, again: bool
) -> None:
    before = inject(pod, policy, (1, 34), {}).pod if again else pod

    after = inject(before, policy, server, namespace).pod

    assert applied(json_patch(before, after), before) == after
