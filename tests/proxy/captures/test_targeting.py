# SPDX-License-Identifier: Apache-2.0
"""Which nodes a target means."""

import pytest

from fodc_api.words import Phase
from fodc_protocol.link import frames
from fodc_proxy.captures.assembly import RegistryFleet
from fodc_proxy.captures.targeting import Candidate, chosen_targets
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry

from .world import spec

FLEET = (
    Candidate("data-hot-0", "id-a", "ROLE_DATA", "hot"),
    Candidate("data-cold-0", "id-b", "ROLE_DATA", "cold"),
    Candidate("liaison-0", "id-c", "ROLE_LIAISON"),
    Candidate("data-hot-1", "id-d", "ROLE_DATA", "hot", online=False),
)


def chosen(**target):
    found = chosen_targets(spec(target=target), FLEET, 1)
    return {t.node_id: (t.phase, str(t.reason)) for t in found}


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ({"all": True}, ["data-cold-0", "data-hot-0", "data-hot-1", "liaison-0"]),
        ({"names": ["liaison-0"]}, ["liaison-0"]),
        ({"names": ["id-c"]}, ["liaison-0"]),
        ({"roles": ["data"]}, ["data-cold-0", "data-hot-0", "data-hot-1"]),
        ({"roles": ["ROLE_LIAISON"]}, ["liaison-0"]),
        ({"tiers": ["HOT"]}, ["data-hot-0", "data-hot-1"]),
        ({"roles": ["data"], "tiers": ["cold", "warm"]}, ["data-cold-0"]),
        ({"roles": ["meta"]}, []),
        ({"roles": ["hot"]}, ["data-hot-0", "data-hot-1"]),
        ({"roles": ["DataNode-Cold", "liaison"]}, ["data-cold-0", "liaison-0"]),
        ({"roles": ["Standalone"]}, []),
    ],
)
def test_target_chooses_nodes(target, names):
    assert sorted(chosen(**target)) == names


def test_offline_node_is_skipped_unless_it_is_included():
    assert chosen(names=["data-hot-1"]) == {"data-hot-1": (Phase.SKIPPED, "Offline")}
    included = chosen(names=["data-hot-1"], include_offline=True)
    assert included == {"data-hot-1": (Phase.PENDING, "")}


def test_name_that_chooses_nothing_stays_in_the_list():
    assert chosen(names=["liaison-0", "ghost"]) == {
        "liaison-0": (Phase.PENDING, ""),
        "ghost": (Phase.SKIPPED, "NotFound"),
    }


def test_name_outside_the_asked_roles_says_so():
    asked = spec(target={"names": ["liaison-0"], "roles": ["data"]})
    (target,) = chosen_targets(asked, FLEET, 1)
    assert target.message == "role ROLE_LIAISON, tier (none) was not asked for"


def test_registry_gives_one_candidate_per_pod_the_living_one_first():
    clock = iter(range(1000))
    registry = Registry(clock_ms=lambda: next(clock))

    def register(pod: str, role: str, contract: Contract) -> str:
        state = frames.NodeState(
            role, {"tier": "hot"}, (frames.CapabilityState("block", "Disabled", "RateZero", "no"),)
        )
        registration = Registration(frames.Identity(pod), state, contract)
        return registry.register(registration).member.agent_id

    gone = register("pod-0", "ROLE_DATA", Contract.LINK)
    living = register("pod-0", "ROLE_LIAISON", Contract.LINK)
    registry.disconnected(gone)
    register("pod-1", "ROLE_DATA", Contract.FODC)
    one, other = RegistryFleet(registry).candidates()
    assert (one.agent_id, one.role, one.tier, one.online) == (living, "ROLE_LIAISON", "hot", True)
    assert one.abilities["block"].reason == "RateZero"
    assert (other.pod_name, other.captures_on_request) == ("pod-1", False)


# ---- equal names in several namespaces ----------------------------------------------------------

TWINS = (
    Candidate("data-0", "id-a", "ROLE_DATA", namespace="one"),
    Candidate("data-0", "id-b", "ROLE_DATA", namespace="two"),
    Candidate("data-1", "id-c", "ROLE_DATA", namespace="two"),
)


def chosen_twins(**target):
    found = chosen_targets(spec(target=target), TWINS, 1)
    return [(t.node_id, t.address, t.phase, t.message) for t in found]


def test_nodes_of_one_name_in_two_namespaces_are_two_targets():
    assert chosen_twins(all=True) == [
        ("one/data-0", "one/data-0", Phase.PENDING, ""),
        ("two/data-0", "two/data-0", Phase.PENDING, ""),
        ("data-1", "two/data-1", Phase.PENDING, ""),
    ]


@pytest.mark.parametrize("name", ["two/data-0", "id-b"])
def test_namespace_and_pod_or_the_agent_id_choose_one_of_equal_names(name):
    assert chosen_twins(names=[name]) == [("two/data-0", "two/data-0", Phase.PENDING, "")]


def test_a_name_that_two_nodes_have_chooses_none_and_says_how_to_choose():
    message = "2 nodes have this name; say which: one/data-0 or two/data-0"
    assert chosen_twins(names=["data-0"]) == [("data-0", "data-0", Phase.SKIPPED, message)]


def test_a_name_that_is_unique_may_have_its_namespace_before_it():
    assert chosen_twins(names=["two/data-1"]) == [("data-1", "two/data-1", Phase.PENDING, "")]


def registered(*nodes):
    registry = Registry()
    for pod, namespace, contract in nodes:
        identity = frames.Identity(pod, namespace=namespace)
        state = frames.NodeState("ROLE_DATA")
        registry.register(Registration(identity, state, contract))
    found = RegistryFleet(registry).candidates()
    return sorted((one.address, one.captures_on_request) for one in found)


def test_the_fleet_tells_nodes_of_equal_names_apart():
    nodes = [("data-0", "one", Contract.LINK), ("data-0", "two", Contract.LINK)]
    assert registered(*nodes) == [("one/data-0", True), ("two/data-0", True)]


def test_an_agent_of_the_existing_contract_counts_as_of_the_pod_beside_it():
    """It tells no namespace; with pods of two namespaces nobody knows which is meant."""
    existing = ("data-0", "", Contract.FODC)
    assert registered(existing, ("data-0", "one", Contract.LINK)) == [("one/data-0", True)]
    assert registered(
        existing, ("data-0", "one", Contract.LINK), ("data-0", "two", Contract.LINK)
    ) == [("data-0", False), ("one/data-0", True), ("two/data-0", True)]
