# SPDX-License-Identifier: Apache-2.0
"""From a resource to the proxy: ids, specs, and the nodes that a request may choose from."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_api.values import is_request_id
from fodc_api.words import Phase
from fodc_operator.diagnostics import targets
from fodc_operator.diagnostics.targets import Fleet, KnownNode, NodePhase
from fodc_operator.diagnostics.translate import is_from_resource, proxy_spec, request_id
from fodc_operator.resources.diagnostic_request import Identity, Key, RequestSpec, Target
from fodc_protocol.link import frames
from fodc_protocol.profiles import Profile
from fodc_proxy.captures.model import Capture, Execution
from fodc_proxy.captures.targeting import chosen_targets
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry
from fodc_webhook.resources.label_selector import LabelOperator, LabelSelector, Requirement

HEAP = (Capture("heap", Profile.HEAP, 0),)


def identity(name: str = "slow-queries", uid: str = "u-1") -> Identity:
    return Identity(Key("banyandb", name), uid, 1, 0)


# ---- ids --------------------------------------------------------------------------------------


def test_an_id_holds_the_name_for_people_and_a_mark_of_the_uid():
    assert request_id(identity()) == "slow-queries-ka24a7f55f278"


def test_the_same_object_has_the_same_id_and_one_made_anew_has_another():
    assert request_id(identity()) == request_id(identity())
    assert request_id(identity(uid="u-2")) != request_id(identity())


@given(st.text(min_size=1, max_size=300), st.uuids())
def test_every_id_is_one_that_the_proxy_takes_and_that_we_know_again(name, uid):
    made = request_id(identity(name, str(uid)))
    assert is_request_id(made)
    assert is_from_resource(made)


@pytest.mark.parametrize("other", ["by-hand", "r1", "slow-k12", "slow-kXYZ8c92f05afd"])
def test_ids_of_others_are_not_taken_for_ours(other):
    assert not is_from_resource(other)


# ---- specs ------------------------------------------------------------------------------------


def spec(target: Target) -> RequestSpec:
    return RequestSpec(target, HEAP, Execution(start_deadline_s=300), purpose="INC-1")


def test_what_was_waited_is_taken_off_the_start_deadline():
    given_ = spec(Target(all=True))
    assert proxy_spec(given_, 0).execution.start_deadline_s == 300
    assert proxy_spec(given_, 100.5).execution.start_deadline_s == 200
    assert proxy_spec(given_, 1000).execution.start_deadline_s == 1


def test_a_selector_alone_means_all_nodes_that_are_left():
    """The nodes that it does not choose are marked before, hence nothing is widened."""
    selector = LabelSelector((Requirement("x", LabelOperator.EXISTS),))
    assert proxy_spec(spec(Target(selector=selector)), 0).selector.all
    assert not proxy_spec(spec(Target(selector=selector, names=("a",))), 0).selector.all


# ---- nodes ------------------------------------------------------------------------------------


def fleet(*pods: tuple[str, str], home: str = "banyandb") -> Fleet:
    registry = Registry()
    for pod, namespace in pods:
        identity_ = frames.Identity(pod, namespace=namespace)
        state = frames.NodeState("ROLE_DATA", {"tier": "hot"})
        registry.register(Registration(identity_, state, Contract.LINK))
    return Fleet(registry.members(), home)


def outcome(target: Target, fleet_: Fleet, known: list[KnownNode]) -> dict[str, tuple[str, str]]:
    """Phase and message of each target that the proxy would choose."""
    among = targets.candidates(target, "banyandb", fleet_, known)
    found = chosen_targets(proxy_spec(spec(target), 0), among, 1)
    return {one.node_id: (str(one.phase), one.message) for one in found}


def node(name: str, phase: NodePhase = NodePhase.EXPECTED, **labels: str) -> KnownNode:
    return KnownNode(name, labels, "Data", "hot", phase)


def test_only_nodes_of_the_own_namespace_are_chosen():
    here = fleet(("a", "banyandb"), ("b", "other"))
    assert outcome(Target(all=True), here, []) == {"a": (Phase.PENDING, "")}
    assert outcome(Target(names=("b",)), here, []) == {
        "b": (Phase.SKIPPED, "no node of this name is registered")
    }


def test_nodes_that_tell_no_namespace_belong_to_the_home_of_the_operator():
    assert outcome(Target(all=True), fleet(("a", "")), []) == {"a": (Phase.PENDING, "")}
    assert outcome(Target(all=True), fleet(("a", ""), home="other"), []) == {}


def test_a_pod_name_of_two_namespaces_means_the_one_of_the_own_namespace():
    both = fleet(("a", "banyandb"), ("a", "other"))
    (chosen,) = targets.candidates(Target(names=("a",)), "banyandb", both, [])
    assert chosen.address == "banyandb/a"
    for name in ("a", "banyandb/a"):
        assert outcome(Target(names=(name,)), both, []) == {"a": (Phase.PENDING, "")}
    assert outcome(Target(names=("other/a",)), both, []) == {
        "other/a": (Phase.SKIPPED, "no node of this name is registered")
    }


def test_a_known_node_that_is_named_with_its_namespace_is_waited_for():
    known = [node("a")]
    target = Target(names=("banyandb/a",))
    among = targets.candidates(target, "banyandb", fleet(), known)
    assert targets.awaited(target, among, known) == ["a"]


def test_a_known_node_that_is_not_registered_is_skipped_as_offline():
    (told,) = outcome(Target(all=True), fleet(), [node("a")]).values()
    assert told == (
        Phase.SKIPPED,
        "no heartbeat from its agent; include_offline would wait for it",
    )
    waited = outcome(Target(all=True, include_offline=True), fleet(), [node("a")])
    assert waited == {"a": (Phase.PENDING, "")}


def test_a_lost_node_is_left_out_unless_it_is_named():
    lost = [node("a", NodePhase.LOST)]
    assert outcome(Target(all=True), fleet(), lost) == {}
    assert outcome(Target(names=("a",)), fleet(), lost) == {
        "a": (Phase.SKIPPED, "its pod is gone (FodcNode phase Lost)")
    }


def test_a_selector_needs_the_labels_of_the_mirror():
    selector = LabelSelector((Requirement("shift", LabelOperator.IN, ("night",)),))
    three = fleet(("a", "banyandb"), ("b", "banyandb"), ("c", "banyandb"))
    known = [node("a", shift="night"), node("b", shift="day")]
    assert outcome(Target(selector=selector), three, known) == {"a": (Phase.PENDING, "")}
    named = Target(names=("a", "b", "c"), selector=selector)
    assert outcome(named, three, known) == {
        "a": (Phase.PENDING, ""),
        "b": (Phase.SKIPPED, "its labels do not fit the selector"),
        "c": (Phase.SKIPPED, "its labels do not fit the selector"),
    }


def test_a_node_that_is_not_mirrored_yet_is_chosen_by_the_labels_that_it_will_have():
    """K19: with a backlog of the mirror living nodes were left out, and "1 of 1 Succeeded"."""
    role = Requirement("fodc.banyandb.dev/role", LabelOperator.IN, ("Data",))
    target = Target(selector=LabelSelector((role,)))

    assert outcome(target, fleet(("new", "banyandb")), []) == {"new": (Phase.PENDING, "")}


def test_a_node_under_maintenance_is_left_out_unless_it_is_named():
    """K9: spec.maintenance did nothing."""
    resting = [replace(node("a"), maintenance=True), node("b")]
    two = fleet(("a", "banyandb"), ("b", "banyandb"))
    assert outcome(Target(all=True), two, resting) == {"b": (Phase.PENDING, "")}
    assert outcome(Target(names=("a",)), two, resting) == {"a": (Phase.PENDING, "")}


def test_nodes_that_were_there_are_awaited_and_no_others():
    known = [
        node("back"),
        node("away"),
        node("offline", NodePhase.OFFLINE),
        node("lost", NodePhase.LOST),
    ]
    back = fleet(("back", "banyandb"))
    for target, expected in (
        (Target(all=True), ["away"]),
        (Target(names=("back",)), []),
        (Target(roles=("Liaison",)), []),
        (Target(roles=("Data",), tiers=("HOT",)), ["away"]),
    ):
        among = targets.candidates(target, "banyandb", back, known)
        assert targets.awaited(target, among, known) == expected


def test_fodcnodes_are_read_and_one_that_makes_no_sense_is_passed_over():
    bodies = [
        {
            "metadata": {"name": "a", "labels": {"x": "1"}},
            "status": {"phase": "Degraded", "role": "Data", "tier": "hot"},
        },
        {"metadata": {"name": "b"}, "status": {"phase": "Lost"}},
        {"metadata": {"name": "c"}},
        {"metadata": {"name": 7}},
    ]
    assert targets.known_nodes(bodies) == (
        KnownNode("a", {"x": "1"}, "Data", "hot", NodePhase.EXPECTED),
        KnownNode("b", {}, "", "", NodePhase.LOST),
        KnownNode("c", {}),
    )
