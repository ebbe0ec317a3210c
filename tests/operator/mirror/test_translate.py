# SPDX-License-Identifier: Apache-2.0
"""A member of the fleet as a FodcNode: literal, and within the schema whatever an agent says."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_operator.mirror import translate
from fodc_operator.mirror.translate import PodFacts, Running
from fodc_operator.resources import fodcnode
from fodc_operator.resources.fodcnode import NodePhase
from fodc_protocol.link import frames
from fodc_proxy.fleet.membership import Change, Contract, Member, Phase, Transition
from fodc_proxy.fleet.proving import UNPROVEN
from tests.operator.mirror.fleet import NOON, NOON_MS, identity, member, state

CRD = yaml.safe_load((Path(__file__).parents[3] / "crds" / "fodcnodes.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def status_of(one: Member, before: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    told = {"generation": 1, "now_ms": NOON_MS, **more}
    running = told.pop("running", ())
    return translate.status_of(one, told.pop("pod", PodFacts()), running, before or {}, **told)


WHOLE = member(
    identity=identity(
        cluster="banyandb",
        kubernetes_node="worker-3",
        container_names=("data", "lifecycle"),
        addresses=(frames.Address("metrics", "10.1.2.3", 2121),),
    ),
    state=state(
        capabilities=(
            frames.CapabilityState("cpu", "Supported"),
            frames.CapabilityState("block", "Disabled", "RateZero", "no sampling rate"),
            frames.CapabilityState("kernel", "Sometimes"),
        ),
        window=frames.WindowExtent(NOON_MS - 3_600_000, NOON_MS, 2894, 6_291_456),
        configuration_hash="9f86",
        artifact_count=3,
        artifact_bytes=181_022,
        conditions=(frames.Condition("NodeScraped", "ScrapeFailed", "port 2121 is silent"),),
    ),
    phase=Phase.DEGRADED,
    reconnects=1,
)


def test_an_agent_that_has_shown_nothing_is_marked_and_ready_all_the_same() -> None:
    status = status_of(member(authority=UNPROVEN))

    told = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    assert told["Authenticated"] == ("False", "Unauthenticated")
    assert told["Ready"] == ("True", "Whole")


def test_a_node_with_everything_is_told_in_full() -> None:
    running = [Running("slow-queries", "cpu", NOON_MS - 20_000)]

    assert status_of(WHOLE, running=running) == {
        "observedGeneration": 1,
        "phase": "Degraded",
        "role": "Data",
        "tier": "hot",
        "cluster": "banyandb",
        "podRef": {"name": "data-0"},
        "agentID": "agent-1",
        "agentVersion": "0.1.0",
        "contract": "AgentLink",
        "attachment": "Standalone",
        "registrationTime": "2026-11-18T11:59:00Z",
        "lastHeartbeatTime": "2026-11-18T11:59:58Z",
        "lastTransitionTime": NOON,
        "reconnects": 1,
        "kubernetesNodeName": "worker-3",
        "containerNames": ["data", "lifecycle"],
        "addresses": [{"name": "metrics", "host": "10.1.2.3", "port": 2121}],
        "capabilities": [
            {"type": "CPUProfile", "state": "Supported"},
            {
                "type": "BlockProfile",
                "state": "Disabled",
                "reason": "RateZero",
                "message": "no sampling rate",
            },
            {"type": "kernel", "state": "Unknown"},
        ],
        "flightRecorder": {
            "oldestSampleTime": "2026-11-18T11:00:00Z",
            "newestSampleTime": NOON,
            "series": 2894,
            "bytes": 6_291_456,
        },
        "configHash": "9f86",
        "artifacts": {"count": 3, "bytes": 181_022},
        "activeCaptures": 1,
        "activeRequests": [
            {
                "requestName": "slow-queries",
                "captureType": "CPUProfile",
                "startTime": "2026-11-18T11:59:40Z",
            }
        ],
        "conditions": [
            condition("Registered", "True", "Heartbeating", HEARTBEATS),
            condition("Ready", "False", "ScrapeFailed", "less than whole: MetricsFresh"),
            condition("MetricsFresh", "False", "ScrapeFailed", "port 2121 is silent"),
        ],
    }


HEARTBEATS = "the agent is registered and its heartbeats arrive"


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "observedGeneration": 1,
        "lastTransitionTime": NOON,
        "reason": reason,
        "message": message,
    }


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def test_an_agent_of_the_existing_contract_leaves_out_what_it_cannot_tell() -> None:
    bare = member(
        identity=frames.Identity("liaison-0"),
        state=frames.NodeState("ROLE_LIAISON"),
        contract=Contract.FODC,
        agent_version="",
    )

    assert set(status_of(bare)) == {
        "observedGeneration",
        "phase",
        "role",
        "podRef",
        "agentID",
        "contract",
        "registrationTime",
        "lastHeartbeatTime",
        "lastTransitionTime",
        "reconnects",
        "activeCaptures",
        "conditions",
    }
    assert conditions(status_of(bare))["MetricsFresh"] == ("Unknown", "NotTold")


REMOTE = state(conditions=(frames.Condition("AgentInPod", "Remote", "over the network"),))


@pytest.mark.parametrize(
    ("told", "pod", "attachment"),
    [
        ({}, PodFacts("uid", has_agent=True), "Sidecar"),
        ({"identity": identity(pod_uid="uid")}, PodFacts(), "Sidecar"),
        ({"state": REMOTE, "identity": identity(pod_uid="uid")}, PodFacts("uid"), "Remote"),
        ({}, PodFacts(), "Standalone"),
        ({"contract": Contract.FODC}, PodFacts("uid", has_agent=True), "Sidecar"),
        ({"contract": Contract.FODC}, PodFacts(), ""),
        ({}, PodFacts("uid"), ""),
    ],
)
def test_where_the_agent_is_follows_from_what_it_says_and_from_the_pod(
    told: dict[str, Any], pod: PodFacts, attachment: str
) -> None:
    assert translate.attachment_of(member(**told), pod) == attachment


def test_a_remote_agent_is_told_by_a_condition_of_the_node_too() -> None:
    found = status_of(member(state=REMOTE, phase=Phase.DEGRADED))

    assert (found["attachment"], found["phase"]) == ("Remote", "Degraded")
    assert conditions(found)["AgentInPod"] == ("False", "Remote")


def test_times_of_change_stay_while_nothing_changes() -> None:
    before = status_of(WHOLE)
    later = status_of(WHOLE, before, now_ms=NOON_MS + 60_000)

    assert later == before


def test_a_condition_that_turns_gets_the_time_of_its_turn_alone() -> None:
    before = status_of(member())
    broken = replace(WHOLE, phase=Phase.DEGRADED)
    found = status_of(broken, before, now_ms=NOON_MS + 60_000)
    times = {one["type"]: one["lastTransitionTime"] for one in found["conditions"]}

    assert times == {
        "Registered": NOON,
        "Ready": "2026-11-18T12:01:00Z",
        "MetricsFresh": "2026-11-18T12:01:00Z",
    }
    assert found["lastTransitionTime"] == "2026-11-18T12:01:00Z"


def test_what_an_agent_lacked_once_turns_true_and_unknown_and_never_vanishes() -> None:
    lacking = member(state=state(conditions=(frames.Condition("PodConflict", "Twice", "two"),)))
    before = status_of(lacking)
    mended = status_of(member(), before, now_ms=NOON_MS + 60_000)
    silent = status_of(replace(WHOLE, phase=Phase.OFFLINE), mended)
    left = translate.left_status(NodePhase.LOST, silent, generation=1, now_ms=NOON_MS)

    assert conditions(before)["PodUnique"] == ("False", "Twice")
    assert conditions(mended)["PodUnique"] == ("True", "Resolved")
    assert conditions(silent)["PodUnique"] == ("Unknown", "NoHeartbeat")
    assert conditions(left)["PodUnique"] == ("Unknown", "AgentGone")
    assert [set(conditions(one)) for one in (mended, silent, left)] == [set(conditions(before))] * 3


def test_an_offline_member_keeps_what_is_known_and_knows_nothing_of_its_agent() -> None:
    found = status_of(replace(WHOLE, phase=Phase.OFFLINE))

    assert (found["phase"], found["role"], found["configHash"]) == ("Offline", "Data", "9f86")
    assert conditions(found) == {
        "Registered": ("False", "NoHeartbeat"),
        "Ready": ("Unknown", "NoHeartbeat"),
        "MetricsFresh": ("Unknown", "NoHeartbeat"),
    }


@pytest.mark.parametrize(
    ("phase", "word", "reason"),
    [
        (NodePhase.PENDING, "Unknown", "NotHeardYet"),
        (NodePhase.OFFLINE, "False", "NoHeartbeat"),
        (NodePhase.LOST, "False", "AgentGone"),
    ],
)
def test_a_node_that_left_keeps_its_last_words(phase: NodePhase, word: str, reason: str) -> None:
    before = status_of(WHOLE, running=[Running("r", "cpu", NOON_MS)])
    found = translate.left_status(phase, before, generation=2, now_ms=NOON_MS + 1000)

    assert (found["phase"], found["agentID"], found["activeCaptures"]) == (phase, "agent-1", 0)
    assert "activeRequests" not in found
    assert conditions(found)["Registered"] == (word, reason)


@pytest.mark.parametrize(
    ("told", "role"),
    [
        ("ROLE_DATA", "Data"),
        ("datanode-hot", "Data"),
        ("ROLE_LIAISON", "Liaison"),
        ("liaison", "Liaison"),
        ("ROLE_META", "Meta"),
        ("standalone", "Standalone"),
        ("ROLE_UNSPECIFIED", "Unknown"),
        ("", "Unknown"),
    ],
)
def test_roles_are_told_in_one_way(told: str, role: str) -> None:
    assert translate.role_of(told).value == role


def test_labels_hold_what_people_select_by_and_fit_the_rules_of_kubernetes() -> None:
    odd = member(agent_version="0.1.0+dirty (x)", identity=identity(cluster="my cluster"))
    pod = PodFacts(kubernetes_node="worker-1")

    assert translate.labels_of(odd, pod) == {
        "fodc.banyandb.dev/role": "Data",
        "fodc.banyandb.dev/tier": "hot",
        "fodc.banyandb.dev/cluster": "my-cluster",
        "fodc.banyandb.dev/kubernetes-node": "worker-1",
        "fodc.banyandb.dev/agent-version": "0.1.0-dirty-x",
    }


def test_the_pod_keeps_the_uid_that_was_told_until_another_one_is() -> None:
    told = status_of(member(), pod=PodFacts(uid="u-1"))
    silent = status_of(member(), told)
    anew = status_of(member(identity=identity(pod_uid="u-2")), silent)

    assert told["podRef"] == silent["podRef"] == {"name": "data-0", "uid": "u-1"}
    assert anew["podRef"] == {"name": "data-0", "uid": "u-2"}


def test_a_field_that_is_gone_is_removed_by_the_patch() -> None:
    patch = translate.patch_of({"phase": "Online", "role": "Data"})["status"]

    assert {name for name, value in patch.items() if value is not None} == {"phase", "role"}
    assert set(patch) == set(SCHEMA["status"]["properties"])


def test_mere_figures_are_no_news() -> None:
    quiet = state(window=frames.WindowExtent(0, NOON_MS, 1, 1), artifact_bytes=7)
    loud = state(configuration_hash="other")
    before = member()

    def news(after: frames.NodeState) -> bool:
        changed = replace(before, state=after)
        return translate.is_news(Transition(Change.STATE, changed, before, NOON_MS))

    assert (news(quiet), news(loud)) == (False, True)


# ---- within the schema, whatever is said ------------------------------------------------------

texts = st.text(max_size=400)
words = st.text(alphabet=st.characters(codec="ascii"), max_size=80)
numbers = st.integers(-(2**70), 2**70)
windows = st.builds(frames.WindowExtent, numbers, numbers, numbers, numbers)
states = st.builds(
    frames.NodeState,
    node_role=texts,
    labels=st.dictionaries(st.sampled_from(["tier", "type", "x"]), texts),
    capabilities=st.lists(
        st.builds(frames.CapabilityState, texts, texts, texts, texts), max_size=20
    ).map(tuple),
    window=st.none() | windows,
    configuration_hash=texts,
    artifact_count=numbers,
    artifact_bytes=numbers,
    conditions=st.lists(st.builds(frames.Condition, words, texts, texts), max_size=20).map(tuple),
)
identities = st.builds(
    frames.Identity,
    pod_name=st.just("data-0"),
    pod_uid=texts,
    kubernetes_node=texts,
    cluster=texts,
    container_names=st.lists(texts, max_size=12).map(tuple),
    addresses=st.lists(st.builds(frames.Address, texts, texts, numbers), max_size=12).map(tuple),
)
members = st.builds(
    member,
    agent_id=texts,
    identity=identities,
    state=states,
    phase=st.sampled_from(list(Phase)),
    contract=st.sampled_from(list(Contract)),
    agent_version=texts,
    conflicts=st.integers(0, 3),
)


@given(members, st.lists(st.builds(Running, texts, texts, numbers), max_size=12))
@settings(max_examples=120)
def test_whatever_an_agent_says_the_object_fits_its_schema(
    one: Member, running: list[Running]
) -> None:
    found = status_of(one, running=running)
    left = translate.left_status(NodePhase.LOST, found, generation=3, now_ms=NOON_MS)

    assert list(problems(found, SCHEMA["status"], "status")) == []
    assert list(problems(left, SCHEMA["status"], "status")) == []
    for value in translate.labels_of(one, PodFacts()).values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)


def problems(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """What an API server would refuse, by the parts of structural schemas that ours use."""
    found: list[str] = []
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if value is None:
        return [] if path.endswith("SampleTime") else [f"{path} is null"]
    if not isinstance(value, kinds[schema["type"]]):
        return [f"{path} is no {schema['type']}"]
    if schema["type"] == "object":
        for name in schema.get("required", ()):
            found += [] if name in value else [f"{path}.{name} is missing"]
        for name, part in value.items():
            below = schema.get("properties", {}).get(name)
            found += (
                [f"{path}.{name} is unknown"]
                if below is None
                else problems(part, below, f"{path}.{name}")
            )
    elif schema["type"] == "array":
        found += [f"{path} is too long"] if len(value) > schema["maxItems"] else []
        keys = [tuple(i[k] for k in schema.get("x-kubernetes-list-map-keys", ())) for i in value]
        if schema.get("x-kubernetes-list-type") == "map" and len(set(keys)) < len(keys):
            found.append(f"{path} has a key twice")
        if schema.get("x-kubernetes-list-type") == "set" and len(set(value)) < len(value):
            found.append(f"{path} has an item twice")
        for item in value:
            found += problems(item, schema["items"], f"{path}[]")
    else:
        found += scalar_problems(value, schema, path)
    return found


def scalar_problems(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    found: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}={value!r} is not among {schema['enum']}")
    if len(str(value)) > schema.get("maxLength", 10**9):
        found.append(f"{path} is longer than {schema['maxLength']}")
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        found.append(f"{path} is shorter than {schema['minLength']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{path}={value!r} does not match")
    if schema.get("format") == "date-time" and not re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value
    ):
        found.append(f"{path}={value!r} is no time")
    if isinstance(value, int) and not (
        schema.get("minimum", value) <= value <= schema.get("maximum", 2**63 - 1)
    ):
        found.append(f"{path}={value} is out of range")
    return found


def test_a_node_object_of_the_server_is_read_once_into_a_view() -> None:
    seen = fodcnode.observed(
        {
            "metadata": {
                "namespace": "banyandb",
                "name": "data-0",
                "uid": "u",
                "resourceVersion": "42",
                "generation": 3,
                "creationTimestamp": NOON,
                "labels": {"a": "b"},
                "ownerReferences": [{"uid": "set-1"}],
            },
            "spec": {"maintenance": True},
            "status": {"phase": "Online", "lastHeartbeatTime": "2026-11-18T12:00:05Z"},
        }
    )

    assert (seen.namespace, seen.name, seen.generation, seen.maintenance) == (
        "banyandb",
        "data-0",
        3,
        True,
    )
    assert (seen.phase, seen.heard_ms, seen.created_ms) == (
        NodePhase.ONLINE,
        NOON_MS + 5000,
        NOON_MS,
    )
    assert seen.owners == ({"uid": "set-1"},)


def test_an_object_without_status_or_with_a_strange_one_has_no_phase() -> None:
    bare = {"metadata": {"namespace": "n", "name": "a", "creationTimestamp": NOON}}

    assert fodcnode.observed(bare).phase is None
    assert fodcnode.observed({**bare, "status": {"phase": "Sleeping"}}).phase is None
    assert fodcnode.observed({**bare, "status": {"lastHeartbeatTime": "soon"}}).heard_ms == NOON_MS
