# SPDX-License-Identifier: Apache-2.0
"""Which nodes a target means."""

import pytest

from fodc_protocol.link import frames
from fodc_proxy.diagnostics.assembly import RegistryFleet
from fodc_proxy.diagnostics.model import Phase
from fodc_proxy.diagnostics.parsing import parse_request
from fodc_proxy.diagnostics.targeting import Candidate, chosen_targets
from fodc_proxy.fleet.membership import Contract, Registration
from fodc_proxy.fleet.registry import Registry

FLEET = (
    Candidate("data-hot-0", "id-a", "ROLE_DATA", "hot"),
    Candidate("data-cold-0", "id-b", "ROLE_DATA", "cold"),
    Candidate("liaison-0", "id-c", "ROLE_LIAISON"),
    Candidate("data-hot-1", "id-d", "ROLE_DATA", "hot", online=False),
)


def chosen(**target):
    spec = parse_request({"target": target, "captures": [{"profile": "heap"}]}).spec
    return {t.node_id: (t.phase, str(t.reason)) for t in chosen_targets(spec, FLEET, 1)}


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
    spec = parse_request(
        {"target": {"names": ["liaison-0"], "roles": ["data"]}, "captures": [{"profile": "heap"}]}
    ).spec
    (target,) = chosen_targets(spec, FLEET, 1)
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
