# SPDX-License-Identifier: Apache-2.0
"""`fodc doctor`: what is found, how bad it is, and that each finding has advice."""

import json

import msgspec
import pytest
import yaml

from fodc_api.cluster import (
    ArtifactsHeld,
    Capability,
    Cluster,
    ClusterSummary,
    Condition,
    Node,
    ProxyFacts,
    WindowExtent,
)
from fodc_api.words import Contract, NodePhase
from fodc_client import checkup
from fodc_client.__main__ import main
from fodc_protocol.errors import Reason, advice
from fodc_proxy.fleet.limits import Limits
from tests.client.stage import Gives

NOW = "2026-11-21T08:00:00.000Z"


@pytest.fixture
def told():
    return {"collection_timeout_s": 3.0, "limits": Limits(heartbeat_timeout_ms=10_000)}


@pytest.fixture
def findings(fodc):
    def examine(*words):
        ran = fodc("doctor", "-o", "json", *words)
        return ran.code, json.loads(ran.out)["findings"]

    return examine


# ---- as a person meets it -----------------------------------------------------------------------


def test_doctor_says_that_all_is_well(fodc, stage):
    stage.agent("data-0")

    ran = fodc("doctor")

    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "all is well: proxy ready, all nodes online and whole\n"


def test_doctor_says_the_same_in_yaml(fodc, stage):
    """Words that are enums of ours ended it with a traceback."""
    stage.leave(stage.agent("b"))

    ran = fodc("doctor", "-o", "yaml")

    told = yaml.safe_load(ran.out)
    assert [one["level"] for one in told["findings"]].count("problem") == told["problems"] > 0


def test_doctor_prints_problems_first_and_counts(fodc, stage):
    stage.agent("a", capabilities=[("block", "Disabled", "RateZero", "no rate")])
    stage.leave(stage.agent("b"))

    ran = fodc("doctor")

    lines = [line.split() for line in ran.out.splitlines()]
    assert ran.code == 1
    assert ["problem", "b", "offline", "last", "heartbeat:"] in [line[:5] for line in lines]
    assert lines[-1][:4] == ["note", "a", "block:", "Disabled"]
    assert ran.err.endswith("1 note\n")


def test_doctor_says_once_what_several_nodes_have_in_common(fodc, stage, findings):
    """C4: three notes were repeated for each node."""
    for number in range(3):
        disabled = ("block", "Disabled", "RateZero", "no rate")
        stage.agent(f"data-{number}", capabilities=[disabled])

    ran = fodc("doctor")

    assert len(ran.out.splitlines()) == 2
    assert "data-0, data-1, data-2" in ran.out
    assert ran.err == "0 problems, 1 note\n"
    assert [each["where"] for each in findings()[1]] == ["data-0", "data-1", "data-2"]


def test_doctor_only_notes_what_a_new_agent_has_not_read_yet(fodc, stage):
    """C4: right after the start it said Unknown, as a problem."""
    unknown = [
        (kind, "Unknown", "", "the pprof port was not asked yet") for kind in ("cpu", "heap")
    ]
    stage.agent("data-0", capabilities=unknown, window=None)

    ran = fodc("doctor")

    assert ran.code == 0
    assert "  cpu, heap: not read yet  the pprof port was not asked yet" in ran.out
    assert "the flight recorder holds nothing yet" in ran.out
    assert "Wait a moment" in ran.out
    assert ran.err == "0 problems, 2 notes\n"


def test_doctor_does_not_refer_to_a_name_that_no_message_has(fodc, stage):
    """C4: "the message names it" stood behind messages that named nothing."""
    disabled = ("block", "Disabled", "RateZero", "its sampling rate is zero")
    stage.agent("data-0", capabilities=[disabled])

    assert "the message names" not in fodc("doctor").out


def test_doctor_finds_an_empty_fleet(findings):
    code, found = findings()

    assert code == 1
    assert found[0]["why"] == "no agent has registered"


def test_doctor_finds_nodes_that_do_not_tell_their_configuration(findings, stage):
    stage.agent("data-0")
    stage.agent("data-1").hung = True

    code, found = findings()

    assert code == 1
    assert [(each["where"], each["matter"]) for each in found] == [("data-1", "configuration")]
    assert found[0]["why"].startswith("DeadlineExceeded: ")


def test_doctor_notes_an_agent_that_declares_nothing(findings, stage):
    stage.go_agent("old")

    code, found = findings()

    assert code == 0
    assert "capabilities" in {each["matter"] for each in found}
    assert findings("--strict")[0] == 1


def test_doctor_finds_a_proxy_that_is_not_ready(findings, relay, stage):
    stage.agent("data-0")
    check = {"name": "artifacts", "ok": False, "message": "the directory is read-only"}
    body = {"ready": False, "checks": [check]}
    relay.instead["/readyz"] = (503, json.dumps(body).encode())

    code, found = findings()

    assert code == 1
    assert found[0]["matter"] == "readiness: artifacts"
    assert found[0]["why"] == "the directory is read-only"


def test_doctor_tells_of_agents_that_were_refused(findings, relay, stage):
    stage.agent("data-0")
    words = "agents were refused just now, the log says which: NoCredentials"
    body = {"ready": True, "checks": [{"name": "agents", "ok": True, "message": words}]}
    relay.instead["/readyz"] = (200, json.dumps(body).encode())

    code, found = findings()

    assert code == 1
    assert [(one["where"], one["matter"], one["why"]) for one in found] == [
        ("proxy", "agents", words)
    ]


def test_doctor_exits_with_3_when_nobody_answers(capsys):
    assert main(["doctor", "--proxy", "http://127.0.0.1:1"]) == 3
    assert "cannot reach the proxy at http://127.0.0.1:1: connection refused" in (
        capsys.readouterr().err
    )


def test_doctor_still_works_after_a_capture(fodc, stage, recorded, tmp_path):
    stage.agent("data-0", plans={"cpu": Gives(recorded("cpu"))})
    fodc("capture", "cpu", "--all", "--output-dir", tmp_path)

    assert fodc("doctor").code == 0


# ---- as rules -----------------------------------------------------------------------------------


def node(**changes):
    """A node that is well and has been there for an hour."""
    well = Node(
        node_id="data-0",
        agent_id="agent-0",
        pod_name="data-0",
        namespace="banyandb",
        role="ROLE_DATA",
        tier="hot",
        phase=NodePhase.ONLINE,
        contract=Contract.LINK,
        agent_version="0.1.0",
        registered_at="2026-11-21T07:00:00.000Z",
        last_heartbeat_at="2026-11-21T07:59:57.000Z",
        heartbeat_age_seconds=3.0,
        labels={},
        container_names=("data",),
        addresses=(),
        capabilities=(Capability("cpu", "Supported"),),
        window=WindowExtent("2026-11-21T07:05:00.000Z", NOW, 381, 1 << 20),
        configuration_hash="0123",
        artifacts=ArtifactsHeld(0, 0),
        conditions=(),
        active_captures=(),
        reconnects=0,
    )
    return msgspec.structs.replace(well, **changes)


def cluster(*nodes):
    summary = ClusterSummary(len(nodes), len(nodes), 0, 0, {})
    return Cluster(NOW, ProxyFacts("0.1.0", "i", 7200), summary, nodes)


CHANGES = {
    "an old heartbeat": {"heartbeat_age_seconds": 45.0},
    "an unknown role": {"role": "ROLE_UNSPECIFIED"},
    "no window": {"window": None},
    "a degraded node": {"phase": NodePhase.DEGRADED},
    "a condition": {"conditions": (Condition("NodeUnreachable", "Odd", "m"),)},
    "an unknown capability": {"capabilities": (Capability("cpu", "Unknown"),)},
    "a clock ahead": {
        "window": WindowExtent("2026-11-21T07:00:00.000Z", "2026-11-21T08:00:30.000Z", 1, 1)
    },
    "a node that is away": {"phase": NodePhase.OFFLINE, "heartbeat_age_seconds": 95.0},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_doctor_finds_a_problem_of_a_node_and_advises(changes):
    (found,) = checkup.of_cluster(cluster(node(**changes)))

    assert (found.level, found.where) == (checkup.Level.PROBLEM, "data-0")
    assert found.advice
    assert found.why


def test_doctor_finds_nothing_of_a_node_that_is_well():
    assert list(checkup.of_cluster(cluster(node()))) == []


@pytest.mark.parametrize(
    "reason",
    [
        *("FlavorBasic", "NoBTF", "NoCapability", "NoCgroup", "NoPSI", "NoProcess", "NoTracefs"),
        *("AmbiguousProcess", "NotShared", "OutsideNamespace", "PermissionDenied", "Remote"),
    ],
)
def test_doctor_advises_on_what_an_agent_cannot_see(reason):
    told = Capability("process", "Unsupported", reason, "why")

    (found,) = checkup.of_cluster(cluster(node(capabilities=(told,))))

    assert found.why == f"{reason}: why"
    assert found.advice not in {"", advice(Reason.UNSUPPORTED), "See the agent's log."}


def test_clock_of_the_proxy_is_compared_with_this_machine():
    late = list(checkup.of_clock(-30.0, 0.1))
    fine = list(checkup.of_clock(4.0, 0.1))

    assert [finding.why for finding in late] == ["it is 30s behind this machine"]
    assert fine == []
